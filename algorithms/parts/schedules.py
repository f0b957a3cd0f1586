"""Schedules: numbers that change with the share of the budget that is spent."""

from __future__ import annotations


def linear(start: float, end: float, progress: float, duration: float = 1.0) -> float:
    """Go from ``start`` to ``end`` in a straight line and stay there.

    Args:
        start: value at progress 0.
        end: value from progress ``duration`` on.
        progress: share of the budget spent, clipped to 0 … 1.
        duration: share of the budget that the way takes; 0 jumps to ``end`` at once.
    """
    if duration <= 0:
        return end
    share = min(max(progress / duration, 0.0), 1.0)
    return start + (end - start) * share
