"""Functions called in a process apart, with a time limit and nothing worth breaking."""

from __future__ import annotations

from .guard import TROUBLES, Guard

__all__ = [
    "Guard",
    "TROUBLES",
]
