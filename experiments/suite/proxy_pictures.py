"""The pictures of the study on over-optimisation: gold and proxy against √KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .frontiers import Frontier, fitted_form
from .proxy_grid import FLIPS, LABELS, Cell, frontiers

GOLD, PROXY = "#e08a00", "#0b6fb8"
RUNS: dict[str, Cell] = {"noisy": Cell(2_000, 0.25), "clean": Cell(20_000, 0.0)}
"""The reward models that PPO is run on, by the kind of their labels."""
_ALONG = "√KL from random play"


def mean_frontier(found: Sequence[Frontier], points: int = 60) -> Frontier:
    """Return the mean over frontiers at equal distances √KL, as far as all of them go."""
    distance = np.linspace(0, np.sqrt(min(one.kl[-1] for one in found)), points)
    proxy, gold = (
        np.mean([np.interp(distance, np.sqrt(one.kl), getattr(one, name)) for one in found], axis=0)
        for name in ("proxy", "gold")
    )
    return Frontier(distance**2, proxy, gold, float(np.mean([one.start for one in found])))


def grid_picture(instances: Sequence[int]) -> Figure:
    """Return means over the instances: a row a way and a share of wrong labels, a column a number of labels."""
    rows = [(way, flips) for way in ("rl", "best-of-n") for flips in reversed(FLIPS)]
    figure = Figure(figsize=(11, 11), layout="constrained")
    axes = figure.subplots(len(rows), len(LABELS), sharex=True, sharey=True)
    for row, (way, flips) in enumerate(rows):
        for column, labels in enumerate(LABELS):
            axis: Axes = axes[row, column]
            for ensemble, dash in ((False, "-"), (True, "--")):
                one = mean_frontier(frontiers(Cell(labels, flips, ensemble), tuple(instances))[way])
                axis.plot(np.sqrt(one.kl), one.proxy, dash, color=PROXY, linewidth=1.2)
                axis.plot(np.sqrt(one.kl), one.gold, dash, color=GOLD, linewidth=1.6)
                if not ensemble:
                    form = fitted_form(one, way)
                    axis.plot(np.sqrt(one.kl), form.values, ":", color="black", linewidth=1)
            axis.axhline(0, color="grey", linewidth=0.5)
            axis.set_title(f"{way}, {labels:,} labels, {flips:.0%} wrong", fontsize=9)
            axis.set_ylim(-1, 6)
            if row == len(rows) - 1:
                axis.set_xlabel(_ALONG)
            if not column:
                axis.set_ylabel("expected reward")
    _legend(
        figure,
        [
            ("gold, one model", GOLD, "-"),
            ("gold, worst of ten", GOLD, "--"),
            ("proxy, one model", PROXY, "-"),
            ("proxy, worst of ten", PROXY, "--"),
            ("form fitted to gold, one model", "black", ":"),
        ],
    )
    return figure


def run_picture(walks: Mapping[str, Sequence[Frontier]], instances: Sequence[int]) -> Figure:
    """Return the exact frontiers of every instance and how PPO's runs went, a panel a kind of labels."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    for axis, (kind, cell) in zip(figure.subplots(1, 2, sharey=True), RUNS.items(), strict=True):
        for one in frontiers(cell, tuple(instances))["rl"]:
            axis.plot(np.sqrt(one.kl), one.gold, color=GOLD, alpha=0.35)
            axis.plot(np.sqrt(one.kl), one.proxy, color=PROXY, alpha=0.35)
        for one in walks[kind]:
            axis.plot(np.sqrt(one.kl), one.gold, ".", color=GOLD, markersize=4)
            axis.plot(np.sqrt(one.kl), one.proxy, ".", color=PROXY, alpha=0.5, markersize=4)
        axis.set(title=cell.name, xlabel=_ALONG)
        axis.axhline(0, color="grey", linewidth=0.5)
    figure.axes[0].set_ylabel("expected reward")
    _legend(
        figure,
        [
            ("gold, exact optimum", GOLD, "-"),
            ("proxy, exact optimum", PROXY, "-"),
            ("gold, PPO", GOLD, "."),
            ("proxy, PPO", PROXY, "."),
        ],
    )
    return figure


def _legend(figure: Figure, entries: Sequence[tuple[str, str, str]]) -> None:
    """Draw one legend for all panels below them: what, in which colour, by which line or dot."""
    handles = []
    for label, colour, mark in entries:
        line, marker = ("", "o") if mark == "." else (mark, "")
        shown: dict[str, Any] = {"linestyle": line, "marker": marker}
        handles.append(Line2D([], [], color=colour, label=label, **shown))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
