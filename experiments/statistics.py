"""Normalised scores and the aggregates by which algorithms are compared.

The aggregates follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264): interquartile mean, optimality gap, performance profiles, probability of improvement, all with
percentile intervals from a stratified bootstrap that resamples runs within each task.

Scores of one algorithm are a sequence with one array of runs for each task. The arrays may differ in length, because a
failed run leaves no score; a task without any score is an error, for an average over other tasks would flatter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..envs.errors import TokenGymError

Scores = Sequence[np.ndarray]
"""One float array of runs for each task."""

MIN_RESAMPLES = 2000
"""Fewer bootstrap resamples than this make the ends of a 95% interval visibly random."""


@dataclass(frozen=True)
class Interval:
    """A point estimate and the ends of its confidence interval."""

    estimate: float
    """The statistic on the scores themselves."""
    low: float
    """Lower end of the percentile interval."""
    high: float
    """Upper end of the percentile interval."""

    def text(self, digits: int = 2) -> str:
        """Return ``"0.93 [0.88, 0.97]"``."""
        # Adding 0 to a rounded number turns a negative zero, which reads as a misprint, into zero.
        estimate, low, high = (f"{round(x, digits) + 0.0:.{digits}f}" for x in (self.estimate, self.low, self.high))
        return f"{estimate} [{low}, {high}]"


@dataclass(frozen=True)
class Profile:
    """A performance profile: the share of runs that score above each threshold."""

    thresholds: np.ndarray
    """Score thresholds τ, shape (P,), float64."""
    fraction: np.ndarray
    """Share of runs with a score above τ, averaged over tasks, shape (P,)."""
    low: np.ndarray
    """Lower end of the pointwise interval, shape (P,)."""
    high: np.ndarray
    """Upper end of the pointwise interval, shape (P,)."""


def normalised_score(value: float, random_return: float, optimal_return: float) -> float:
    """Return (J − J_random) / (J* − J_random): 0 is uniform random play, 1 is the optimum.

    Raises:
        TokenGymError: If the optimum does not lie above random play, so that the ratio has no meaning.
    """
    span = optimal_return - random_return
    if not np.isfinite(span) or span <= 0:
        raise TokenGymError(
            f"a normalised score needs an optimal return above the random return, got optimal {optimal_return!r} and "
            f"random {random_return!r}; correct the two returns that the task or the study declares"
        )
    return float((value - random_return) / span)


def interquartile_mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of the middle half of the scores along ``axis`` (25% trimmed mean).

    A quarter of n scores is rounded down, as ``scipy.stats.trim_mean`` does, so fewer than four scores are not trimmed.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=axis)
    count = ordered.shape[axis]
    cut = count // 4
    return np.take(ordered, np.arange(cut, count - cut), axis=axis).mean(axis=axis)


def mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean along ``axis``."""
    return np.asarray(scores, dtype=np.float64).mean(axis=axis)


def optimality_gap(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return 1 − mean(min(score, 1)): how far the runs are from the optimum, with nothing gained above it."""
    return 1.0 - np.minimum(np.asarray(scores, dtype=np.float64), 1.0).mean(axis=axis)


def stratified_bootstrap(
    scores: Scores,
    statistic: Callable[..., np.ndarray] = interquartile_mean,
    *,
    resamples: int = MIN_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic of all runs of all tasks with its percentile bootstrap interval.

    Args:
        scores: One array of runs for each task.
        statistic: Maps an array of shape (..., runs) to shape (...), reducing the axis -1.
        resamples: Number of bootstrap resamples, at least 2000.
        confidence: Probability mass of the interval, between 0 and 1.
        seed: Seed of the generator that this call owns; the same seed gives the same interval.

    Raises:
        TokenGymError: If a task has no scores or a score is not finite, or an argument is out of range.
    """
    tasks = _checked(scores)
    generator = _generator(resamples, confidence, seed)
    resampled = np.concatenate([_resample(runs, resamples, generator) for runs in tasks], axis=1)
    low, high = _percentiles(statistic(resampled, axis=-1), confidence)
    return Interval(float(statistic(np.concatenate(tasks), axis=-1)), float(low), float(high))


def performance_profile(
    scores: Scores,
    thresholds: np.ndarray,
    *,
    resamples: int = MIN_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Profile:
    """Return the share of runs that score above each threshold, every task counting the same.

    Args:
        scores: One array of runs for each task.
        thresholds: Score thresholds τ, shape (P,).
        resamples: Number of bootstrap resamples, at least 2000.
        confidence: Probability mass of the pointwise intervals.
        seed: Seed of the generator that this call owns.

    Raises:
        TokenGymError: As `stratified_bootstrap`.
    """
    tasks = _checked(scores)
    generator = _generator(resamples, confidence, seed)
    thresholds = np.asarray(thresholds, dtype=np.float64)
    fraction = np.zeros(len(thresholds))
    resampled = np.zeros((resamples, len(thresholds)))
    for runs in tasks:
        above = runs[:, None] > thresholds  # (runs, P)
        fraction += above.mean(axis=0)
        chosen = generator.integers(len(runs), size=(resamples, len(runs)))
        counts = np.zeros((resamples, len(runs)))
        np.add.at(counts, (np.arange(resamples)[:, None], chosen), 1.0)
        resampled += counts @ above / len(runs)
    low, high = _percentiles(resampled / len(tasks), confidence)
    return Profile(thresholds, fraction / len(tasks), low, high)


def probability_of_improvement(
    first: Scores,
    second: Scores,
    *,
    resamples: int = MIN_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the probability that a run of the first algorithm beats one of the second, averaged over tasks.

    On one task it is the Mann–Whitney statistic U / (n m): the share of pairs that the first wins, ties counting half.

    Args:
        first: Scores of the algorithm that may be better, one array of runs for each task.
        second: Scores of the other algorithm on the same tasks in the same order.
        resamples: Number of bootstrap resamples, at least 2000.
        confidence: Probability mass of the interval.
        seed: Seed of the generator that this call owns.

    Raises:
        TokenGymError: If the two have different numbers of tasks; otherwise as `stratified_bootstrap`.
    """
    tasks = list(zip(_checked(first), _checked(second), strict=False))
    if len(first) != len(second):
        raise TokenGymError(
            f"an improvement compares algorithms on the same tasks, got {len(first)} and {len(second)} tasks"
        )
    generator = _generator(resamples, confidence, seed)
    estimate, resampled = 0.0, np.zeros(resamples)
    for x, y in tasks:
        wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # (n, m)
        estimate += float(wins.mean())
        rows = generator.integers(len(x), size=(resamples, len(x), 1))
        columns = generator.integers(len(y), size=(resamples, 1, len(y)))
        resampled += wins[rows, columns].mean(axis=(1, 2))
    low, high = _percentiles(resampled / len(tasks), confidence)
    return Interval(estimate / len(tasks), float(low), float(high))


def bootstrap_curve(
    curves: np.ndarray,
    *,
    resamples: int = MIN_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the interquartile mean of learning curves over runs and its pointwise interval.

    Args:
        curves: One curve a run, shape (runs, points).
        resamples: Number of bootstrap resamples, at least 2000.
        confidence: Probability mass of the intervals.
        seed: Seed of the generator that this call owns.

    Returns:
        Three arrays of shape (points,): estimate, low, high.
    """
    curves = np.asarray(curves, dtype=np.float64)
    if curves.ndim != 2 or curves.shape[0] == 0:
        raise TokenGymError(f"learning curves have shape (runs, points) with at least one run, got {curves.shape}")
    generator = _generator(resamples, confidence, seed)
    chosen = generator.integers(len(curves), size=(resamples, len(curves)))
    low, high = _percentiles(interquartile_mean(curves[chosen], axis=1), confidence)
    return interquartile_mean(curves, axis=0), low, high


def _checked(scores: Scores) -> list[np.ndarray]:
    tasks = [np.asarray(runs, dtype=np.float64).ravel() for runs in scores]
    if not tasks:
        raise TokenGymError("an aggregate needs the scores of at least one task, got none")
    for index, runs in enumerate(tasks):
        if len(runs) == 0:
            raise TokenGymError(f"task {index} has no scores; leave the task out or run it again")
        if not np.isfinite(runs).all():
            raise TokenGymError(f"task {index} has scores that are not finite: {runs.tolist()}")
    return tasks


def _generator(resamples: int, confidence: float, seed: int) -> np.random.Generator:
    if resamples < MIN_RESAMPLES:
        raise TokenGymError(f"resamples must be at least {MIN_RESAMPLES}, got {resamples}")
    if not 0 < confidence < 1:
        raise TokenGymError(f"confidence must lie between 0 and 1, got {confidence}")
    return np.random.default_rng(seed)


def _resample(runs: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    return runs[generator.integers(len(runs), size=(resamples, len(runs)))]


def _percentiles(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail], axis=0)
    return low, high
