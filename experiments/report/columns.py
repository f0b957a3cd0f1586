"""What tasks reported beside the reward, in a study: a table of it, and a picture by tokens with gold beside proxy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..statistics import described, summarise
from .drawing import aligned, colours, grid, legend, line
from .results import RunResult, StudyResults
from .tables import Cell, Table

GOLD, PROXY = "gold", "proxy"
"""The columns that are drawn in one panel: what is meant, and what is paid in its place; the return where no column is
called so."""


def column_names(results: StudyResults, environment: str) -> list[str]:
    """Return the columns that the runs of an environment reported, gold and proxy first."""
    names = {
        name
        for run in results.runs
        if run.spec.environment == environment
        for record in (*run.curve, _final(run))
        for name in record.get("columns") or {}
    }
    return sorted(names, key=lambda name: (name != GOLD, name != PROXY, name))


def column_table(results: StudyResults) -> Table | None:
    """Return (environment, algorithm) × column: what the final evaluations say of each column; None without any."""
    reporting = {environment: column_names(results, environment) for environment in results.environments}
    names = list(dict.fromkeys(name for found in reporting.values() for name in found))
    if not names:
        return None
    rows = []
    for environment in (environment for environment, found in reporting.items() if found):
        for algorithm in results.algorithms:
            row = [Cell(environment, "name"), Cell(algorithm, "name")]
            for name in names:
                found = [_final(run).get("columns", {}).get(name) for run in results.cell(environment, algorithm)]
                values = np.array([value for value in found if value is not None], float)
                row.append(Cell(summarise(values).text() if len(values) else ""))
            rows.append(row)
    note = (
        "What tasks and reward functions reported beside the reward, in the final evaluation that is scored: means, "
        f"or sums over an episode where the task says so. {described(results.counts())}"
    )
    return Table("Columns", ["environment", "algorithm", *names], rows, note)


def column_curves(results: StudyResults, narrow: bool = False) -> Figure | None:
    """Draw every column against agent tokens, and gold beside proxy in one panel; None where nothing was reported."""
    panels = list(_panels(results))
    if not panels:
        return None
    figure, axes = grid(len(panels), narrow=narrow)
    for axis, (environment, drawn) in zip(axes, panels, strict=True):
        both = len(drawn) > 1
        axis.set_title(environment if len(environment) < 24 else environment[:23] + "…")
        for name, dashed in drawn:
            _draw(axis, results, environment, name, dashed)
        axis.set_ylabel("gold (lines), proxy (dots)" if both else drawn[0][0])
        axis.set_xlabel("agent tokens")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.set_xlim(left=0)
    legend(figure, results)
    return figure


def _panels(results: StudyResults) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Yield the environment of each panel and what is drawn in it: a column, and whether in dots."""
    for environment in results.environments:
        if not any(run.curve for run in results.runs if run.spec.environment == environment):
            continue
        names = column_names(results, environment)
        if GOLD in names:
            yield environment, [(GOLD, False), (PROXY, True)]
        for name in names:
            if GOLD not in names or name not in (GOLD, PROXY):
                yield environment, [(name, False)]


def _draw(axis: Axes, results: StudyResults, environment: str, name: str, dots: bool) -> None:
    for algorithm in results.algorithms:
        series = []
        for run in results.cell(environment, algorithm):
            if run.spec.budget != "tokens":
                continue
            points = [(float(record["target_tokens"]), _value(record, name)) for record in run.curve]
            known = [(tokens, value) for tokens, value in points if value is not None]
            if known:
                series.append(([tokens for tokens, _ in known], [value for _, value in known]))
        if not series:
            continue
        places, curves = aligned(series)
        if dots:
            colour = colours(results)[algorithm]
            axis.plot(places, curves.mean(axis=0), color=colour, linestyle=(0, (1, 1.6)), linewidth=1.6, zorder=3)
        else:
            line(axis, results, algorithm, places, curves)


def _value(record: dict[str, Any], name: str) -> float | None:
    """Return a column of an evaluation; for a proxy that no column holds, the return, which is what was paid."""
    columns = record.get("columns") or {}
    return record.get("expected_return") if name == PROXY and name not in columns else columns.get(name)


def _final(run: RunResult) -> dict[str, Any]:
    return run.summary.get(run.spec.score_by) or {}
