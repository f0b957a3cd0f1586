"""What the study of learning from poor data learns from: tasks, and who is recorded on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...agents import OptimalPlayer, Player
from ...algorithms import EpisodeDataset, Episodes
from ...algorithms.offline import record
from ...envs import FiniteTask, make_task

TABLE = {"kind": "table", "capacity": 64}


@dataclass(frozen=True)
class Data:
    """A task, what is recorded on it, and how it is learnt from.

    Attributes:
        task: the registered name.
        seeds_instance: whether the seed draws the instance, too.
        kwargs: arguments of the task.
        randomness: how often recorded players say any legal token, not the best; a share of the episodes each.
        episodes: of a dataset.
        updates: of every method.
        batch: episodes of each.
        agent: what learns.
        tuning_seeds: on which settings are chosen.
        seeds: which are reported.
    """

    task: str
    seeds_instance: bool
    kwargs: Mapping[str, Any]
    randomness: tuple[float, ...]
    episodes: int
    updates: int
    batch: int
    agent: Any
    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]


TEN, FIVE = tuple(range(10)), tuple(range(5))

DATA = {
    "RandomWalks": Data("RandomWalks", True, {"observed": "node"}, (1.0,), 500, 600, 64, TABLE, (100, 101, 102), TEN),
    "Maze": Data("Maze", False, {}, (1.0, 0.8), 200, 800, 32, TABLE, (100, 101, 102), TEN),
    "Wordle": Data("WordleMini-words", False, {}, (1.0, 0.6), 3000, 1500, 64, "mlp-tiny", (100,), FIVE),
}


class Mixture(Player):
    """Says the best token, or with some probability any legal one."""

    def __init__(self, task: FiniteTask, randomness: float, seed: int) -> None:
        super().__init__(task.vocabulary, seed)
        self.best = None if randomness == 1 else OptimalPlayer(task, masked=True)
        self.randomness = randomness

    def probabilities(self, tokens: np.ndarray, lengths: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """See `Player.probabilities`; masks are asked for."""
        assert masks is not None
        any_legal = masks / masks.sum(axis=1, keepdims=True)
        if self.best is None:
            return any_legal
        return self.randomness * any_legal + (1 - self.randomness) * self.best.probabilities(tokens, lengths)


def task_of(data: Data, seed: int) -> FiniteTask:
    """Return the task that a seed stands for."""
    instance: dict[str, Any] = {"instance_seed": seed} if data.seeds_instance else {}
    task: Any = make_task(data.task, **data.kwargs, **instance)
    return task


def dataset_of(data: Data, task: FiniteTask, seed: int) -> EpisodeDataset:
    """Record what is learnt from: a share of the episodes of each player."""
    count = data.episodes // len(data.randomness)
    parts = [
        record(task, Mixture(task, share, 1000 * seed + place), count, 1000 * seed + place, action_masks=True)[0]
        for place, share in enumerate(data.randomness)
    ]
    return EpisodeDataset(Episodes.concat(parts), task.vocabulary, {"env": data.task, "randomness": data.randomness})
