"""Scores and pages of the suite, computed and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .scores import measured_return

__all__ = [
    "measured_return",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "measured_return": "scores",
    },
)
