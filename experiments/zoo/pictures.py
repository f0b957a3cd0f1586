"""The pictures of the zoo: a heat map of all scores, and performance profiles by kind of algorithm."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ...algorithms import ALGORITHMS
from ..report import StudyResults
from ..statistics import performance_profile
from .rows import Row

KINDS = {
    "on-policy": ("on_policy", "turns"),
    "off-policy and preferences": ("off_policy", "preferences"),
    "references": ("sb3",),
}
"""The panels of the profiles, and the rooms whose algorithms stand in each."""
_THRESHOLDS = np.linspace(0, 1, 101)
_LINES = ("-", "--", ":", "-.")


def heat_map(results: StudyResults, table: Sequence[Row]) -> Figure:
    """Return the scores of the rows of a table on every environment and over all, coloured and written out."""
    names = results.environments
    numbers = np.full((len(table), len(names) + 1), np.nan)
    for place, row in enumerate(table):
        numbers[place, :-1] = [np.nan if cell is None else cell.estimate for cell in row.cells]
        numbers[place, -1] = row.iqm.estimate
    figure = Figure(figsize=(2.4 + 0.68 * numbers.shape[1], 1.5 + 0.3 * len(table)), layout="constrained")
    axis = figure.subplots()
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#f2f2f2")
    image = axis.imshow(np.ma.masked_invalid(numbers), cmap=colours, vmin=0, vmax=1, aspect="auto")
    for (row, column), number in np.ndenumerate(numbers):
        text = "–" if np.isnan(number) else f"{number:.2f}".replace("-0.00", "0.00").replace("-", "−")
        dark = np.isnan(number) or number > 0.55
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color="#1b1b1b" if dark else "white")
    axis.set_xticks(range(len(names) + 1), [*names, "all: IQM"], rotation=35, ha="left", rotation_mode="anchor")
    axis.set_yticks(range(len(table)), [row.algorithm for row in table])
    axis.xaxis.tick_top()
    axis.axvline(len(names) - 0.5, color="white", linewidth=4)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    figure.colorbar(image, ax=axis, label="normalised score (0 random, 1 optimal)", shrink=0.8, pad=0.02)
    return figure


def profile_picture(results: StudyResults) -> Figure:
    """Return the share of runs above each score, a panel for each kind of algorithm; each over its environments."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    axes = figure.subplots(1, len(KINDS), sharey=True)
    for axis, (title, rooms) in zip(axes, KINDS.items(), strict=True):
        of_kind = [one for one in results.study.algorithms if room(one.registered_name) in rooms]
        for place, algorithm in enumerate(of_kind):
            scores = [one for one in results.scores_by_task(algorithm.name) if len(one)]
            if not scores:
                continue
            profile = performance_profile(scores, _THRESHOLDS)
            colour, line = f"C{place % 10}", _LINES[place // 10 % len(_LINES)]
            axis.plot(profile.thresholds, profile.fraction, color=colour, linestyle=line, label=algorithm.name)
        axis.set(title=title, xlabel="normalised score τ", xlim=(0, 1), ylim=(-0.02, 1.03))
        if axis.lines:
            axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    axes[0].set_ylabel("share of runs with a score above τ")
    return figure


def room(algorithm: str) -> str:
    """Return the room of `algorithms` that an algorithm of the registry lies in, such as "off_policy"."""
    return ALGORITHMS.target(algorithm).partition(":")[0].split(".")[-2]
