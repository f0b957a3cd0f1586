"""The tables and the pictures of the study on over-optimisation: exact frontiers, and how a learner went along them.

`python -m tokengym.experiments.suite.over_optimisation results/over-optimisation` prints the tables for
`docs/studies/over-optimisation.md` and draws its pictures, from the finished study of that name in that folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from ..console import told_in_a_line
from ..report import RunResult, StudyResults, collect, style
from ..study import find_study, load_study
from .frontiers import TURNS, Frontier
from .proxy_grid import BESIDES, CELLS, decimal, ensemble_table, grid_table, plain_ensemble_table
from .proxy_pictures import grid_picture, run_picture

INSTANCES = range(300, 310)
"""Nothing was tuned on them, and none of them was looked at before everything else stood."""
EARLIER = (range(10), range(100, 110))
"""Those of earlier forms of the page, whose counts it keeps."""
_PICTURES = Path("docs") / "studies"


def walked(run: RunResult) -> Frontier:
    """Return gold and proxy of a run's evaluations at the KL from random play that they had, as training went."""
    kl, proxy, gold = (
        np.array([of(record) for record in run.curve])
        for of in (lambda one: one["kl"], lambda one: one["columns"]["proxy"], lambda one: one["columns"]["gold"])
    )
    return Frontier(kl, proxy, gold, 0.0)


def walks(results: StudyResults, kind: str) -> list[Frontier]:
    """Return how the finished runs on one kind of labels, `"noisy"` or `"clean"`, went."""
    return [walked(run) for run in results.runs if run.status == "done" and run.spec.environment.startswith(kind)]


def run_table(results: StudyResults) -> str:
    """Return the table of the runs, medians over the instances, as Markdown."""
    lines = [
        "| labels | gold turned over | fell by more than a tenth | KL at the end | gold's peak | gold at the end "
        "| proxy at the end |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for kind in ("noisy", "clean"):
        found = walks(results, kind)
        if found:
            numbers = [
                np.median([measure(one) for one in found])
                for measure in (
                    lambda one: one.kl[-1],
                    lambda one: one.peak,
                    lambda one: one.gold[-1],
                    lambda one: one.proxy[-1],
                )
            ]
            turned, fell = sum(one.turned for one in found), sum(one.fall > TURNS for one in found)
            counts = (f"{count} of {len(found)}" for count in (turned, fell))
            lines.append(f"| {' | '.join([kind, *counts, *map(decimal, numbers)])} |")
    return "\n".join(lines)


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Print the tables and draw the pictures; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of the finished study")
    parser.add_argument("--earlier", action="store_true", help="print exact tables of instances looked at before")
    options = parser.parse_args(arguments)
    if options.earlier:
        tables = (*(grid_table(BESIDES, instances) for instances in EARLIER), plain_ensemble_table(EARLIER[0]))
        print("\n\n".join(tables))
        return 0
    results = collect(load_study(find_study("over-optimisation")), options.out)
    for table in (
        grid_table(CELLS, INSTANCES),
        grid_table(BESIDES, INSTANCES),
        ensemble_table(INSTANCES),
        run_table(results),
    ):
        print(f"{table}\n", flush=True)
    _PICTURES.mkdir(parents=True, exist_ok=True)
    with style():
        for name, figure in (
            ("over-optimisation", run_picture({kind: walks(results, kind) for kind in ("noisy", "clean")}, INSTANCES)),
            ("over-optimisation-grid", grid_picture(INSTANCES)),
        ):
            figure.savefig(_PICTURES / f"{name}.png", metadata={"Software": None}, dpi=80)
    return 0


if __name__ == "__main__":
    sys.exit(main())
