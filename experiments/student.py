"""Means of few independent values with the 95% interval of Student's t."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def quantile(count: int) -> float:
    """How many standard errors of a mean of so many values half of the interval is."""
    from scipy.stats import t

    return float(t.ppf(0.975, count - 1))


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the mean, and half of its interval; NaN of a single value, which says nothing of its error."""
    numbers = np.asarray(values, float)
    if len(numbers) < 2:
        return float(numbers.mean()), float("nan")
    half = quantile(len(numbers)) * numbers.std(ddof=1) / np.sqrt(len(numbers))
    return float(numbers.mean()), float(half)


def told(values: Sequence[float] | np.ndarray, digits: int = 3) -> str:
    """Return the mean and half of its interval, ``"0.930 ± 0.021"``; of one value that alone, of none nothing."""
    if not len(values):
        return ""
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")
