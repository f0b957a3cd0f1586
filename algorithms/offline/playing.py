"""Recording: the players that a configuration can name, and what they play."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...agents import ExpertPlayer, OptimalPlayer, Policy, RandomPlayer, policy_of
from ...envs import Engine, FiniteTask, Task, TokenGymError
from ...envs.checking import AllowImports, Count, Seed, checked
from ..collecting import Collector
from ..data import Episodes
from ..parts import best_episodes
from ..registry import load_algorithm

NAMED = ("expert", "optimal", "random")
"""Players that need no folder."""

_MOST_ROWS = 64


def named_player(
    name: str,
    task: Task,
    action_masks: bool = False,
    allow_imports: AllowImports = False,
    also: Sequence[str] = (),
) -> Any:
    """Return who plays under a name.

    Args:
        name: "expert" (the task's own, or the optimal one where it has none), "optimal" (solved exactly), "random", or
            the folder of a run or a checkpoint.
        task: what is played.
        action_masks: whether the optimal player keeps to the legal tokens.
        allow_imports: what a checkpoint may import.
        also: further names that the caller knows, for the message.

    Raises:
        TokenGymError: there is no such player, or the task has no expert or no exact optimum.
    """
    if name == "random":
        return RandomPlayer(task.vocabulary)
    if name == "expert":
        engine = Engine(task, 1)
        engine.reset(np.array([0]), np.array([1], np.uint64))
        if engine.expert() is not None:
            return ExpertPlayer(engine)
        if not isinstance(task.unwrapped, FiniteTask):
            raise TokenGymError(
                f"player is 'expert', and {task.name!r} knows none and is not finite: give data, or take 'random' or "
                "the folder of a run"
            )
    if name in ("expert", "optimal"):
        return OptimalPlayer(task, masked=action_masks)  # type: ignore[arg-type] # which says what it cannot solve
    if not Path(name).is_dir():
        names = ", ".join(map(repr, (*also, *NAMED)))
        raise TokenGymError(f"player is {name!r}; expected {names}, or the folder of a run or a checkpoint")
    return load_algorithm(name, env=task, allow_imports=allow_imports)


@checked
def record(
    task: Task,
    player: Any,
    num_episodes: Count,
    seed: Seed,
    *,
    action_masks: bool = False,
    numbers: Literal["float32", "float64"] = "float32",
    group_size: Count = 1,
) -> tuple[Episodes, int]:
    """Play whole episodes and return them, and how many agent tokens were drawn for them.

    Args:
        task: what is played.
        player: an agent, an algorithm, a policy or a player, as `policy_of` takes it; its generators are not moved.
        num_episodes: how many, a multiple of ``group_size``.
        seed: of the starts and the player's draws.
        action_masks: ask for legal tokens, and record them.
        numbers: the dtype of rewards and log-probabilities.
        group_size: episodes that share a start.
    """
    policy: Policy = policy_of(player, seed)
    rows = min(num_episodes, _MOST_ROWS)
    collector = Collector(
        task, num_rows=rows, seed=seed, group_size=group_size, action_masks=action_masks, numbers=numbers
    )
    episodes = collector.collect(policy, num_episodes=num_episodes)
    return episodes, collector.num_tokens


@checked
def sample_best_of(
    task: Task, player: Any, n: Count, num_episodes: Count, seed: Seed, *, action_masks: bool = False
) -> Episodes:
    """Play n episodes from each of so many starts, and return the best of each; of equal ones the first.

    Args:
        task: what is played.
        player: who drafts, as `record` takes it.
        n: drafts for each episode.
        num_episodes: how many are kept.
        seed: of the starts and the player's draws.
        action_masks: keep to the legal tokens.
    """
    drafts, _ = record(task, player, n * num_episodes, seed, action_masks=action_masks, group_size=n)
    return drafts.select(best_episodes(drafts, 1 / n, "group"))
