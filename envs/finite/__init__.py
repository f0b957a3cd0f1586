"""Tasks declared as states and transitions, compiled to arrays."""

from __future__ import annotations

from .clocked import ClockedTask
from .compiler import compile_task
from .credit import share_reward
from .task import FiniteArrays, FiniteTask, Initial, Transition

__all__ = [
    "ClockedTask",
    "FiniteArrays",
    "FiniteTask",
    "Initial",
    "Transition",
    "compile_task",
    "share_reward",
]
