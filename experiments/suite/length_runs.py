"""Learners on a reward that likes length, followed exactly until they are as far from random play as is asked."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...algorithms import DPO, PPO, Callback, Episodes, PreferenceDataset, PreferencePairs
from ...envs.exact import divergence
from ...envs.tasks.learned import LengthBias
from ..audit import all_episodes
from .length_rewards import balanced, balanced_pairs, biased, regressed_out, text_probabilities
from .length_split import length_divergence, split_gain

Array = npt.NDArray[np.float64]

TOKENS, UPDATES = 20_000, 2000
"""The most that a run may take to reach its KL."""
LEARNERS = ("none", "penalty", "regressed out", "balanced labels", "DPO", "DPO, balanced", "SimPO")


@dataclass(frozen=True)
class Point:
    """What a policy is worth, exactly.

    Attributes:
        kl: Its KL from random play, in nats.
        kl_of_lengths: The part of it that is the lengths' own.
        gold: Its expected gold reward.
        proxy: Its expected proxy reward, of the model that likes length.
        by_length: What of that the change of lengths alone gives.
        words: The mean length.
    """

    kl: float
    kl_of_lengths: float
    gold: float
    proxy: float
    by_length: float
    words: float


def point(task: LengthBias, probabilities: Array) -> Point:
    """Return what a distribution over the texts (N,) is worth."""
    lengths, reference = task.texts.lengths, task.texts.log_random
    return Point(
        kl=divergence(probabilities, reference),
        kl_of_lengths=length_divergence(lengths, probabilities, reference),
        gold=float(probabilities @ task.gold),
        proxy=float(probabilities @ task.proxy),
        by_length=split_gain(task.proxy, lengths, probabilities, reference).by_length,
        words=float(probabilities @ lengths),
    )


def between(first: Point, second: Point, kl: float) -> Point:
    """Return what lies between two points at this KL, linear in √KL."""
    near, far = np.sqrt(first.kl), np.sqrt(second.kl)
    share = float((np.sqrt(kl) - near) / (far - near))
    before, after = asdict(first), asdict(second)
    return Point(**{name: before[name] + share * (after[name] - before[name]) for name in before} | {"kl": kl})


class _Walk(Callback):
    """Measures the policy after every update, or every few, and ends the run at the KL."""

    def __init__(self, task: LengthBias, kl: float, every: int) -> None:
        self._task, self._kl, self._every, self._updates = task, kl, every, 0
        self.points: list[Point] = []

    def on_start(self, algorithm: Any) -> None:
        self._look(algorithm)

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> bool:
        self._updates += 1
        if self._updates % self._every == 0:
            self._look(algorithm)
        return self.points[-1].kl < self._kl

    def _look(self, algorithm: Any) -> None:
        self.points.append(point(self._task, text_probabilities(self._task, algorithm.agent.probabilities)))


def paid(task: LengthBias, reward: Array) -> LengthBias:
    """Return the task with another reward (N,) for each text; its proxy column says that one, too."""
    changed = copy.copy(task)
    for name in [name for name in vars(changed) if isinstance(getattr(LengthBias, name, None), cached_property)]:
        delattr(changed, name)  # it was worked out from the reward that the task had
    chance = np.exp(task.texts.log_random)
    changed.proxy, changed.reported = reward, {**task.reported, "proxy": reward}
    changed.random_return, changed.optimal_return = float(chance @ reward), float(reward.max())
    return changed


def compared(task: LengthBias, better: npt.NDArray[np.int64], worse: npt.NDArray[np.int64]) -> PreferenceDataset:
    """Return comparisons of texts (P,) and (P,), by their numbers, as episodes."""
    episodes, _ = all_episodes(task)
    numbers, where = np.unique(np.concatenate([better, worse]), return_inverse=True)
    place = np.empty(len(episodes), np.int64)
    place[_text_numbers(task, episodes)] = np.arange(len(episodes))
    first, second = where.reshape(2, -1)
    return PreferenceDataset(episodes.select(place[numbers]), task.vocabulary, PreferencePairs(first, second))


def walk(instance: int, learner: str, kl: float, penalty: float, seed: int) -> Point | None:
    """Train until a KL from random play is reached, and return what the policy is worth there, or None if it never was.

    Args:
        instance: Of the environment.
        learner: One of `LEARNERS`.
        kl: Where to end, in nats.
        penalty: A token's, of the learner "penalty".
        seed: Of the run.
    """
    task = biased(instance)
    follow = _Walk(task, kl, every=10 if learner.startswith(("DPO", "SimPO")) else 1)
    if learner.startswith(("DPO", "SimPO")):
        data = compared(task, *(balanced_pairs(instance) if "balanced" in learner else task.compared))
        options: dict[str, Any] = {"loss": "simpo"} if learner == "SimPO" else {}
        DPO(task, dataset=data, seed=seed, **options).learn(UPDATES, callback=follow)
    else:
        options = {"length_penalty": penalty} if learner == "penalty" else {}
        other = {"regressed out": regressed_out, "balanced labels": balanced}.get(learner)
        env = task if other is None else paid(task, other(instance))
        PPO(env, seed=seed, rollout_tokens=512, **options).learn(TOKENS, callback=follow)
    before, after = follow.points[-2:]
    return between(before, after, kl) if after.kl >= kl else None


def _text_numbers(task: LengthBias, episodes: Episodes) -> npt.NDArray[np.int64]:
    """The number of the text of each episode."""
    texts = task.texts
    number = np.zeros(len(episodes), np.int64)
    lengths = np.zeros(len(episodes), np.int64)
    for column in range(1, episodes.tokens.shape[1]):
        word = episodes.tokens[:, column]
        going_on = (column < episodes.lengths) & (word < texts.num_words)
        number = np.where(going_on, number * texts.num_words + word, number)
        lengths += going_on
    first = np.array([texts.first(length) for length in range(texts.length + 1)])
    return first[lengths] + number
