"""Numbers as digits: quantisation of real values onto a grid, and grid indices as tokens of a base.

Uniform grids are those of RT-2 (Brohan et al., 2023), which writes each value as one of 256 tokens; the mu-law is that
of Gato (Reed et al., 2022), which spends its bins on small magnitudes and needs no bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, positive_int, unknown_name

SCALES = ("uniform", "mu_law")
MU = 100.0
MU_LIMIT = 256.0
"""Gato's constants: sign(x) · log(|x| μ + 1) / log(M μ + 1) with μ = 100 and M = 256."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid of equally many points for each of d values, the first at the lower bound and the last at the upper.

    Attributes:
        low: Lower bounds, float64 (d,).
        high: Upper bounds, float64 (d,). What lies outside the bounds is clipped to them.
        bins: Points of the grid, at least 2.
        scale: `"uniform"`, or `"mu_law"`, whose points are equally spaced after Gato's μ-law.
    """

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    bins: int
    scale: str = "uniform"
    _first: npt.NDArray[np.float64] = field(init=False, repr=False)
    _last: npt.NDArray[np.float64] = field(init=False, repr=False)
    _steps: npt.NDArray[np.float64] = field(init=False, repr=False)
    _plain: tuple[list[float], list[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check scale and bounds."""
        if self.scale not in SCALES:
            raise unknown_name("scale", self.scale, SCALES)
        if positive_int("bins", self.bins) < 2:
            raise TokenGymError(f"bins={self.bins}: a grid needs at least 2 points")
        for name in ("low", "high"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.low.shape != self.high.shape or self.low.ndim != 1:
            raise TokenGymError(f"low has shape {self.low.shape} and high {self.high.shape}: give (d,) each")
        wrong = np.flatnonzero(~(np.isfinite(self.low) & np.isfinite(self.high) & (self.low <= self.high)))
        if len(wrong):
            index = int(wrong[0])
            raise TokenGymError(
                f"value {index} has the bounds {self.low[index]} … {self.high[index]}: a grid needs finite ones, "
                f"lower first; give low and high, or use the scale 'mu_law', which bounds everything by ±{MU_LIMIT:g}"
            )

        first, last = self._bend(self.low), self._bend(self.high)
        with np.errstate(over="ignore"):
            spans = last - first
        if not np.isfinite(spans).all():
            raise TokenGymError(
                f"the bounds {self.low} … {self.high} are further apart than a float can say: give narrower ones"
            )
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_last", last)
        object.__setattr__(self, "_steps", (self.bins - 1) / np.where(last > first, last - first, np.inf))
        object.__setattr__(self, "_plain", (self._first.tolist(), self._steps.tolist()))

    def encode(self, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Gives the nearest points' indices, int64 (m, d) in 0 … bins - 1, of values (m, d).

        Raises:
            TokenGymError: If a value is NaN.
        """
        values = np.asarray(values, np.float64)
        if np.isnan(values).any():
            raise TokenGymError(f"a value to be quantised is NaN: {values[np.isnan(values).any(axis=1)][0]}")
        steps = (self._bend(values) - self._first) * self._steps
        return np.rint(np.minimum(np.maximum(steps, 0.0), self.bins - 1)).astype(np.int64)

    def encode_row(self, values: Sequence[float]) -> list[int]:
        """Gives the nearest points' indices of d values: `encode` of one row, in a fraction of its time."""
        if self.scale != "uniform" or any(value != value for value in values):
            return self.encode([values])[0].tolist()
        top = self.bins - 1
        places = ((value - first) * step for value, first, step in zip(values, *self._plain, strict=True))
        return [round(min(max(place, 0.0), top)) for place in places]

    def decode(self, indices: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Gives the grid's points, float64 (m, d), at indices (m, d)."""
        values = self._first + np.asarray(indices) / (self.bins - 1) * (self._last - self._first)
        if self.scale == "mu_law":
            values = np.sign(values) * np.expm1(np.abs(values) * np.log1p(MU * MU_LIMIT)) / MU
        return np.clip(values, self.low, self.high)

    def _bend(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self.scale == "uniform":
            return values
        return np.sign(values) * np.log1p(np.abs(values) * MU) / np.log1p(MU * MU_LIMIT)


def to_digits(indices: npt.NDArray[np.integer], counts: npt.NDArray[np.integer], base: int) -> npt.NDArray[np.int64]:
    """Writes integers as digits, the most significant first.

    Args:
        indices: Integers from 0, shape (m, d).
        counts: How many digits each of the d integers takes, shape (d,); indices[:, j] < base ** counts[j].
        base: The base, at least 2.

    Returns:
        Digits in 0 … base - 1, int64 (m, sum of the counts).
    """
    owner, weights = _places(counts, base)
    return indices[:, owner] // weights % base


def from_digits(digits: npt.NDArray[np.integer], counts: npt.NDArray[np.integer], base: int) -> npt.NDArray[np.int64]:
    """Reads integers (m, d) back from digits (m, sum of the counts); the inverse of `to_digits`."""
    _, weights = _places(counts, base)
    return np.add.reduceat(digits * weights, np.cumsum(counts) - counts, axis=1)


def digits_needed(sizes: npt.NDArray[np.integer], base: int) -> npt.NDArray[np.int64]:
    """Gives how many digits write 0 … size - 1, at least one, for each of the sizes (d,)."""
    counts = np.ones(len(sizes), np.int64)
    # In exact integers: a logarithm would round 1000 = 10 ** 3 to four digits.
    while (short := base**counts < sizes).any():
        counts[short] += 1
    return counts


def _places(counts: npt.NDArray[np.integer], base: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Gives, for every digit, which integer it belongs to and what it weighs."""
    owner = np.repeat(np.arange(len(counts)), counts)
    exponents = np.concatenate([np.arange(count - 1, -1, -1) for count in counts.tolist()])
    return owner, np.int64(base) ** exponents.astype(np.int64)
