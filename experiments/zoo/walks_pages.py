"""The tables and the picture of the study of learning from poor data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..student import interval, told

Row = dict[str, Any]


def in_fifties(value: float, row: Row) -> float:
    """A return as LMRL-Gym reports it: 0 the worst of the dataset, 50 its mean, 100 its best."""
    middle, below, above = row["behaviour"], row["worst"], row["best"]
    if value <= middle:
        return 50 * (value - below) / (middle - below)
    return 50 + 50 * (value - middle) / (above - middle)


def _names(rows: Sequence[Row], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def tables(rows: Sequence[Row]) -> str:
    """A Markdown table a dataset: returns of greedy and sampled play, and LMRL-Gym's scale."""
    parts = []
    for data in _names(rows, "data"):
        own = [row for row in rows if row["data"] == data]
        first = [row for row in own if row["method"] == own[0]["method"]]
        parts += [
            f"{data}, {len(first)} datasets\n",
            "| | greedy | sampled | greedy, 0 worst, 50 mean, 100 best of the data |",
            "|---|--:|--:|--:|",
            f"| the data | | {told([row['behaviour'] for row in first])} | 50 |",
        ]
        for method in _names(own, "method"):
            these = [row for row in own if row["method"] == method]
            cells = [told([row[key] for row in these]) for key in ("greedy", "sampled")]
            cells.append(told([in_fifties(row["greedy"], row) for row in these], 0))
            parts.append(f"| {method} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def differences(rows: Sequence[Row], method: str) -> str:
    """A Markdown table of how far ahead of each other a method is, paired by seed."""
    lines = [f"| {method} less | greedy | sampled |", "|---|--:|--:|"]
    for data in _names(rows, "data"):
        own = [row for row in rows if row["data"] == data]
        of = {(row["method"], row["seed"]): row for row in own}
        for other in _names(own, "method"):
            seeds = [row["seed"] for row in own if row["method"] == other]
            gains = [[of[method, seed][key] - of[other, seed][key] for seed in seeds] for key in ("greedy", "sampled")]
            if other != method:
                lines.append(f"| {other}, {data} | {told(gains[0])} | {told(gains[1])} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row]) -> Figure:
    """A column a dataset, greedy above and sampled below: each run's return by method, means, intervals, the data's."""
    names = _names(rows, "data")
    figure = Figure(figsize=(3.6 * len(names) + 1.2, 6.4), layout="constrained")
    panels = figure.subplots(2, len(names), squeeze=False, sharex="col")
    for (line, key), (column, data) in product(enumerate(("greedy", "sampled")), enumerate(names)):
        axis, own = panels[line][column], [row for row in rows if row["data"] == data]
        methods = _names(own, "method")
        for place, method in enumerate(methods):
            values = [row[key] for row in own if row["method"] == method]
            mean, half = interval(values)
            axis.plot([place] * len(values), values, "o", color="#9db7d5", markersize=5, zorder=1)
            axis.errorbar([place], [mean], [half], fmt="_", color="#1b4f9c", capsize=5, markersize=14, zorder=2)
        behaviour = float(np.mean([row["behaviour"] for row in own]))
        axis.axhline(behaviour, color="#b5533c", linestyle="--", linewidth=1)
        axis.annotate("mean of the data", (0.5, behaviour), (0, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", color="#b5533c", fontsize=8, ha="center")  # fmt: skip
        axis.set_xticks(range(len(methods)), methods, rotation=30, ha="right")
        if line == 0:
            axis.set_title(data)
        if column == 0:
            axis.set_ylabel(f"return, {key}")
        axis.spines[["top", "right"]].set_visible(False)
    return figure
