"""Comparisons bought in rounds, at random, actively or online, and the gold that the models fitted to them reach.

All the texts of a task can be listed, so that what a model is worth is exact: the gold reward of the optimum of its
score at a fixed KL from random play.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from ...algorithms.data import Encoded, episodes_from
from ...algorithms.labelling import SimulatedLabeller, choose_pairs
from ...algorithms.reward_models import fit_scores
from ...envs import make_task
from ...envs.exact import divergence, tilted
from ...envs.tasks.learned import ProxyTask

Array = npt.NDArray[np.float64]
How = Literal["random", "active", "online"]

LABELS = (50, 100, 200, 500, 1000, 2000)
"""The labels that are bought by the end of each round."""
HOWS: tuple[How, ...] = ("random", "active", "online")
MEMBERS = 5
"""Models that are fitted each round, to comparisons of their own; their mean is optimised."""
POLICY_KL = 4.0
"""How far from random play the policy is whose texts are compared online."""
_POOL = 4096
"""Texts among which a round's pairs are chosen."""


@dataclass(frozen=True)
class Setting:
    """Whose comparisons are bought.

    Attributes:
        title: What tables and pictures call it.
        environment: A task whose texts, gold reward and kind of reward model are taken.
        model: What its reward models read and are, for `fit_scores`.
        flips: Share of the labels that is turned over.
    """

    title: str
    environment: str
    model: tuple[tuple[str, Any], ...]
    flips: float

    def task(self, instance: int) -> ProxyTask:
        """Return an instance of the task."""
        return cast(ProxyTask, make_task(self.environment, instance_seed=instance))


SETTINGS = (
    Setting("smooth, no label wrong", "GoldProxy", (), 0.0),
    Setting("repeats, a quarter wrong", "GoldProxy-repeats", (("features", "repeats"), ("hidden", 0)), 0.25),
)


def tilted_at(scores: Array, kl: float, log_reference: Array) -> Array:
    """Return the distribution (N,) of the highest expected score among those of a KL from the reference.

    Where no distribution that a β gives is as far away, the farthest.
    """
    low, high = np.log(1e-4), np.log(1e4)
    for _ in range(50):
        middle = (low + high) / 2
        far = divergence(tilted(scores, float(np.exp(middle)), log_reference), log_reference) > kl
        low, high = (middle, high) if far else (low, middle)
    return tilted(scores, float(np.exp(high)), log_reference)


def gold_bought(
    setting: Setting, instance: int, how: How, kls: Sequence[float], labels: Sequence[int] = LABELS, **fit: Any
) -> Array:
    """Return the gold reward (labels, kls) that is reached after each round of buying, at each KL.

    The first round's pairs are random texts in any case, the same for each way. Further ones are random texts, too
    ("random"), those of eight times as many pairs of random texts on which the models of the last round disagree most
    ("active"), or random pairs of texts of the last models' optimum at `POLICY_KL` ("online").

    Args:
        setting: Whose comparisons.
        instance: Number of the instance, from which all is drawn.
        how: Which pairs are bought.
        kls: Where the optimum is taken.
        labels: Bought by the end of each round, rising.
        **fit: Further arguments of `fit_scores`.
    """
    task = setting.task(instance)
    texts, random = task.texts, np.random.default_rng([instance, 7])
    labeller = SimulatedLabeller(temperature=0.5, flips=setting.flips, seed=instance)
    chance, members = np.exp(texts.log_random), np.empty((0, texts.count))
    bought, reached = np.empty((2, 0), np.int64), []
    for number, total in enumerate(labels):
        wanted = total - bought.shape[1]
        policy = chance
        if number and how == "online":
            policy = tilted_at(members.mean(axis=0), POLICY_KL, texts.log_random)
        pool = random.choice(texts.count, size=_POOL, p=policy)
        active = bool(number) and how == "active"
        pairs = choose_pairs(
            episodes_from(
                [
                    Encoded([texts.num_words, *said], [False] + [True] * texts.length)
                    for said in texts.tokens[pool].tolist()
                ],
                texts.num_words,
            ),
            wanted,
            "disagreement" if active else "random",
            seed=1000 * instance + number,
            scores=members[:, pool] if active else None,
        )
        first, second = (pool[places] for places in pairs)
        preferred = labeller.draw(task.gold[first], task.gold[second])
        answered = np.where(preferred, (first, second), (second, first))
        bought = np.concatenate([bought, answered], axis=1)
        members = fit_scores(
            texts.tokens,
            texts.lengths,
            *bought,
            num_tokens=texts.num_words,
            members=MEMBERS,
            bootstrap=True,
            seed=instance,
            **{**dict(setting.model), **fit},
        )
        best = members.mean(axis=0)
        reached.append([float(tilted_at(best, kl, texts.log_random) @ task.gold) for kl in kls])
    return np.array(reached)


def gold_possible(setting: Setting, instance: int, kl: float) -> float:
    """Return the most gold that there is at a KL: what an optimum of the gold reward itself has."""
    task = setting.task(instance)
    return float(tilted_at(task.gold, kl, task.texts.log_random) @ task.gold)
