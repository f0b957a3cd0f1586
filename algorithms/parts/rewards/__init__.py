"""What is added to rewards, or divides them: shaping and penalties, potentials, novelty, a running scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....envs.lazy import lazy_names

if TYPE_CHECKING:
    from .novelty import VisitCounts, keys_before
    from .potentials import checked_potentials
    from .running_std import RunningStd
    from .shaping import length_penalties, missing_end_penalties, potential_shaping

__all__ = [
    "RunningStd",
    "VisitCounts",
    "checked_potentials",
    "keys_before",
    "length_penalties",
    "missing_end_penalties",
    "potential_shaping",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "RunningStd": "running_std",
        "VisitCounts": "novelty",
        "checked_potentials": "potentials",
        "keys_before": "novelty",
        "length_penalties": "shaping",
        "missing_end_penalties": "shaping",
        "potential_shaping": "shaping",
    },
)
