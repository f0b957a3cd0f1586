"""The tables and pictures of the study of on- and off-policy methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..report import palette, style
from ..statistics import bootstrap_curve, mean, mean_difference, stratified_bootstrap

Cell = tuple[str, str, str]
Curves = Mapping[Cell, tuple[float, np.ndarray]]
"""Of each cell (task, data, method) the learning rate and rows (seeds, points, 4): tokens, steps, seconds, score."""

RESAMPLES = 5000
AXES = ("agent tokens", "gradient steps", "seconds of the processor")
NAMES = {"dense": "dense reward", "sparse": "sparse reward", "turns": "turns (Nim)"}


def at_the_end(rows: np.ndarray) -> np.ndarray:
    """The score of a run (points, 4), or of each of several (seeds, points, 4): the mean over its last third."""
    return rows[..., -(rows.shape[-2] // 3) :, 3].mean(axis=-1)


def tables(study: Mapping[str, Any], found: Curves) -> str:
    """Return, as Markdown, a table of scores for each task, and who is ahead of RLOO on fresh data."""
    return "\n\n".join(
        f"{_scores(study, found, task)}\n\n{_against_rloo(study, found, task)}" for task in study["tasks"]
    )


def _scores(study: Mapping[str, Any], found: Curves, task: str) -> str:
    lines = [f"### {NAMES.get(task, task)}", "", "| method | " + " | ".join(study["data"]) + " |"]
    lines.append("|---" * (1 + len(study["data"])) + "|")
    for method in study["methods"]:
        entries = [_entry(found.get((task, data, method))) for data in study["data"]]
        lines.append(f"| `{method}` | " + " | ".join(entries) + " |")
    return "\n".join(lines)


def _entry(cell: tuple[float, np.ndarray] | None) -> str:
    if cell is None:
        return ""
    rate, rows = cell
    scores = at_the_end(rows)
    between = stratified_bootstrap([scores], mean, resamples=RESAMPLES)
    assert between.low is not None and between.high is not None
    steps, seconds = rows[:, -1, 1].mean(), rows[:, -1, 2].mean()
    told = f"**{scores.mean():.2f}** ({between.low:.2f} … {between.high:.2f})"
    return f"{told}, lr {rate:g}, {steps:.0f} steps, {seconds:.1f} s"


def _against_rloo(study: Mapping[str, Any], found: Curves, task: str) -> str:
    if (task, "fresh", "rloo") not in found:
        return ""
    usual = at_the_end(found[task, "fresh", "rloo"][1])
    ahead, behind = [], []
    for (of, data, method), (_, rows) in found.items():
        if of == task and (data, method) != ("fresh", "rloo"):
            difference = mean_difference([at_the_end(rows)], [usual])
            assert difference.low is not None and difference.high is not None
            said = f"`{method}` {data} ({difference.low:+.2f} … {difference.high:+.2f})"
            if difference.low > 0:
                ahead.append((difference.estimate, said))
            elif difference.high < 0:
                behind.append((difference.estimate, said))
    best = ", ".join(said for _, said in sorted(ahead, reverse=True)) or "none"
    worst = ", ".join(said for _, said in sorted(behind)) or "none"
    return f"Ahead of `rloo` on fresh data at the end, with 95%: {best}. Behind: {worst}."


def pictures(study: Mapping[str, Any], found: Curves, folder: Path) -> None:
    """Draw the scores by tokens for each kind of data, and by tokens, steps and seconds for the best of each method."""
    with style():
        _draw(study, found, folder / "on-and-off-policy.png", by_data=True)
        _draw(study, found, folder / "on-and-off-policy-axes.png", by_data=False)


def _draw(study: Mapping[str, Any], found: Curves, path: Path, by_data: bool) -> None:
    tasks = [task for task in study["tasks"] if any(cell[0] == task for cell in found)]
    if not tasks:
        return
    colour = palette(study["methods"])
    figure = Figure(figsize=(11, 2.7 * len(tasks) + 0.5), layout="constrained")
    axes = figure.subplots(len(tasks), 3, squeeze=False, sharey="row")
    for row, task in zip(axes, tasks, strict=True):
        for place, (axis, data) in enumerate(zip(row, study["data"], strict=True)):
            for method in study["methods"]:
                cell = (task, data, method) if by_data else _best(found, task, method)
                if cell not in found:
                    continue
                rows = found[cell][1]
                along = rows[:, :, 0 if by_data else place].mean(axis=0)
                centre, low, high = bootstrap_curve(rows[:, :, 3], mean, resamples=RESAMPLES)
                assert low is not None and high is not None
                axis.fill_between(along, low, high, color=colour[method], alpha=0.15, linewidth=0)
                line = "-" if by_data else {"fresh": "-", "stale": "--", "replayed": ":"}[cell[1]]
                axis.plot(along, centre, line, color=colour[method])
            axis.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
            axis.set_title(f"{NAMES.get(task, task)}, {data}" if by_data else NAMES.get(task, task))
            axis.set_ylim(_lowest(found, task), 1.08)
            axis.set_xlabel(AXES[0] if by_data else AXES[place])
            if not by_data and place:
                axis.set_xscale("log")
        row[0].set_ylabel("score (0 random, 1 optimum)")
    lines = [Line2D([], [], color=colour[method], label=method) for method in study["methods"]]
    if not by_data:
        styles: dict[str, Any] = {"fresh": "-", "stale": "--", "replayed": ":"}
        lines += [Line2D([], [], color="black", linestyle=line, label=data) for data, line in styles.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=6)
    figure.savefig(path, metadata={"Software": None}, dpi=62)


def _best(found: Curves, task: str, method: str) -> Cell:
    """The data with which a method ends highest on a task."""
    own = [cell for cell in found if cell[0] == task and cell[2] == method]
    return max(own, key=lambda cell: float(at_the_end(found[cell][1]).mean()), default=(task, "", method))


def _lowest(found: Curves, task: str) -> float:
    """Where the axis begins: little below the lowest final mean, and not far below random."""
    ends = [float(rows[:, :, 3].mean(axis=0).min()) for (of, _, _), (_, rows) in found.items() if of == task]
    return max(min([0.0, *ends]) - 0.05, -0.6)
