"""Players by the names that the command line gives them: scripted ones, and those of a run or checkpoint folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...envs import Task, TokenGymError, derive_start
from ...envs.checking import unknown_name
from .episode import Episode
from .guide import Guide

Policy = Callable[[Episode], np.ndarray]
"""An episode under way to the probabilities of the next token, float64 (A,)."""

SCRIPTED = ("random", "expert", "optimal")
"""The players that every task may have, by name; any other name is a folder."""


def scripted(name: str, guide: Guide, masked: bool) -> Policy:
    """Return a player that does not learn: `"random"`, `"expert"` or `"optimal"`.

    Raises:
        TokenGymError: If the task has no expert, or cannot be solved.
    """
    task = guide.task
    size = task.vocabulary.num_actions
    if name == "random":

        def uniform(episode: Episode) -> np.ndarray:
            allowed = episode.engine.action_mask()[0].astype(float) if masked else np.ones(size)
            return allowed / allowed.sum()

        return uniform
    if name == "expert":
        trial = Episode(task)
        trial.begin(derive_start(0, 0))
        if trial.engine.expert() is None:
            others = "random, optimal" if task.finite else "random"
            raise TokenGymError(f"{task.name} knows no expert; watch {others} or a checkpoint folder")

        def expert(episode: Episode) -> np.ndarray:
            advised = episode.engine.expert()
            assert advised is not None
            return np.eye(size)[int(advised[0])]

        return expert
    if guide.solution is None:
        raise TokenGymError(
            f"{task.name} has no exact optimum within reach: it is not finite, or has too many states; "
            "watch random, expert or a checkpoint folder"
        )

    def optimal(episode: Episode) -> np.ndarray:
        values = guide.q_values(episode)
        assert values is not None
        # Rounded, so that of equally good tokens the first is said, whatever the rounding of their values.
        return np.eye(size)[int(np.round(values, 9).argmax())]

    return optimal


def saved_player(where: str, task: Task, as_given: bool, allow_imports: bool = False) -> tuple[Any, Task]:
    """Return a trained player and the task that it is watched on.

    Args:
        where: A checkpoint folder, or a run folder that holds one.
        task: The task that the command names.
        as_given: Whether the command gave arguments of the environment. If not, and the player learnt on the same
            environment with others, it is watched on what it learnt on.
        allow_imports: Whether the checkpoint may import what it names.

    Raises:
        TokenGymError: If there is no such folder, or the player speaks another vocabulary.
    """
    folder = Path(where)
    if not folder.exists():
        hint = str(unknown_name("player", where, SCRIPTED)).partition(": ")[2]
        raise TokenGymError(f"agent {where!r} is no folder and no player that every task has ({hint})")
    from ...algorithms import load_algorithm

    player: Any = load_algorithm(folder, allow_imports=allow_imports)
    own, spec = player.task, task.spec
    if not as_given and spec is not None and own.spec is not None and own.spec["id"] == spec["id"]:
        return player, own
    if own.vocabulary.tokens != task.vocabulary.tokens or own.vocabulary.num_actions != task.vocabulary.num_actions:
        raise TokenGymError(
            f"the player in {where} learnt {own.name}, with {own.vocabulary.num_actions} tokens to say, and cannot "
            f"play {task.name}: it has other tokens; watch it on what it learnt"
        )
    if task.max_length > own.max_length:
        raise TokenGymError(
            f"the player in {where} reads {own.max_length} tokens, but {task.name} shows up to {task.max_length}"
        )
    return player, task


def learned(player: Any, masked: bool) -> Policy:
    """Return a trained player's policy; with `masked`, among legal tokens only."""
    agent = player.agent if hasattr(getattr(player, "agent", None), "probabilities") else player

    def policy(episode: Episode) -> np.ndarray:
        masks = episode.engine.action_mask() if masked else None
        return agent.probabilities(episode.tokens, episode.lengths, masks)[0]

    return policy
