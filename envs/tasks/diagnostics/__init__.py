"""Tasks with closed-form scores, each for one ability of a learner."""

from __future__ import annotations

from .bandit import not_negative

__all__ = [
    "not_negative",
]
