"""The pictures of a pipeline's report: gold and proxy against the KL and along the way, and the reward model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..report import grid, palette, style
from .results import PipelineResults
from .stages import BEFORE, MODEL

_QUIET = "#7b8794"
_NAMES = {"gold": "gold: what is meant", "proxy": "proxy: what is paid"}


def save_plots(results: PipelineResults, folder: str | Path, *, narrow: bool = False) -> dict[str, Path]:
    """Draw every picture that the results allow and save it as PNG.

    Args:
        results: The gathered results.
        folder: Where the pictures go; created if needed.
        narrow: Draw panels in one column, for a page on a phone.

    Returns:
        Paths by the picture's name, in the order of the report.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[PipelineResults, bool], Figure | None]] = {
        "against_kl": against_kl,
        "along_the_way": along_the_way,
        "calibration": calibration,
    }
    saved = {}
    for name, draw in drawings.items():
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        with style():
            figure = draw(results, narrow)
            if figure is not None:
                figure.savefig(path, metadata={"Software": None})
                saved[name] = path
    return saved


def against_kl(results: PipelineResults, narrow: bool = False) -> Figure | None:
    """Draw gold and proxy against the KL from the model before; a dot stands where a method ended."""
    curves = {part.name: _mean_curves(results, part.name) for part in results.methods}
    curves = {name: found for name, found in curves.items() if found is not None and np.isfinite(found["kl"]).sum() > 1}
    if not curves:
        return None
    figure, axes, wanted = _panels(results, narrow)
    for axis, what in zip(axes, wanted, strict=True):
        axis.set_title(_NAMES[what])
        for name, found in curves.items():
            known = np.isfinite(found["kl"]) & np.isfinite(found[what])
            _draw(axis, results, name, found["kl"][known], found[what][known])
            _spread(axis, results, name, what, found["kl"][known][-1])
            _spread(axis, results, name, "kl", found[what][known][-1], sideways=True)
            _ends(axis, results, name, "kl", what)
        axis.set_xlabel("KL from the model before (nats a completion)")
        axis.set_xscale("function", functions=(_root, np.square))
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        _start(axis, results, what)
    _legend(figure, results, list(curves))
    return figure


def along_the_way(results: PipelineResults, narrow: bool = False) -> Figure | None:
    """Draw gold and proxy against the part of its budget that each method has spent."""
    names = [part.name for part in results.methods if not part.n]
    curves = {name: _mean_curves(results, name) for name in names}
    curves = {name: found for name, found in curves.items() if found is not None}
    if not curves:
        return None
    figure, axes, wanted = _panels(results, narrow)
    points = results.pipeline.judgement.points
    for axis, what in zip(axes, wanted, strict=True):
        axis.set_title(_NAMES[what])
        for name, found in curves.items():
            _draw(axis, results, name, found["point"] / points, found[what])
            _spread(axis, results, name, what, found["point"][-1] / points)
        axis.set_xlabel("part of the budget")
        _start(axis, results, what)
    _legend(figure, results, list(curves))
    return figure


def calibration(results: PipelineResults, narrow: bool = False) -> Figure | None:
    """Draw how often the reward model is right on held-out comparisons against how sure it says it is."""
    found = [facts["calibration"] for facts in results.of(MODEL) if facts.get("calibration")]
    if not found:
        return None
    figure, (axis,) = grid(1, narrow=narrow)
    axis.plot([0.5, 1], [0.5, 1], color=_QUIET, linewidth=1.1, linestyle=(0, (1, 2)))
    for bins in found:
        sizes = np.array([one["count"] for one in bins], float)
        stated = np.array([one["confidence"] for one in bins], float)
        right = np.array([one["accuracy"] for one in bins], float)
        axis.plot(stated, right, color="#0b6fb8", linewidth=1.2, alpha=0.5)
        axis.scatter(stated, right, s=12 + 220 * sizes / sizes.sum(), color="#0b6fb8", alpha=0.6, linewidth=0)
    axis.set_xlabel("probability that the model gives its choice")
    axis.set_ylabel("how often it is right")
    axis.set_xlim(0.48, 1.02)
    return figure


def _mean_curves(results: PipelineResults, name: str) -> dict[str, np.ndarray] | None:
    """Return a method's curves, the mean of its seeds at each point that all have; None where there are none."""
    wanted = ("kl", "gold", "proxy", "point")
    raw = {what: results.curve(name, what) for what in wanted}
    if not raw["gold"]:
        return None
    shortest = min(len(curve) for curve in raw["gold"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where nothing is known of a point
        found = {what: np.nanmean([curve[:shortest] for curve in raw[what]], axis=0) for what in wanted}
    found["point"][0] = 0.0
    return found


def _panels(results: PipelineResults, narrow: bool) -> tuple[Figure, list[Axes], list[str]]:
    wanted = ["gold", "proxy"] if results.has_proxy else ["gold"]
    figure, axes = grid(len(wanted), height=3.3, narrow=narrow)
    return figure, axes, wanted


def _draw(axis: Axes, results: PipelineResults, name: str, places: Any, values: Any) -> None:
    colour, chosen = _colours(results)[name], _chooses(results, name)
    axis.plot(places, values, color=colour, linestyle=(0, (4, 2)) if chosen else "-", zorder=3)
    axis.plot(places[-1:], values[-1:], linestyle="", zorder=4, **_mark(colour, chosen))


def _spread(
    axis: Axes, results: PipelineResults, name: str, what: str, place: float, *, sideways: bool = False
) -> None:
    """Draw the interval of how a method ended as a bar through its last point: the seeds', or one seed's completions'.

    Few seeds have no interval; where each of them ended is drawn by `_ends`.
    """
    found = results.final(name, what)
    if found is None or found.low is None or found.high is None:
        return
    ends, still = [found.low, found.high], [place, place]
    across, up = (ends, still) if sideways else (still, ends)
    axis.plot(across, up, color=_colours(results)[name], linewidth=1.2, alpha=0.55, zorder=2)


def _ends(axis: Axes, results: PipelineResults, name: str, across: str, up: str) -> None:
    """Draw where each of several seeds ended as a small dot."""
    ends = [(facts["final"].get(across), facts["final"].get(up)) for facts in results.of(name)]
    known = [end for end in ends if None not in end]
    if len(ends) > 1 and known:
        places, values = zip(*known, strict=True)
        axis.scatter(places, values, s=14, color=_colours(results)[name], alpha=0.5, linewidth=0, zorder=3)


def _start(axis: Axes, results: PipelineResults, what: str) -> None:
    begin = results.final(BEFORE, what)
    if begin is not None:
        axis.axhline(begin.estimate, color=_QUIET, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
        if begin.low is not None and begin.high is not None:
            axis.axhspan(begin.low, begin.high, color=_QUIET, alpha=0.1, linewidth=0, zorder=0)


def _legend(figure: Figure, results: PipelineResults, names: list[str]) -> None:
    handles = []
    for name in names:
        colour, chosen = _colours(results)[name], _chooses(results, name)
        dash = (0, (4, 2)) if chosen else "-"
        handles.append(Line2D([], [], color=colour, linestyle=dash, label=name, **_mark(colour, chosen)))
    handles.append(Line2D([], [], color=_QUIET, linewidth=1.1, linestyle=(0, (1, 2)), label="before"))
    columns = max(1, min(len(handles), int(figure.get_figwidth() / 1.5)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)


def _mark(colour: str, chosen: bool) -> dict[str, Any]:
    face = "white" if chosen else colour
    return {"marker": "s" if chosen else "o", "markersize": 5, "markerfacecolor": face, "markeredgecolor": colour}


def _chooses(results: PipelineResults, name: str) -> bool:
    return any(part.n for part in results.pipeline.methods if part.name == name)


def _colours(results: PipelineResults) -> dict[str, str]:
    return palette([part.name for part in results.pipeline.methods])


def _root(values: Any) -> Any:
    return np.sqrt(np.maximum(values, 0))
