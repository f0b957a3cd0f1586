"""The rows of the zoo's tables: what an algorithm's runs say on each environment and over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..report import StudyResults, cell_interval
from ..statistics import Interval, interquartile_mean, optimality_gap, stratified_bootstrap


@dataclass(frozen=True)
class Row:
    """An algorithm of a table."""

    algorithm: str
    """Its name in the study."""
    cells: tuple[Interval | None, ...]
    """What its runs on each environment say together; None where it did not run."""
    iqm: Interval
    """Interquartile mean of all its runs, with an interval stratified by environments."""
    gap: Interval
    """Optimality gap likewise: how far its runs are from the optimum, 0 at best."""
    ran: int
    """On how many environments."""
    runs: int
    """How many of its runs finished."""
    seconds: float
    """Mean seconds of training of its runs; NaN where they were not recorded."""


def rows(results: StudyResults) -> list[Row]:
    """Return the table, those that ran everywhere first, by their interquartile means; without those of no run."""
    found = []
    for algorithm in results.algorithms:
        cells = tuple(cell_interval(results, environment, algorithm) for environment in results.environments)
        scores = [one for one in results.scores_by_task(algorithm) if len(one)]
        if not scores:
            continue
        runs = [run for run in results.runs if run.spec.label == algorithm and run.status == "done"]
        times = [run.seconds[-1] for run in runs if run.seconds and run.seconds[-1] is not None]
        found.append(
            Row(
                algorithm=algorithm,
                cells=cells,
                iqm=stratified_bootstrap(scores, interquartile_mean),
                gap=stratified_bootstrap(scores, optimality_gap),
                ran=len(scores),
                runs=sum(map(len, scores)),
                seconds=float(np.mean(times)) if times else float("nan"),
            )
        )
    return sorted(found, key=lambda row: (-row.ran, -row.iqm.estimate, row.algorithm))


def best_of(table: Sequence[Row], environments: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Return the algorithm that scores highest on each environment, the first among equals, and its score."""
    best = {}
    for place, environment in enumerate(environments):
        ran = [(row.cells[place], row) for row in table]
        known = [(cell.estimate, row.algorithm) for cell, row in ran if cell is not None]
        if known:
            score = max(estimate for estimate, _ in known)
            best[environment] = (next(name for estimate, name in known if estimate == score), score)
    return best
