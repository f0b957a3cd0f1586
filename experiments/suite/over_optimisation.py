"""The tables and the picture of the study on over-optimisation: exact frontiers, and how a learner went along them.

`python -m tokengym.experiments.suite.over_optimisation results/over-optimisation` prints the tables for
`docs/studies/over-optimisation.md` and draws its picture, from the finished study of that name in that folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from ...envs import TokenGymError, make_task
from ...envs.tasks.learned import ProxyTask
from ..report import RunResult, StudyResults, collect, style
from ..study import find_study, load_study
from .frontiers import Frontier, best_of_frontier, fitted_form, tilted_frontier

INSTANCES = range(10)
SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("200 labels, 25% wrong", {"num_labels": 200}),
    ("2,000 labels, 25% wrong", {}),
    ("20,000 labels, 25% wrong", {"num_labels": 20_000}),
    ("2,000 labels, none wrong", {"flips": 0.0}),
    ("20,000 labels, none wrong", {"num_labels": 20_000, "flips": 0.0}),
    ("2,000 labels, 25% wrong, weight decay 10", {"weight_decay": 10.0}),
)
ENSEMBLE_KLS = (2.0, 4.0, 8.0)
"""Where the gold of an ensemble is held against that of a single model."""
_PICTURE = Path("docs") / "studies" / "over-optimisation.png"


def instance(number: int, **settings: Any) -> ProxyTask:
    """Return an instance of the environment that the study is about."""
    return cast(ProxyTask, make_task("GoldProxy-repeats", instance_seed=number, **settings))


def frontier_table(instances: Sequence[int] = INSTANCES) -> str:
    """Return the table of exact frontiers, medians over the instances, as Markdown."""
    lines = [
        "| reward model | how | turns over | gold's peak | at KL | gold at the end | proxy at the end | form's error |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    ways: tuple[tuple[str, Callable[[ProxyTask], Frontier]], ...] = (
        ("rl", tilted_frontier),
        ("best-of-n", best_of_frontier),
    )
    for name, settings in SETTINGS:
        tasks = [instance(number, **settings) for number in instances]
        for way, frontier_of in ways:
            found = [frontier_of(task) for task in tasks]
            numbers = [
                float(np.median([measure(one) for one in found]))
                for measure in (
                    lambda one: one.peak,
                    lambda one: one.peak_kl,
                    lambda one: one.gold[-1],
                    lambda one: one.proxy[-1],
                    lambda one, way=way: fitted_form(one, way).error,
                )
            ]
            turned = f"{sum(one.turned for one in found)} of {len(found)}"
            cells = [name, way, turned, *(f"{number:.2f}".replace("-", "−") for number in numbers)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ensemble_table() -> str:
    """Return what the worst of five reward models keeps of gold beyond a single one, at equal KL, as Markdown.

    Means over the instances, with 95% percentile intervals of a bootstrap of the instances.
    """
    ways: dict[str, dict[str, Any]] = {"worst": {"combine": "worst"}, "single": {"members": 1}}
    kept: dict[str, list[Frontier]] = {
        name: [
            tilted_frontier(cast(ProxyTask, make_task("NoisyPref", instance_seed=number, num_labels=200, **more)))
            for number in INSTANCES
        ]
        for name, more in ways.items()
    }
    lines = ["| KL | gold of the worst of five, less that of one model |", "|--:|--:|"]
    for kl in ENSEMBLE_KLS:
        gain = [
            worst.gold_at(kl) - single.gold_at(kl) for worst, single in zip(kept["worst"], kept["single"], strict=True)
        ]
        drawn = np.random.default_rng(0).choice(gain, (10_000, len(gain))).mean(axis=1)
        low, high = np.percentile(drawn, (2.5, 97.5))
        cell = f"{np.mean(gain):.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")
        lines.append(f"| {kl:g} | {cell} |")
    return "\n".join(lines)


def walked(run: RunResult) -> Frontier:
    """Return gold and proxy of a run's evaluations at the KL from random play that they had, as training went."""
    kl, proxy, gold = (
        np.array([of(record) for record in run.curve])
        for of in (lambda one: one["kl"], lambda one: one["columns"]["proxy"], lambda one: one["columns"]["gold"])
    )
    return Frontier(kl, proxy, gold, 0.0)


def run_table(results: StudyResults) -> str:
    """Return the table of the runs, medians over the instances, as Markdown."""
    lines = [
        "| labels | gold turned over | KL at the end | gold's peak | gold at the end | proxy at the end |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for kind in ("noisy", "clean"):
        found = [walked(run) for run in results.runs if run.status == "done" and run.spec.environment.startswith(kind)]
        if found:
            numbers = [
                float(np.median([measure(one) for one in found]))
                for measure in (
                    lambda one: one.kl[-1],
                    lambda one: one.peak,
                    lambda one: one.gold[-1],
                    lambda one: one.proxy[-1],
                )
            ]
            cells = [kind, f"{sum(one.turned for one in found)} of {len(found)}", *(f"{one:.2f}" for one in numbers)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(results: StudyResults) -> Figure:
    """Return gold (solid) and proxy (dashed) against √KL, exact and as the learner went, a panel a kind of labels."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, (kind, settings) in zip(
        figure.subplots(1, 2, sharey=True), (("noisy", SETTINGS[1][1]), ("clean", SETTINGS[4][1])), strict=True
    ):
        frontiers = [tilted_frontier(instance(number, **settings)) for number in INSTANCES]
        for one in frontiers:
            axis.plot(np.sqrt(one.kl), one.gold, color="#e08a00", alpha=0.35)
            axis.plot(np.sqrt(one.kl), one.proxy, color="#0b6fb8", alpha=0.35, linestyle="--")
        for run in results.runs:
            if run.status == "done" and run.spec.environment.startswith(kind):
                one = walked(run)
                axis.plot(np.sqrt(one.kl), one.gold, ".", color="#e08a00")
                axis.plot(np.sqrt(one.kl), one.proxy, ".", color="#0b6fb8", alpha=0.5)
        axis.set(title=f"{kind} labels", xlabel="√KL from random play", ylabel="gold (orange), proxy (blue, dashed)")
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Print the tables and draw the picture; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of the finished study")
    parser.add_argument("--fresh", action="store_true", help="print the exact table of the instances 100 to 109 only")
    options = parser.parse_args(arguments)
    if options.fresh:
        print(frontier_table(range(100, 110)))
        return 0
    try:
        results = collect(load_study(find_study("over-optimisation")), options.out)
        print(f"{frontier_table()}\n\n{run_table(results)}\n\n{ensemble_table()}")
        _PICTURE.parent.mkdir(parents=True, exist_ok=True)
        with style():
            picture(results).savefig(_PICTURE, metadata={"Software": None}, dpi=90)
    except TokenGymError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
