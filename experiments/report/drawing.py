"""What the pictures of a study have in common: style, colours, panels, lines with bands, legends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..statistics import Interval, bootstrap_curve
from .results import StudyResults

_KNOWN_COLOURS = {"ppo": "#0b6fb8", "a2c": "#e08a00", "dqn": "#12936a", "sac": "#c2417f"}
_MORE_COLOURS = ("#7a4fbf", "#c0392b", "#1aa6b7", "#8a6d3b", "#5b6b7a", "#94a814", "#d16ba5", "#2f4b7c")
INK, QUIET = "#1d2733", "#7b8794"
_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#aab4be",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e9ee",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.dpi": 130,
}


def colours(results: StudyResults) -> dict[str, str]:
    """Return the colour of each algorithm of a study, the same in every picture and in the report."""
    return palette(results.algorithms)


def palette(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name; an outside reference has that of what it refers to."""
    chosen: dict[str, str] = {}
    more = iter(_MORE_COLOURS * 4)
    for name in names:
        family = name.removeprefix("sb3-")
        chosen[name] = _KNOWN_COLOURS.get(family) or chosen.get(family) or next(more)
    return chosen


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house style inside the block; matplotlib's settings are as before after it."""
    with matplotlib.rc_context(cast(Any, _STYLE)):
        yield


def grid(count: int, *, height: float = 2.9, share_y: bool = False, narrow: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels, in one column where it is to be narrow."""
    columns = 1 if narrow else 2 if count in (2, 4) else min(count, 3)
    rows = math.ceil(count / columns)
    width = 4.2 if narrow else {1: 6.5, 2: 5.0, 3: 3.75}[columns]
    figure = Figure(figsize=(width * columns, height * rows + 0.7), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def aligned(series: list[tuple[list[float], list[float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Return one grid of places (P,) and the curves on it (runs, P), as far as every run reaches."""
    first = np.asarray(series[0][0], dtype=float)
    if all(len(places) == len(first) and np.array_equal(places, first) for places, _ in series):
        return first, np.array([values for _, values in series], dtype=float)
    start, end = max(places[0] for places, _ in series), min(places[-1] for places, _ in series)
    grid = np.linspace(start, end, 60)
    return grid, np.array([np.interp(grid, places, values) for places, values in series])


def binned(metrics: tuple[dict[str, Any], ...], key: str, total: int, bins: int = 24) -> tuple[list, list] | None:
    """Return places and means of what was logged under a key, in bins of a run's tokens; None where nothing was."""
    points = [(m["tokens"], m[key]) for m in metrics if m.get(key) is not None and m.get("tokens") is not None]
    if not points:
        return None
    tokens, values = np.array(points, dtype=float).T
    index = np.clip((tokens / total * bins).astype(int), 0, bins - 1)
    used = np.unique(index)
    return [float(tokens[index == b].mean()) for b in used], [float(values[index == b].mean()) for b in used]


def line(axis: Axes, results: StudyResults, algorithm: str, places: np.ndarray, curves: np.ndarray) -> None:
    """Draw curves (runs, P) at places (P,) as one line with its band."""
    colour = colours(results)[algorithm]
    estimate, low, high = bootstrap_curve(curves)
    axis.plot(places, estimate, color=colour, linestyle=dash(results, algorithm), zorder=3)
    # Where lines are short or lie on one another the last point still tells who it is: hollow for a reference.
    axis.plot(places[-1:], estimate[-1:], linestyle="", zorder=4, **mark(results, algorithm))
    if low is not None and high is not None:
        axis.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0, zorder=2)


def reference_lines(axis: Axes, references: dict[str, Any] | None) -> None:
    """Draw random and optimal return, where they are known."""
    if references is not None:
        axis.axhline(references["random"], color=QUIET, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
        axis.axhline(references["optimal"], color=QUIET, linewidth=1.1, zorder=1)


def interval_bar(axis: Axes, row: int, interval: Interval, colour: str, reference: bool) -> None:
    """Draw an interval or range; that of an outside reference is an outline."""
    if interval.low is not None and interval.high is not None:
        width = interval.high - interval.low
        axis.barh(row, width, left=interval.low, height=0.46, **_face(colour, reference))
    axis.plot([interval.estimate] * 2, [row - 0.23, row + 0.23], color=colour, linewidth=2.4, solid_capstyle="butt")


def _face(colour: str, reference: bool) -> dict[str, Any]:
    if reference:
        return {"facecolor": "white", "edgecolor": colour, "linestyle": (0, (3, 2)), "linewidth": 1.0}
    return {"color": colour, "alpha": 0.28, "linewidth": 0}


def algorithm_rows(axis: Axes, names: list[str]) -> None:
    """Give each algorithm a row of its own, the first one on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.use_sticky_edges = False
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def mark(results: StudyResults, algorithm: str) -> dict[str, Any]:
    """Return how single points of an algorithm are drawn: a full circle, or a hollow square for a reference."""
    colour, reference = colours(results)[algorithm], dash(results, algorithm) != "-"
    face = "white" if reference else colour
    return {"marker": "s" if reference else "o", "markersize": 5, "markerfacecolor": face, "markeredgecolor": colour}


def dash(results: StudyResults, algorithm: str) -> Any:
    """Return the style of an algorithm's lines: dashed for an outside reference."""
    reference = next(spec.reference for spec in results.study.algorithms if spec.name == algorithm)
    return (0, (4, 2)) if reference else "-"


def legend(figure: Figure, results: StudyResults, *, names: list[str] | None = None, references: bool = False) -> None:
    """Put a legend of the algorithms below a figure."""
    palette = colours(results)
    names = results.algorithms if names is None else names
    handles = [
        Line2D([], [], color=palette[name], linestyle=dash(results, name), label=name, **mark(results, name))
        for name in names
    ]
    if references:
        handles.append(Line2D([], [], color=QUIET, linewidth=1.1, label="optimal"))
        handles.append(Line2D([], [], color=QUIET, linewidth=1.1, linestyle=(0, (1, 2)), label="random"))
    # A constrained layout does not wrap a legend that is wider than the figure: about 1.5 inches an entry fit.
    rows = math.ceil(len(handles) * 1.5 / figure.get_figwidth())
    columns = math.ceil(len(handles) / rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)
