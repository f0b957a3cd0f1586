"""How good a reward model is: its accuracy on comparisons, and whether its odds are the labels'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...envs.checking import Count, checked
from ..data import PreferenceDataset
from .reading import sequences_of


class Scoring(Protocol):
    """What scores sequences: a `RewardModel`, or a classifier of transformers'."""

    def score(self, tokens: Any, lengths: Any, said: Any = None) -> np.ndarray:
        """Return float64 (B,); see `RewardModel.score`."""
        ...

    @property
    def scale(self) -> float:
        """What differences of scores are multiplied by to be log-odds."""
        ...


@dataclass(frozen=True, eq=False)
class Calibration:
    """A reliability diagram: how often the one that the model favours was the better, by how sure the model was.

    Attributes:
        confidence: float64 (bins,), the mean of P(favoured is better) within a bin, NaN where it is empty.
        accuracy: float64 (bins,), the share in which it was.
        counts: float64 (bins,), the weight of the pairs in each bin.
        error: the expected calibration error, Σ counts·|accuracy − confidence| / Σ counts.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray
    error: float

    def __str__(self) -> str:
        """Return the diagram as a table."""
        lines = ["sure     right    pairs"]
        for sure, right, count in zip(self.confidence, self.accuracy, self.counts, strict=True):
            if count:
                lines.append(f"{sure:.3f}    {right:.3f}    {count:g}")
        return "\n".join([*lines, f"expected calibration error {self.error:.3f}"])


@checked
def log_odds(model: Any, data: PreferenceDataset) -> np.ndarray:
    """Return float64 (P,), the log-odds that a model gives to each pair's better one."""
    read = sequences_of(data.episodes)
    used = np.unique(np.concatenate([data.pairs.better, data.pairs.worse]))
    chosen, scores = read.select(used), np.zeros(len(read))
    scores[used] = model.score(chosen.tokens, chosen.lengths, chosen.said)
    return (scores[data.pairs.better] - scores[data.pairs.worse]) * model.scale


@checked
def pair_accuracy(model: Any, data: PreferenceDataset) -> float:
    """Return the weighted share of pairs whose better one a model scores higher; a tie counts half."""
    ahead = log_odds(model, data)
    return float(data.pairs.weight @ ((ahead > 0) + 0.5 * (ahead == 0)) / data.pairs.weight.sum())


@checked
def calibration(model: Any, data: PreferenceDataset, bins: Count = 10) -> Calibration:
    """Hold a model's probabilities against labels, in bins of equal width from .5 to 1.

    Args:
        model: a `RewardModel`, or what scores like one.
        data: comparisons that it was not fitted to.
        bins: how many.
    """
    return reliability(log_odds(model, data), data.pairs.weight, bins)


@checked
def reliability(ahead: Any, weight: Any, bins: Count = 10) -> Calibration:
    """Return the reliability diagram of log-odds.

    Args:
        ahead: (P,), the log-odds that were given to each pair's better one.
        weight: (P,), how much each pair counts; both orders of a pair with their probabilities are its expectation.
        bins: how many.
    """
    odds, mass = np.asarray(ahead, np.float64), np.asarray(weight, np.float64)
    sure = 1 / (1 + np.exp(-np.abs(odds)))
    right = (odds > 0) + 0.5 * (odds == 0)
    place = np.minimum(((sure - 0.5) * 2 * bins).astype(int), bins - 1)
    counts, sums, hits = (
        np.bincount(place, weights=values, minlength=bins) for values in (mass, mass * sure, mass * right)
    )
    there = np.where(counts > 0, counts, np.nan)
    confidence, accuracy = sums / there, hits / there
    error = float(np.nansum(counts * np.abs(accuracy - confidence)) / counts.sum())
    return Calibration(confidence, accuracy, counts, error)
