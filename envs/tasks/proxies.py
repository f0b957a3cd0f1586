"""Proxy rewards: comparisons drawn from random play, labelled by the gold reward, and models fitted to the labels.

Models and labellers live among what learns, above this floor: they are named by strings and loaded on use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..checking import load_entry_point, trusted

Array = npt.NDArray[np.float64]

FIT = "tokengym.algorithms.reward_models.small:fit_scores"
LABELLER = "tokengym.algorithms.labelling:SimulatedLabeller"

Combine = Literal["mean", "worst", "variance"]
COMBINATIONS: tuple[Combine, ...] = ("mean", "worst", "variance")


def labelled(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    gold: Array,
    lengths: npt.NDArray[np.integer],
    labeller: Mapping[str, Any],
    seed: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns which texts of the pairs (P,) a simulated labeller prefers, and the others.

    Args:
        first: Numbers of texts, shape (P,).
        second: Numbers of texts, shape (P,).
        gold: The gold reward of every text, shape (N,).
        lengths: The length of every text, shape (N,).
        labeller: Arguments of the labeller: `temperature`, `flips`, `length_preference`.
        seed: Draws the labels.
    """
    with trusted():  # the name is this package's own
        asked: Any = load_entry_point("labeller", LABELLER)(**labeller, seed=seed)
    wins = asked.draw(gold[first], gold[second], lengths[first].astype(np.int64) - lengths[second])
    return np.where(wins, first, second), np.where(wins, second, first)


def fitted(
    tokens: npt.NDArray[np.integer],
    lengths: npt.NDArray[np.integer],
    better: npt.NDArray[np.int64],
    worse: npt.NDArray[np.int64],
    settings: Mapping[str, Any],
) -> Array:
    """Returns what models fitted to comparisons score every text, float64 (members, N); see `fit_scores`."""
    with trusted():  # the name is this package's own
        fit = load_entry_point("proxy", FIT)
    return fit(tokens, lengths, better, worse, **settings)


def standardised(scores: Array, log_chance: Array) -> Array:
    """Returns scores (members, N) of mean 0 and variance 1 each, over texts of these log-probabilities (N,)."""
    chance = np.exp(log_chance)
    centred = scores - (scores @ chance)[:, None]
    deviation = np.sqrt(centred**2 @ chance)[:, None]
    return centred / np.where(deviation > 0, deviation, 1.0)


def combined(scores: Array, how: Combine, coefficient: float = 1.0) -> Array:
    """Returns one score (N,) of an ensemble's (members, N): mean, lowest, or mean − coefficient · variance."""
    if how == "worst":
        return scores.min(axis=0)
    mean = scores.mean(axis=0)
    return mean if how == "mean" else mean - coefficient * scores.var(axis=0)
