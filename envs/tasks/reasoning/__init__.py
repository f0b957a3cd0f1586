"""Questions with one right answer, written token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

if TYPE_CHECKING:
    from .addition import Addition
    from .countdown import Countdown
    from .reasoning_gym_task import ReasoningGym
    from .sort import Sort

__all__ = [
    "Addition",
    "Countdown",
    "ReasoningGym",
    "Sort",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Addition": "addition",
        "Countdown": "countdown",
        "ReasoningGym": "reasoning_gym_task",
        "Sort": "sort",
    },
)
