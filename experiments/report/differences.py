"""How far algorithms are from their outside references: differences of scores at equal tokens and at equal seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..statistics import Interval, mean_difference
from .results import RunResult, StudyResults
from .tables import Cell, Table

TOGETHER = "all together"


@dataclass(frozen=True)
class Difference:
    """How much higher an algorithm scores than its reference."""

    algorithm: str
    """The algorithm."""
    reference: str
    """What it is compared with."""
    environment: str
    """Where; `TOGETHER` for the mean over all environments."""
    by_tokens: Interval | None
    """After the same number of agent tokens; None where either has no finished run."""
    by_seconds: Interval | None
    """After the same seconds of training; None where seconds were not recorded."""
    seconds: float | None
    """Those seconds: the mean time of the faster of the two. None where they were not recorded, and over several
    environments, each of which has its own."""


def counterparts(results: StudyResults) -> list[tuple[str, str]]:
    """Return pairs of an algorithm and each reference that is another implementation of the same one.

    By their names in the registry: ``sb3-ppo`` is the counterpart of ``ppo``, whatever the study calls them.
    """
    return [
        (own.name, other.name)
        for own in results.study.algorithms
        for other in results.study.algorithms
        if other.reference and not own.reference
        if (other.algorithm or other.name) == f"sb3-{own.algorithm or own.name}"
    ]


def differences(results: StudyResults, *, seed: int = 0) -> list[Difference]:
    """Return, for each pair of `counterparts`, the differences on every environment that both have, and their mean.

    The mean is left out where a finished run is missing on one of the environments: it would flatter.
    """
    return results.once(("differences", seed), lambda: _differences(results, seed))


def _differences(results: StudyResults, seed: int) -> list[Difference]:
    found = []
    for own, other in counterparts(results):
        names = [name for name in results.environments if results.cell(name, own) and results.cell(name, other)]
        tokens: list[tuple[np.ndarray, np.ndarray]] = []
        seconds: list[tuple[np.ndarray, np.ndarray]] = []
        for name in names:
            pair = results.scores(name, own), results.scores(name, other)
            time = equal_seconds(results.cell(name, own), results.cell(name, other))
            timed = None if time is None else _at(results, name, own, other, time)
            by_tokens = mean_difference([pair[0]], [pair[1]], seed=seed) if len(pair[0]) and len(pair[1]) else None
            by_seconds = None if timed is None else mean_difference([timed[0]], [timed[1]], seed=seed)
            found.append(Difference(own, other, name, by_tokens, by_seconds, time))
            tokens += [pair] if by_tokens is not None else []
            seconds += [timed] if timed is not None else []
        if len(names) > 1:
            whole = [_together(pairs, len(names), seed) for pairs in (tokens, seconds)]
            found.append(Difference(own, other, TOGETHER, whole[0], whole[1], None))
    return found


def equal_seconds(first: list[RunResult], second: list[RunResult]) -> float | None:
    """Return the mean training seconds of whichever of two algorithms takes fewer; None where they are not known."""
    means = []
    for runs in (first, second):
        ends = [run.seconds[-1] for run in runs if run.score is not None and run.seconds]
        known = [end for end in ends if end is not None]
        if not known or len(known) < len(ends):
            return None
        means.append(float(np.mean(known)))
    return min(means)


def score_after(run: RunResult, seconds: float) -> float | None:
    """Return a finished run's score after so many seconds of training.

    Its final score if it had ended by then, else that of its last evaluation until then: nothing is interpolated.
    """
    times = [time for time in run.seconds if time is not None]
    if run.score is None or not times or len(times) < len(run.curve):
        return None
    if times[-1] <= seconds:
        return run.score
    reached = [record["score"] for record, time in zip(run.curve, times, strict=True) if time <= seconds]
    return float(reached[-1]) if reached else None


def difference_table(results: StudyResults) -> Table | None:
    """Return the differences as a table, one row an environment; None where the study has no such pair."""
    found = differences(results)
    if not found:
        return None
    rows = []
    for one in found:
        after = "" if one.seconds is None else f"{one.seconds:.1f}"
        name = f"{one.algorithm} − {one.reference}"
        texts = ["–" if interval is None else interval.text() for interval in (one.by_tokens, one.by_seconds)]
        rows.append([Cell(name, "name"), Cell(one.environment), Cell(texts[0]), Cell(texts[1]), Cell(after)])
    note = (
        "Difference of the mean normalised scores, above 0 where ours is higher; in brackets 95% percentile bootstrap "
        "intervals that resample the runs of both. At equal seconds: when the faster of the two has ended, the other "
        "counts with its last evaluation until then; runs share the machine."
    )
    header = ["difference", "environment", "at equal tokens", "at equal seconds", "seconds"]
    return Table("Against the outside references", header, rows, note)


def _at(results: StudyResults, name: str, own: str, other: str, time: float) -> tuple[np.ndarray, np.ndarray] | None:
    both = []
    for label in (own, other):
        scores = [score_after(run, time) for run in results.cell(name, label) if run.score is not None]
        known = [score for score in scores if score is not None]
        if not known or len(known) < len(scores):
            return None
        both.append(np.array(known))
    return both[0], both[1]


def _together(pairs: list[tuple[np.ndarray, np.ndarray]], expected: int, seed: int) -> Interval | None:
    if len(pairs) < expected:
        return None
    return mean_difference([first for first, _ in pairs], [second for _, second in pairs], seed=seed)
