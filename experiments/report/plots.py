"""The pictures of a study, drawn from its gathered results.

Every function returns a matplotlib figure; `save_plots` writes them all. An algorithm has one colour in every picture,
and an outside reference has the colour of the algorithm it refers to, dashed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from ..statistics import Interval, bootstrap_curve, performance_profile
from .results import StudyResults, aggregates, cell_interval, improvement_matrix

_KNOWN_COLOURS = {"ppo": "#0b6fb8", "a2c": "#e08a00", "dqn": "#12936a", "sac": "#c2417f"}
_MORE_COLOURS = ("#7a4fbf", "#c0392b", "#1aa6b7", "#8a6d3b", "#5b6b7a", "#94a814", "#d16ba5", "#2f4b7c")
_INK, _QUIET = "#1d2733", "#7b8794"
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
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e9ee",
    "grid.linewidth": 0.8,
    "text.color": _INK,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.dpi": 130,
}
_METRICS = (
    ("objective/kl", "KL to the reference"),
    ("policy/entropy", "entropy (nats a token)"),
    ("episode/length", "episode length (tokens)"),
)
NARROW = ("scores", "learning_by_tokens", "learning_by_seconds")
"""Pictures that there are in one column, too."""
_PROFILE_THRESHOLDS = np.linspace(0.0, 1.0, 101)


def save_plots(results: StudyResults, folder: str | Path, *, narrow: bool = False) -> dict[str, Path]:
    """Draw every picture that the results allow and save it as PNG.

    Args:
        results: The gathered results; with no finished run nothing is drawn.
        folder: Where the pictures go; created if needed. Pictures of an earlier call are replaced.
        narrow: Draw those that have a panel an environment again, in one column, for a page on a phone.

    Returns:
        Paths by the picture's name, in the order of the report.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[StudyResults], Figure | None]] = {
        "scores": lambda r: scores(r, narrow),
        "learning_by_tokens": lambda r: learning_curves(r, by="tokens", of="score", narrow=narrow),
        "learning_by_seconds": lambda r: learning_curves(r, by="seconds", of="score", narrow=narrow),
        "aggregates": aggregate_intervals,
        "performance_profile": profiles,
        "improvement": improvement,
        "metrics": training_metrics,
    }
    saved = {}
    for name, draw in drawings.items():
        if narrow and name not in NARROW:
            continue
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        with style():
            figure = draw(results)
            if figure is not None:
                # Matplotlib writes its version and the date into the file otherwise; pictures should compare equal.
                figure.savefig(path, metadata={"Software": None})
                saved[name] = path
    return saved


def colours(results: StudyResults) -> dict[str, str]:
    """Return the colour of each algorithm of a study, the same in every picture and in the report."""
    chosen: dict[str, str] = {}
    more = iter(_MORE_COLOURS * 4)
    for algorithm in results.algorithms:
        family = algorithm.removeprefix("sb3-")
        chosen[algorithm] = _KNOWN_COLOURS.get(family) or chosen.get(family) or next(more)
    return chosen


def learning_curves(
    results: StudyResults, by: str = "tokens", of: str = "value", narrow: bool = False
) -> Figure | None:
    """Draw return or normalised score against agent tokens or training seconds, with random and optimal as lines.

    Lines and bands are what `statistics.bootstrap_curve` gives: an interquartile mean and a 95% bootstrap interval, of
    fewer than four seeds their mean and range.
    """
    if not any(run.curve for run in results.runs):
        return None
    figure, axes = _grid(len(results.environments), narrow=narrow)
    for axis, environment in zip(axes, results.environments, strict=True):
        axis.set_title(environment)
        for algorithm in results.algorithms:
            runs = [run for run in results.cell(environment, algorithm) if run.curve]
            values = [[record[of] for record in run.curve] for run in runs]
            places = [
                [record["target_tokens"] for record in run.curve] if by == "tokens" else list(run.seconds)
                for run in runs
            ]
            # A damaged file of timings costs its run the curve by seconds, and nothing else.
            usable = [([float(x or 0) for x in p], v) for p, v in zip(places, values, strict=True) if None not in p]
            if usable:
                _line(axis, results, algorithm, *_aligned(usable))
                if by == "seconds":  # the line ends with the fastest seed; where each of them ended
                    last = np.array([(places[-1], values[-1]) for places, values in usable]).T
                    axis.plot(*last, linestyle="", alpha=0.6, zorder=3, **_mark(results, algorithm))
        _reference_lines(axis, {"random": 0.0, "optimal": 1.0} if of == "score" else results.references(environment))
        axis.set_xlabel("agent tokens" if by == "tokens" else "training seconds, evaluation apart")
        axis.xaxis.set_major_formatter(EngFormatter(sep="") if by == "tokens" else axis.xaxis.get_major_formatter())
        axis.set_xlim(left=0)
        beta = next(spec.beta for spec in results.study.environments if spec.name == environment)
        axis.set_ylabel("normalised score" if of == "score" else "return" if beta is None else f"return − {beta:g}·KL")
    _legend(figure, results, references=True)
    return figure


def scores(results: StudyResults, narrow: bool = False) -> Figure | None:
    """Draw the normalised score of each algorithm on each environment: interval, and one dot a seed."""
    if not any(run.status == "done" for run in results.runs):
        return None
    height = 0.55 + 0.26 * len(results.algorithms)
    figure, axes = _grid(len(results.environments), height=height, share_y=True, narrow=narrow)
    palette, rows = colours(results), range(len(results.algorithms))
    for axis, environment in zip(axes, results.environments, strict=True):
        axis.set_title(environment)
        for x, style in ((0.0, (0, (1, 2))), (1.0, "-")):
            axis.axvline(x, color=_QUIET, linewidth=1, linestyle=style, zorder=1)
        for row, algorithm in zip(rows, results.algorithms, strict=True):
            runs = results.scores(environment, algorithm)
            interval = cell_interval(results, environment, algorithm)
            if interval is not None:
                _interval_bar(axis, row, interval, palette[algorithm], _dash(results, algorithm) != "-")
                axis.plot(runs, np.full(len(runs), row), "|", color=palette[algorithm], markersize=9, alpha=0.7)
            failed = sum(run.status == "failed" for run in results.cell(environment, algorithm))
            if failed or interval is None:
                text = f"{failed} failed" if failed else "not run"
                axis.text(0.02, row - 0.28, text, fontsize=7.5, color="#b3261e" if failed else _QUIET, va="center")
        _algorithm_rows(axis, results.algorithms)
        axis.margins(x=0.06)
        axis.set_xlabel("normalised score (0 random, 1 optimal)")
    return figure


def aggregate_intervals(results: StudyResults) -> Figure | None:
    """Draw interquartile mean, mean and optimality gap over all environments with 95% intervals."""
    rows = [row for row in aggregates(results) if row.mean is not None]
    if not rows:
        return None
    palette = colours(results)
    figure = Figure(figsize=(10.5, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    titles = ("interquartile mean, more is better", "mean, more is better", "optimality gap, less is better")
    for axis, title, name in zip(axes, titles, ("iqm", "mean", "gap"), strict=True):
        axis.set_title(title)
        for index, row in enumerate(rows):
            interval = getattr(row, name)
            if interval is not None:
                _interval_bar(axis, index, interval, palette[row.algorithm], _dash(results, row.algorithm) != "-")
        _algorithm_rows(axis, [row.algorithm for row in rows])
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.margins(x=0.08)
    figure.supxlabel("normalised score over all environments and seeds, 95% stratified bootstrap", fontsize=9)
    return figure


def profiles(results: StudyResults) -> Figure | None:
    """Draw the share of runs whose normalised score exceeds each threshold, with 95% bands."""
    names = [name for name in results.algorithms if results.covered(name)]
    if not names:
        return None
    palette = colours(results)
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axis = figure.subplots()
    for name in names:
        profile = performance_profile(results.scores_by_task(name), _PROFILE_THRESHOLDS)
        axis.plot(profile.thresholds, profile.fraction, color=palette[name], linestyle=_dash(results, name))
        if profile.low is not None and profile.high is not None:
            axis.fill_between(
                profile.thresholds, profile.low, profile.high, color=palette[name], alpha=0.10, linewidth=0
            )
    axis.set(xlabel="normalised score τ", ylabel="share of runs with a score above τ", xlim=(0, 1), ylim=(-0.02, 1.03))
    axis.set_title("Performance profile")
    _legend(figure, results, names=names)
    return figure


def improvement(results: StudyResults) -> Figure | None:
    """Draw the probability that a run of the row's algorithm beats one of the column's, averaged over environments."""
    names, matrix = improvement_matrix(results)
    if len(names) < 2:
        return None
    grid = np.full((len(names), len(names)), np.nan)
    for (first, second), interval in matrix.items():
        grid[names.index(first), names.index(second)] = interval.estimate
    size = 2.2 + 0.78 * len(names)
    figure = Figure(figsize=(size, size - 0.2), layout="constrained")
    axis = figure.subplots()
    axis.imshow(grid, cmap="RdBu", vmin=-0.3, vmax=1.3)  # a range beyond 0…1 keeps the ends readable under text
    for (first, second), interval in matrix.items():
        row, column = names.index(first), names.index(second)
        colour = "white" if abs(interval.estimate - 0.5) > 0.42 else _INK
        axis.text(column, row - 0.08, f"{interval.estimate:.2f}", ha="center", va="center", color=colour)
        if interval.low is not None and interval.high is not None:
            band = f"{interval.low:.2f}–{interval.high:.2f}"
            axis.text(column, row + 0.2, band, ha="center", va="center", color=colour, fontsize=7)
    ticks = range(len(names))
    axis.set_xticks(ticks, names, rotation=30, ha="right", rotation_mode="anchor")
    axis.set_yticks(ticks, names)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title("Probability that the row beats the column")
    return figure


def training_metrics(results: StudyResults) -> Figure | None:
    """Draw KL to the reference, entropy and episode length during training, one column an environment."""
    present = [(key, label) for key, label in _METRICS if any(key in m for run in results.runs for m in run.metrics)]
    if not present:
        return None
    columns = len(results.environments)
    figure = Figure(figsize=(max(3.1 * columns, 6.5), 2.2 * len(present) + 0.7), layout="constrained")
    axes = figure.subplots(len(present), columns, squeeze=False, sharex="col")
    for row, (key, label) in enumerate(present):
        for column, environment in enumerate(results.environments):
            axis = axes[row, column]
            for algorithm in results.algorithms:
                series = [
                    _binned(run.metrics, key, run.spec.total_tokens) for run in results.cell(environment, algorithm)
                ]
                series = [item for item in series if item is not None]
                if series:
                    _line(axis, results, algorithm, *_aligned(series))
            if row == 0:
                axis.set_title(environment)
            if column == 0:
                axis.set_ylabel(label)
            if row == len(present) - 1:
                axis.set_xlabel("agent tokens")
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.xaxis.set_major_locator(MaxNLocator(4))
    _legend(figure, results)
    return figure


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house style inside the block; matplotlib's settings are as before after it."""
    with matplotlib.rc_context(cast(Any, _STYLE)):
        yield


def _grid(count: int, *, height: float = 2.9, share_y: bool = False, narrow: bool = False) -> tuple[Figure, list[Axes]]:
    columns = 1 if narrow else 2 if count in (2, 4) else min(count, 3)
    rows = math.ceil(count / columns)
    width = 4.2 if narrow else {1: 6.5, 2: 5.0, 3: 3.75}[columns]
    figure = Figure(figsize=(width * columns, height * rows + 0.7), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _aligned(series: list[tuple[list[float], list[float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Return one grid of places (P,) and the curves on it (runs, P), as far as every run reaches."""
    first = np.asarray(series[0][0], dtype=float)
    if all(len(places) == len(first) and np.array_equal(places, first) for places, _ in series):
        return first, np.array([values for _, values in series], dtype=float)
    start, end = max(places[0] for places, _ in series), min(places[-1] for places, _ in series)
    grid = np.linspace(start, end, 60)
    return grid, np.array([np.interp(grid, places, values) for places, values in series])


def _binned(metrics: tuple[dict[str, Any], ...], key: str, total: int, bins: int = 24) -> tuple[list, list] | None:
    points = [(m["tokens"], m[key]) for m in metrics if m.get(key) is not None and m.get("tokens") is not None]
    if not points:
        return None
    tokens, values = np.array(points, dtype=float).T
    index = np.clip((tokens / total * bins).astype(int), 0, bins - 1)
    used = np.unique(index)
    return [float(tokens[index == b].mean()) for b in used], [float(values[index == b].mean()) for b in used]


def _line(axis: Axes, results: StudyResults, algorithm: str, places: np.ndarray, curves: np.ndarray) -> None:
    colour = colours(results)[algorithm]
    estimate, low, high = bootstrap_curve(curves)
    axis.plot(places, estimate, color=colour, linestyle=_dash(results, algorithm), zorder=3)
    # Where lines are short or lie on one another the last point still tells who it is: hollow for a reference.
    axis.plot(places[-1:], estimate[-1:], linestyle="", zorder=4, **_mark(results, algorithm))
    if low is not None and high is not None:
        axis.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0, zorder=2)


def _reference_lines(axis: Axes, references: dict[str, Any] | None) -> None:
    if references is not None:
        axis.axhline(references["random"], color=_QUIET, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
        axis.axhline(references["optimal"], color=_QUIET, linewidth=1.1, zorder=1)


def _interval_bar(axis: Axes, row: int, interval: Interval, colour: str, reference: bool) -> None:
    """Draw an interval or range; that of an outside reference is an outline."""
    if interval.low is not None and interval.high is not None:
        width = interval.high - interval.low
        axis.barh(row, width, left=interval.low, height=0.46, **_face(colour, reference))
    axis.plot([interval.estimate] * 2, [row - 0.23, row + 0.23], color=colour, linewidth=2.4, solid_capstyle="butt")


def _face(colour: str, reference: bool) -> dict[str, Any]:
    if reference:
        return {"facecolor": "white", "edgecolor": colour, "linestyle": (0, (3, 2)), "linewidth": 1.0}
    return {"color": colour, "alpha": 0.28, "linewidth": 0}


def _algorithm_rows(axis: Axes, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.use_sticky_edges = False
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _mark(results: StudyResults, algorithm: str) -> dict[str, Any]:
    """Return how single points of an algorithm are drawn: a full circle, or a hollow square for a reference."""
    colour, reference = colours(results)[algorithm], _dash(results, algorithm) != "-"
    face = "white" if reference else colour
    return {"marker": "s" if reference else "o", "markersize": 5, "markerfacecolor": face, "markeredgecolor": colour}


def _dash(results: StudyResults, algorithm: str) -> Any:
    reference = next(spec.reference for spec in results.study.algorithms if spec.name == algorithm)
    return (0, (4, 2)) if reference else "-"


def _legend(figure: Figure, results: StudyResults, *, names: list[str] | None = None, references: bool = False) -> None:
    palette = colours(results)
    names = results.algorithms if names is None else names
    handles = [
        Line2D([], [], color=palette[name], linestyle=_dash(results, name), label=name, **_mark(results, name))
        for name in names
    ]
    if references:
        handles.append(Line2D([], [], color=_QUIET, linewidth=1.1, label="optimal"))
        handles.append(Line2D([], [], color=_QUIET, linewidth=1.1, linestyle=(0, (1, 2)), label="random"))
    # A constrained layout does not wrap a legend that is wider than the figure: about 1.5 inches an entry fit.
    rows = math.ceil(len(handles) * 1.5 / figure.get_figwidth())
    columns = math.ceil(len(handles) / rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)
