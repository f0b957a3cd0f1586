"""Learning from a dataset: nothing is played, budgets count updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Offline
    from .bc import BC
    from .filtered_bc import FilteredBC
    from .playing import sample_best_of
    from .sft import SFT

__all__ = [
    "BC",
    "FilteredBC",
    "Offline",
    "SFT",
    "sample_best_of",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BC": "bc",
        "FilteredBC": "filtered_bc",
        "Offline": "base",
        "SFT": "sft",
        "sample_best_of": "playing",
    },
)
