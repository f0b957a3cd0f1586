"""Players by the names that the command line gives them: scripted ones, and those of a run or checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...agents import ExpertPlayer, Policy, RandomPlayer, policy_of
from ...agents.policies import GivenProbabilities
from ...envs import Engine, Task, TokenGymError, derive_start
from ...envs.checking import unknown_name
from ..scripted import Optimum
from .guide import Guide

SCRIPTED = ("random", "expert", "optimal")
"""The players that every task may have, by name; any other name is a folder."""


def scripted(name: str, guide: Guide) -> Policy:
    """Return a player that does not learn: `"random"`, `"expert"` or `"optimal"`.

    Raises:
        TokenGymError: If the task has no expert, or cannot be solved.
    """
    task = guide.task
    if name == "random":
        return RandomPlayer(task.vocabulary)
    if name == "expert":
        trial = Engine(task, 1)
        trial.reset(None, derive_start(0, 0))
        if trial.expert() is None:
            others = "random, optimal" if task.finite else "random"
            raise TokenGymError(f"{task.name} knows no expert; watch {others} or a checkpoint folder")
        return ExpertPlayer(trial)
    if guide.solution is None:
        raise TokenGymError(
            f"{task.name} has no exact optimum within reach: it is not finite, or has too many states; "
            "watch random, expert or a checkpoint folder"
        )
    return Optimum(guide.solution)


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


def learned(player: Any) -> Policy:
    """Return a trained player's policy, which tells what it draws from, where it can."""
    policy = policy_of(player)
    return GivenProbabilities(policy) if hasattr(policy, "probabilities") else policy
