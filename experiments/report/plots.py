"""The pictures of a study, drawn from its gathered results.

Every function returns a matplotlib figure; `save_plots` writes them all. An algorithm has one colour in every picture,
and an outside reference has the colour of the algorithm it refers to, dashed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ..statistics import performance_profile
from .columns import column_curves
from .drawing import (
    INK,
    QUIET,
    algorithm_rows,
    aligned,
    binned,
    colours,
    dash,
    grid,
    interval_bar,
    legend,
    line,
    mark,
    reference_lines,
    style,
)
from .results import StudyResults, aggregates, cell_interval, improvement_matrix

_METRICS = (
    ("objective/kl", "KL to the reference"),
    ("policy/entropy", "entropy (nats a token)"),
    ("episode/length", "episode length (tokens)"),
)
NARROW = ("scores", "learning_by_tokens", "learning_by_seconds", "columns")
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
        "columns": lambda r: column_curves(r, narrow),
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


def learning_curves(
    results: StudyResults, by: str = "tokens", of: str = "value", narrow: bool = False
) -> Figure | None:
    """Draw return or normalised score against agent tokens or training seconds, with random and optimal as lines.

    Lines and bands are what `statistics.bootstrap_curve` gives: an interquartile mean and a 95% bootstrap interval, of
    fewer than four seeds their mean and range.
    """
    if not any(run.curve for run in results.runs):
        return None
    figure, axes = grid(len(results.environments), narrow=narrow)
    for axis, environment in zip(axes, results.environments, strict=True):
        axis.set_title(environment)
        for algorithm in results.algorithms:
            runs = [run for run in results.cell(environment, algorithm) if run.curve]
            if by == "tokens":  # which are no measure of what plays nothing
                runs = [run for run in runs if run.spec.budget == "tokens"]
            values = [[record[of] for record in run.curve] for run in runs]
            places = [
                [record["target_tokens"] for record in run.curve] if by == "tokens" else list(run.seconds)
                for run in runs
            ]
            # A damaged file of timings costs its run the curve by seconds, and nothing else.
            usable = [([float(x or 0) for x in p], v) for p, v in zip(places, values, strict=True) if None not in p]
            if usable:
                line(axis, results, algorithm, *aligned(usable))
                if by == "seconds":  # the line ends with the fastest seed; where each of them ended
                    last = np.array([(places[-1], values[-1]) for places, values in usable]).T
                    axis.plot(*last, linestyle="", alpha=0.6, zorder=3, **mark(results, algorithm))
        reference_lines(axis, {"random": 0.0, "optimal": 1.0} if of == "score" else results.references(environment))
        axis.set_xlabel("agent tokens" if by == "tokens" else "training seconds, evaluation apart")
        axis.xaxis.set_major_formatter(EngFormatter(sep="") if by == "tokens" else axis.xaxis.get_major_formatter())
        axis.set_xlim(left=0)
        beta = next(spec.beta for spec in results.study.environments if spec.name == environment)
        axis.set_ylabel("normalised score" if of == "score" else "return" if beta is None else f"return − {beta:g}·KL")
    legend(figure, results, references=True)
    return figure


def scores(results: StudyResults, narrow: bool = False) -> Figure | None:
    """Draw the normalised score of each algorithm on each environment: interval, and one dot a seed."""
    if not any(run.status == "done" for run in results.runs):
        return None
    height = 0.55 + 0.26 * len(results.algorithms)
    figure, axes = grid(len(results.environments), height=height, share_y=True, narrow=narrow)
    palette, rows = colours(results), range(len(results.algorithms))
    for axis, environment in zip(axes, results.environments, strict=True):
        axis.set_title(environment)
        for x, dashes in ((0.0, (0, (1, 2))), (1.0, "-")):
            axis.axvline(x, color=QUIET, linewidth=1, linestyle=dashes, zorder=1)
        for row, algorithm in zip(rows, results.algorithms, strict=True):
            runs = results.scores(environment, algorithm)
            interval = cell_interval(results, environment, algorithm)
            if interval is not None:
                interval_bar(axis, row, interval, palette[algorithm], dash(results, algorithm) != "-")
                axis.plot(runs, np.full(len(runs), row), "|", color=palette[algorithm], markersize=9, alpha=0.7)
            failed = sum(run.status == "failed" for run in results.cell(environment, algorithm))
            if failed or interval is None:
                text = f"{failed} failed" if failed else "not run"
                axis.text(0.02, row - 0.28, text, fontsize=7.5, color="#b3261e" if failed else QUIET, va="center")
        algorithm_rows(axis, results.algorithms)
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
                interval_bar(axis, index, interval, palette[row.algorithm], dash(results, row.algorithm) != "-")
        algorithm_rows(axis, [row.algorithm for row in rows])
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
        axis.plot(profile.thresholds, profile.fraction, color=palette[name], linestyle=dash(results, name))
        if profile.low is not None and profile.high is not None:
            axis.fill_between(
                profile.thresholds, profile.low, profile.high, color=palette[name], alpha=0.10, linewidth=0
            )
    axis.set(xlabel="normalised score τ", ylabel="share of runs with a score above τ", xlim=(0, 1), ylim=(-0.02, 1.03))
    axis.set_title("Performance profile")
    legend(figure, results, names=names)
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
        colour = "white" if abs(interval.estimate - 0.5) > 0.42 else INK
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
                    binned(run.metrics, key, run.spec.total_tokens)
                    for run in results.cell(environment, algorithm)
                    if run.spec.budget == "tokens"
                ]
                series = [item for item in series if item is not None]
                if series:
                    line(axis, results, algorithm, *aligned(series))
            if row == 0:
                axis.set_title(environment)
            if column == 0:
                axis.set_ylabel(label)
            if row == len(present) - 1:
                axis.set_xlabel("agent tokens")
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.xaxis.set_major_locator(MaxNLocator(4))
    legend(figure, results)
    return figure
