"""Pictures of reward models: how sure they were against how often they were right, and accuracy by flipped labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from .drawing import QUIET, grid, palette

if TYPE_CHECKING:
    from ...algorithms.reward_models import Calibration


def reliability_diagram(found: Mapping[str, Calibration]) -> Figure:
    """Draw calibrations, by the name of the model that each is of; on the diagonal odds are those of the labels.

    A circle's area is the share of the pairs in its bin.
    """
    figure, (axis,) = grid(1, height=4.0)
    axis.plot([0.5, 1], [0.5, 1], color=QUIET, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
    colours = palette(found)
    for name, one in found.items():
        colour = colours[name]
        there = one.counts > 0
        share = one.counts[there] / one.counts.sum()
        label = f"{name}: error {one.error:.3f}"
        axis.plot(one.confidence[there], one.accuracy[there], color=colour, label=label, zorder=3)
        axis.scatter(one.confidence[there], one.accuracy[there], s=20 + 400 * share, color=colour, alpha=0.5, zorder=2)
    axis.set_xlabel("probability that the favoured one is better")
    axis.set_ylabel("share in which it was")
    axis.set_xlim(0.49, 1.01)
    lowest = min((float(np.nanmin(one.accuracy)) for one in found.values()), default=0.5)
    axis.set_ylim(min(0.45, lowest - 0.03), 1.01)
    axis.legend(loc="lower right")
    return figure


def accuracy_by_flips(flips: Sequence[float], curves: Mapping[str, np.ndarray], allowed: float) -> Figure:
    """Draw accuracy on held-out pairs against the share of labels that were flipped, and what labels allow.

    Args:
        flips: the shares, F of them.
        curves: by name, float64 (F, seeds): the line is their mean, the band their range.
        allowed: the accuracy of the gold reward.
    """
    figure, (axis,) = grid(1, height=3.6)
    colours = palette(curves)
    for name, runs in curves.items():
        axis.plot(flips, runs.mean(axis=1), color=colours[name], marker="o", label=name, zorder=3)
        axis.fill_between(flips, runs.min(axis=1), runs.max(axis=1), color=colours[name], alpha=0.13, linewidth=0)
    axis.axhline(allowed, color=QUIET, linewidth=1.1, label="labels allow")
    axis.set_xlabel("share of labels that are flipped")
    axis.set_ylabel("accuracy on held-out pairs")
    axis.legend()
    return figure
