"""Counter-based random numbers: every row of a batch has a stream of its own, and a batch draws in one call.

The k-th number of a stream is a hash of (the stream's start, k): SplitMix64 (Steele, Lea and Flood, 2014, "Fast
splittable pseudorandom number generators") read at position k. A row's numbers therefore depend neither on its
neighbours nor on its place in the batch, and a stream is saved and restored as two integers.
"""

from __future__ import annotations

import math
from typing import overload

import numpy as np
import numpy.typing as npt

from .checking import TokenGymError, positive_int

_GAMMA_INT, _MULTIPLIER_1_INT, _MULTIPLIER_2_INT = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# Arrays of one number: NumPy lets them meet another array in little more than half the time of its scalars.
_ZERO, _ONE = np.array(0, np.int64), np.array(1, np.uint64)
_GAMMA = np.array(_GAMMA_INT, np.uint64)
_BRANCH = np.array(0xD1B54A32D192ED03, np.uint64)  # tells the streams of branches from those of episodes
_MULTIPLIER_1, _MULTIPLIER_2 = np.array(_MULTIPLIER_1_INT, np.uint64), np.array(_MULTIPLIER_2_INT, np.uint64)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = (np.array(shift, np.uint64) for shift in (30, 27, 31))
_SHIFT_TO_DOUBLE = np.array(11, np.uint64)
_TO_UNIT = np.array(2.0**-53)
_MASK = (1 << 64) - 1


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hashes every number of `x`, which has an axis, in place with SplitMix64's finaliser, and returns it."""
    shifted = x >> _SHIFT_1
    x ^= shifted
    x *= _MULTIPLIER_1
    np.right_shift(x, _SHIFT_2, shifted)
    x ^= shifted
    x *= _MULTIPLIER_2
    np.right_shift(x, _SHIFT_3, shifted)
    x ^= shifted
    return x


def _mix_int(x: int) -> int:
    """The same hash for one Python integer."""
    x = ((x ^ (x >> 30)) * _MULTIPLIER_1_INT) & _MASK
    x = ((x ^ (x >> 27)) * _MULTIPLIER_2_INT) & _MASK
    return x ^ (x >> 31)


@overload
def derive_start(seed: int, episode: int) -> int: ...  # pyright: ignore[reportOverlappingOverload]
@overload
def derive_start(seed: npt.ArrayLike, episode: npt.ArrayLike) -> npt.NDArray[np.uint64]: ...
def derive_start(seed: npt.ArrayLike, episode: npt.ArrayLike) -> int | npt.NDArray[np.uint64]:
    """Derives the start of an environment's episode from its seed: a 64-bit hash of (seed, episode).

    Args:
        seed: The seed that the environment was reset with, a non-negative integer or an array of them.
        episode: The episode's number since that reset, from 0, an integer or an array.

    Returns:
        A Python int for two integers, else a uint64 array of the broadcast shape.
    """
    if isinstance(seed, (int, np.integer)) and isinstance(episode, (int, np.integer)):
        if seed < 0 or episode < 0:
            raise TokenGymError(f"seed={seed}, episode={episode}: both must be at least 0")
        return _mix_int((_mix_int((int(seed) + _GAMMA_INT) & _MASK) + (int(episode) + 1) * _GAMMA_INT) & _MASK)
    seeds, episodes = np.asarray(seed), np.asarray(episode)
    if seeds.shape != episodes.shape:
        seeds, episodes = np.broadcast_arrays(seeds, episodes)
    for name, values in (("seed", seeds), ("episode", episodes)):
        if not are_natural(values):
            raise TokenGymError(f"{name}={values!r}: give integers of at least 0")
    # Arrays of one axis also where numbers were given: hashing in place needs an array.
    hashed = seeds.astype(np.uint64).reshape(-1)
    hashed += _GAMMA
    _mix(hashed)
    counted = episodes.astype(np.uint64).reshape(-1)
    counted += _ONE
    counted *= _GAMMA
    hashed += counted
    return _mix(hashed).reshape(seeds.shape)


def are_natural(values: np.ndarray) -> bool:
    """Whether an array holds integers of at least 0 only; an empty one must have an integer type, too."""
    kind = values.dtype.kind
    return kind == "u" or (kind == "i" and not np.count_nonzero(values < _ZERO))


class CounterRandom:
    """One stream of random numbers for each of `num_rows` rows.

    In all draws `rows` is an integer array of shape (m,) without repetitions, and k numbers are drawn for each row.
    """

    def __init__(self, num_rows: int) -> None:
        self.num_rows = positive_int("num_rows", num_rows)
        self._starts = np.zeros(num_rows, np.uint64)
        # Position of the stream: hash(start) + γ · (numbers drawn so far).
        self._positions = np.zeros(num_rows, np.uint64)
        self.seed_rows(np.arange(num_rows), np.zeros(num_rows, np.uint64))

    def seed_rows(self, rows: npt.NDArray[np.intp], starts: npt.ArrayLike) -> None:
        """Begins the streams of `rows` anew from `starts`, uint64 of shape (m,): equal starts, equal streams."""
        starts = np.asarray(starts, dtype=np.uint64)
        self._starts[rows] = starts
        self._positions[rows] = _mix(starts + _GAMMA)

    def seed_row(self, row: int, start: int) -> None:
        """Begins one row's stream anew, as `seed_rows` does, in a fraction of its time."""
        self._starts[row] = start
        self._positions[row] = _mix_int((start + _GAMMA_INT) & _MASK)

    def uniform_row(self, row: int) -> float:
        """Draws one number for one row, the one that `uniform` would draw, in a fraction of its time."""
        position = (self._positions.item(row) + _GAMMA_INT) & _MASK
        self._positions[row] = position
        return (_mix_int(position) >> 11) * 2.0**-53

    def branch_rows(self, rows: npt.NDArray[np.intp], streams: npt.NDArray[np.uint64]) -> None:
        """Lets `rows` draw from other streams from here on, `streams` being uint64 of shape (m,).

        They are told apart from those of a start of the same value, which the rows may have drawn already. What
        `starts` says stays.
        """
        self._positions[rows] = _mix(_mix(streams + _GAMMA) ^ _BRANCH)

    def copy_rows(self, sources: npt.NDArray[np.intp], targets: npt.NDArray[np.intp]) -> None:
        """Gives `targets`, shape (m,), the streams of `sources`, which may repeat: from here on they draw the same."""
        self._starts[targets] = self._starts[sources]
        self._positions[targets] = self._positions[sources]

    def bits(self, rows: npt.NDArray[np.intp], k: int = 1) -> npt.NDArray[np.uint64]:
        """Draws 64 random bits k times for each row: uint64 of shape (m, k)."""
        if k == 1:
            positions = self._positions.take(rows)
            positions += _GAMMA
            self._positions[rows] = positions
            return _mix(positions).reshape(-1, 1)
        steps = np.arange(1, k + 1, dtype=np.uint64) * _GAMMA
        positions = self._positions[rows][:, None] + steps
        self._positions[rows] = positions[:, -1] if k else self._positions[rows]
        return _mix(positions)

    def uniform(self, rows: npt.NDArray[np.intp], k: int = 1) -> npt.NDArray[np.float64]:
        """Draws k numbers, uniform on [0, 1), for each row: float64 of shape (m, k)."""
        drawn = self.bits(rows, k)
        drawn >>= _SHIFT_TO_DOUBLE
        numbers = drawn.astype(np.float64)
        numbers *= _TO_UNIT
        return numbers

    def integers(self, rows: npt.NDArray[np.intp], high: int | npt.ArrayLike, k: int = 1) -> npt.NDArray[np.int64]:
        """Draws k integers, uniform on 0 … high − 1, for each row: int64 of shape (m, k).

        Args:
            rows: The rows that draw, shape (m,).
            high: One bound for all, or an array of shape (m,) with one for each row. At most 2^32, where the
                deviation from uniformity is below 2^-21 of a probability.
            k: Numbers for each row.
        """
        bound = np.asarray(high)
        if bound.size and bound.min() < 1:
            raise TokenGymError(f"high={high!r}: the bound of random integers must be at least 1")
        if bound.ndim:
            bound = bound[:, None]
        return (self.uniform(rows, k) * bound).astype(np.int64)

    def normal(self, rows: npt.NDArray[np.intp], k: int = 1) -> npt.NDArray[np.float64]:
        """Draws k standard normal numbers for each row (Box–Muller, two uniforms each): float64 of shape (m, k)."""
        u = self.uniform(rows, 2 * k)
        return np.sqrt(-2.0 * np.log1p(-u[:, :k])) * np.cos(2.0 * np.pi * u[:, k:])

    def normal_row(self, row: int) -> float:
        """Draws one standard normal number for one row, the one that `normal` would draw."""
        u, v = self.uniform_row(row), self.uniform_row(row)
        # NumPy's functions, where those of `math` may round differently; a root is exact to the last bit in both.
        return math.sqrt(-2.0 * float(np.log1p(-u))) * float(np.cos(2.0 * math.pi * v))

    def get_row(self, row: int) -> dict[str, int]:
        """Returns the stream of one row as two integers, `start` and `position`."""
        return {"start": int(self._starts[row]), "position": int(self._positions[row])}

    def set_row(self, row: int, saved: dict[str, int]) -> None:
        """Puts one row back to a stream that `get_row` returned."""
        self._starts[row] = saved["start"]
        self._positions[row] = saved["position"]

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """The start that each row's stream was last begun from, uint64 of shape (num_rows,)."""
        return self._starts.copy()
