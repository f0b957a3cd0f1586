"""Normalised scores and the aggregates by which algorithms are compared.

The aggregates follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264): interquartile mean, optimality gap, performance profiles, probability of improvement, all with
percentile intervals from a stratified bootstrap that resamples runs within each task.

Few runs cannot say much, and what is said is called what it is: from one run there is no interval; of fewer than four
runs nothing can be trimmed and resampling gives back little more than their range, so `summarise` gives their mean and
that range; and a bootstrap interval from few runs is too narrow (`docs/guides/reading-the-report.md` has figures).

Scores of one algorithm are a sequence with one array of runs for each task. The arrays may differ in length, because a
failed run leaves no score; a task without any score is an error, for an average over other tasks would flatter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ..envs import TokenGymError
from ..envs.checking import Range, Seed, checked
from .given_scores import Scores, numbers_of, tasks_of

Spread = Literal["bootstrap", "range", "none"]
"""What stands beside an estimate."""

MIN_RUNS = 4
"""The fewest runs of which a quarter can be cut off, and from which an interval is computed."""
MIN_RESAMPLES = 2000
"""Fewer bootstrap resamples than this make the ends of a 95% interval visibly random."""
Resamples = Annotated[int, Range(least=MIN_RESAMPLES, most=10_000_000)]
"""How many bootstrap resamples; each takes memory for a run's score."""
Confidence = Annotated[float, Range(above=0, below=1)]
"""Probability mass of an interval, below 1."""


@dataclass(frozen=True)
class Interval:
    """A point estimate, and what the scores say about how far it can be trusted."""

    estimate: float
    """The statistic on the scores themselves."""
    low: float | None = None
    """Lower end; None where nothing can be said."""
    high: float | None = None
    """Upper end; None where nothing can be said."""
    spread: Spread = "bootstrap"
    """What the ends are: of a percentile bootstrap interval, the lowest and the highest run, or nothing."""
    statistic: str = "interquartile mean"
    """What the estimate is: an interquartile mean where something was trimmed, a mean, …"""

    @checked
    def text(self, digits: Annotated[int, Range(least=0, most=15)] = 2) -> str:
        """Return ``"0.93 [0.88, 0.97]"`` for an interval, ``"0.93 (0.88 to 0.97)"`` for a range, else ``"0.93"``."""
        if self.low is None or self.high is None:
            return rounded(self.estimate, digits)
        estimate, low, high = (rounded(x, digits) for x in (self.estimate, self.low, self.high))
        return f"{estimate} ({low} to {high})" if self.spread == "range" else f"{estimate} [{low}, {high}]"


@dataclass(frozen=True)
class Profile:
    """A performance profile: the share of runs that score above each threshold."""

    thresholds: np.ndarray
    """Score thresholds τ, shape (P,), float64."""
    fraction: np.ndarray
    """Share of runs with a score above τ, averaged over tasks, shape (P,)."""
    low: np.ndarray | None
    """Lower end of the pointwise interval, shape (P,); None where there are too few runs for one."""
    high: np.ndarray | None
    """Upper end of the pointwise interval, shape (P,); None where there are too few runs for one."""


@checked
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


@checked
def interquartile_mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of the middle half of the scores along ``axis`` (25% trimmed mean).

    A quarter of n scores is rounded down, as ``scipy.stats.trim_mean`` does, so fewer than four scores are not trimmed.
    """
    ordered = np.sort(numbers_of("scores", scores, axis), axis=axis)
    count = ordered.shape[axis]
    cut = count // 4
    return np.take(ordered, np.arange(cut, count - cut), axis=axis).mean(axis=axis)


@checked
def mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean along ``axis``."""
    return numbers_of("scores", scores, axis).mean(axis=axis)


@checked
def optimality_gap(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return 1 − mean(min(score, 1)): how far the runs are from the optimum, with nothing gained above it."""
    return 1.0 - np.minimum(numbers_of("scores", scores, axis), 1.0).mean(axis=axis)


@checked
def summarise(runs: np.ndarray, *, confidence: Confidence = 0.95, seed: Seed = 0) -> Interval:
    """Return what the runs of one task say together.

    One run is a number; two or three have a mean and a range; four or more an interquartile mean with a percentile
    bootstrap interval.

    Args:
        runs: Scores, one a run.
        confidence: Probability mass of the interval.
        seed: Seed of the generator that this call owns.

    Raises:
        TokenGymError: If there are no runs, or a score is not finite.
    """
    (runs,) = tasks_of([runs])
    if len(runs) >= MIN_RUNS:
        return stratified_bootstrap([runs], confidence=confidence, seed=seed)
    if len(runs) == 1:
        return Interval(float(runs[0]), spread="none", statistic="one run")
    return Interval(float(runs.mean()), float(runs.min()), float(runs.max()), "range", "mean")


def enough_for_interval(scores: Scores) -> bool:
    """Return whether a bootstrap interval means anything: four runs in all, and two of every task.

    A task with one run would be resampled to itself, as if its score were certain.
    """
    sizes = [len(runs) for runs in scores]
    return sum(sizes) >= MIN_RUNS and min(sizes, default=0) >= 2


def described(counts: Iterable[int]) -> str:
    """Return what `summarise` gives for cells of so many runs, as a sentence for whoever reads their texts."""
    sizes = sorted({count for count in counts if count})
    few, many = [n for n in sizes if 1 < n < MIN_RUNS], [n for n in sizes if n >= MIN_RUNS]
    parts = []
    if many:
        parts.append(
            f"interquartile mean over {_seeds(many)} and, in brackets, a 95% percentile bootstrap interval"
            + (", which from so few seeds is too narrow" if many[0] < 10 else "")
        )
    if few:
        parts.append(f"mean of {_seeds(few)} and, in parentheses, their range, which is no confidence interval")
    if 1 in sizes:
        parts.append("one seed: its score, without an interval")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if parts else "No run has finished."


@checked
def stratified_bootstrap(
    scores: Scores,
    statistic: Callable[..., np.ndarray] = interquartile_mean,
    *,
    resamples: Resamples = MIN_RESAMPLES,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
) -> Interval:
    """Return a statistic of all runs of all tasks with its percentile bootstrap interval.

    Args:
        scores: One array of runs for each task.
        statistic: Maps an array of shape (..., runs) to shape (...), reducing the axis -1.
        resamples: Number of bootstrap resamples, at least 2000.
        confidence: Probability mass of the interval, between 0 and 1.
        seed: Seed of the generator that this call owns; the same seed gives the same interval.

    Returns:
        The estimate with its interval; without one where `enough_for_interval` says no.

    Raises:
        TokenGymError: If a task has no scores or a score is not finite, or an argument is out of range.
    """
    tasks = tasks_of(scores)
    generator = np.random.default_rng(seed)
    estimate = float(statistic(np.concatenate(tasks), axis=-1))
    name = getattr(statistic, "__name__", "statistic").replace("_", " ")
    if statistic is interquartile_mean and sum(map(len, tasks)) < MIN_RUNS:
        name = "mean"  # nothing was trimmed
    if not enough_for_interval(tasks):
        return Interval(estimate, spread="none", statistic=name)
    resampled = np.concatenate([_resample(runs, resamples, generator) for runs in tasks], axis=1)
    low, high = _percentiles(statistic(resampled, axis=-1), confidence)
    return Interval(estimate, float(low), float(high), "bootstrap", name)


@checked
def performance_profile(
    scores: Scores,
    thresholds: np.ndarray,
    *,
    resamples: Resamples = MIN_RESAMPLES,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
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
    tasks = tasks_of(scores)
    generator = np.random.default_rng(seed)
    thresholds = numbers_of("thresholds", thresholds)
    if thresholds.ndim != 1:
        raise TokenGymError(f"thresholds have shape {thresholds.shape}; expected (P,)")
    fraction = np.zeros(len(thresholds))
    resampled = np.zeros((resamples, len(thresholds)))
    for runs in tasks:
        above = runs[:, None] > thresholds  # (runs, P)
        fraction += above.mean(axis=0)
        chosen = generator.integers(len(runs), size=(resamples, len(runs)))
        counts = np.zeros((resamples, len(runs)))
        np.add.at(counts, (np.arange(resamples)[:, None], chosen), 1.0)
        resampled += counts @ above / len(runs)
    if not enough_for_interval(tasks):
        return Profile(thresholds, fraction / len(tasks), None, None)
    low, high = _percentiles(resampled / len(tasks), confidence)
    return Profile(thresholds, fraction / len(tasks), low, high)


@checked
def probability_of_improvement(
    first: Scores,
    second: Scores,
    *,
    resamples: Resamples = MIN_RESAMPLES,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
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
    first, second = _same_tasks("an improvement", first, second)
    tasks = list(zip(first, second, strict=True))
    generator = np.random.default_rng(seed)
    estimate, resampled = 0.0, np.zeros(resamples)
    for x, y in tasks:
        wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # (n, m)
        estimate += float(wins.mean())
        rows = generator.integers(len(x), size=(resamples, len(x), 1))
        columns = generator.integers(len(y), size=(resamples, 1, len(y)))
        resampled += wins[rows, columns].mean(axis=(1, 2))
    name = "probability of improvement"
    if not (enough_for_interval(first) and enough_for_interval(second)):
        return Interval(estimate / len(tasks), spread="none", statistic=name)
    low, high = _percentiles(resampled / len(tasks), confidence)
    return Interval(estimate / len(tasks), float(low), float(high), "bootstrap", name)


@checked
def mean_difference(
    first: Scores,
    second: Scores,
    *,
    resamples: Resamples = MIN_RESAMPLES,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
) -> Interval:
    """Return how much higher the first algorithm scores on average, every task counting the same.

    The runs of the two are independent: each is resampled on its own, within each task.

    Args:
        first: Scores of the algorithm that may be better, one array of runs for each task.
        second: Scores of the other algorithm on the same tasks in the same order.
        resamples: Number of bootstrap resamples, at least 2000.
        confidence: Probability mass of the interval.
        seed: Seed of the generator that this call owns.

    Raises:
        TokenGymError: If the two have different numbers of tasks; otherwise as `stratified_bootstrap`.
    """
    first, second = _same_tasks("a difference", first, second)
    tasks = list(zip(first, second, strict=True))
    generator = np.random.default_rng(seed)
    estimate = float(np.mean([x.mean() - y.mean() for x, y in tasks]))
    if not (enough_for_interval(first) and enough_for_interval(second)):
        return Interval(estimate, spread="none", statistic="difference of means")
    resampled = np.zeros(resamples)
    for x, y in tasks:
        resampled += _resample(x, resamples, generator).mean(axis=1) - _resample(y, resamples, generator).mean(axis=1)
    low, high = _percentiles(resampled / len(tasks), confidence)
    return Interval(estimate, float(low), float(high), "bootstrap", "difference of means")


@checked
def bootstrap_curve(
    curves: np.ndarray,
    statistic: Callable[..., np.ndarray] = interquartile_mean,
    *,
    resamples: Resamples = MIN_RESAMPLES,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return at each point of learning curves what `summarise` says of the runs there.

    Args:
        curves: One curve a run, shape (runs, points).
        statistic: Reduces an axis of runs, as of `stratified_bootstrap`; only ever asked of four runs or more.
        resamples: Number of bootstrap resamples, at least 2000.
        confidence: Probability mass of the intervals.
        seed: Seed of the generator that this call owns.

    Returns:
        Three arrays of shape (points,): the statistic with the ends of its pointwise interval; of two or three
        runs their mean, minimum and maximum; of one run the curve itself, None and None.
    """
    curves = numbers_of("curves", curves, finite=False)  # a gap in one is a gap in what is drawn
    if curves.ndim != 2 or curves.shape[0] == 0:
        raise TokenGymError(f"learning curves have shape (runs, points) with at least one run, got {curves.shape}")
    generator = np.random.default_rng(seed)
    if len(curves) == 1:
        return curves[0], None, None
    if len(curves) < MIN_RUNS:
        return curves.mean(axis=0), curves.min(axis=0), curves.max(axis=0)
    chosen = generator.integers(len(curves), size=(resamples, len(curves)))
    low, high = _percentiles(statistic(curves[chosen], axis=1), confidence)
    return statistic(curves, axis=0), low, high


def _resample(runs: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    return runs[generator.integers(len(runs), size=(resamples, len(runs)))]


def _percentiles(values: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail], axis=0)
    return low, high


def _seeds(counts: list[int]) -> str:
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def rounded(value: float, digits: int) -> str:
    """Return a number with so many digits behind the point; what rounds to 0 has no sign."""
    # Adding 0 to a rounded number turns a negative zero, which reads as a misprint, into zero.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _same_tasks(what: str, first: Scores, second: Scores) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the checked scores of two algorithms, which must be of equally many tasks."""
    one, other = tasks_of(first), tasks_of(second)
    if len(one) != len(other):
        raise TokenGymError(f"{what} compares algorithms on the same tasks, got {len(one)} and {len(other)} tasks")
    return one, other
