"""Games of one and two players."""

from __future__ import annotations

from .two_player import TwoPlayerTask, exploitability

__all__ = [
    "TwoPlayerTask",
    "exploitability",
]
