"""Gymnasium's spaces as digits: any nesting of `Dict` and `Tuple` over numbers becomes one row of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ..checking import TokenGymError
from .quantise import MU_LIMIT, Grid, digits_needed, from_digits, to_digits

_MOST_NAMED = 65_536
_MOST_EXACT = 2**53


class SpaceCodec:
    """How the values of a space are written, as d numbers in a fixed order, each in so many digits of a base.

    `Dict` and `Tuple` spaces are flattened, in their own order. The numbers of `Discrete`, `MultiDiscrete` and
    `MultiBinary` spaces are written exactly, and so are those of an integer `Box` that fit into `digits` digits. All
    others, the *reals*, are written as the nearest point of a grid of `base ** digits` points.

    Attributes:
        space: The space.
        base: The digits' base. Where actions are named, the number of names instead: a number is one token then.
        named: Whether every number is one token of its own instead of digits.
        sizes: How many values each number has, int64 (d,).
        counts: How many tokens each number takes, int64 (d,).
        grid: The grid of the reals, or None where there are none.
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        what: Literal["observation", "action"],
        base: int = 10,
        digits: int = 2,
        scale: str = "uniform",
        low: float | Sequence[float] | None = None,
        high: float | Sequence[float] | None = None,
    ) -> None:
        """Decides how the space is written.

        Args:
            space: The space.
            what: What it is the space of. Actions without reals are named: a number is one token.
            base: The digits' base, at least 2.
            digits: Digits of a real.
            scale: The grid's, `"uniform"` or `"mu_law"`.
            low: Lower bounds of the reals, one or one a real, in the order of the flattened space. By default the
                space's own.
            high: Upper bounds, likewise.

        Raises:
            TokenGymError: For a space that is empty or that cannot be written, or bounds that are missing or wrong.
        """
        self.space, self.base = space, base
        sizes: list[int] = []
        offsets: list[int] = []
        bounds: list[tuple[float, float]] = []  # of the reals
        for place, leaf in _leaves(space):
            for first, last in _ends(leaf, what, place):
                exact = not isinstance(leaf, spaces.Box) or (
                    leaf.dtype is not None
                    and np.issubdtype(leaf.dtype, np.integer)
                    and int(last) - int(first) < base**digits
                )
                if exact and last - first >= _MOST_EXACT:
                    raise TokenGymError(
                        f"the {what} space {leaf}{place} has a number of {last - first + 1} values: at most "
                        f"{_MOST_EXACT} can be written"
                    )
                sizes.append(int(last - first) + 1 if exact else 0)
                offsets.append(int(first) if exact else 0)
                if not exact:
                    bounds.append((float(first), float(last)))
        if not sizes:
            raise TokenGymError(f"the {what} space {space} is empty: there is nothing to write in tokens")
        self._offsets = np.array(offsets, np.int64)
        self.sizes = np.array(sizes, np.int64)
        self._real = self.sizes == 0
        self.sizes[self._real] = base**digits
        self.grid = None
        if not bounds and (low is not None or high is not None):
            raise TokenGymError(f"the {what} space {space} has no reals, which bounds are for: leave out low and high")
        if bounds:
            ends = [np.array(end, np.float64) for end in zip(*bounds, strict=True)]
            for index, (name, given) in enumerate((("low", low), ("high", high))):
                ends[index] = _given_bound(name, given, ends[index])
            if what == "action" and not np.isfinite(ends).all():
                raise TokenGymError(
                    f"the action space {space} has no finite bounds: give it some with "
                    "gymnasium.wrappers.TransformAction"
                )
            if scale == "mu_law":
                ends = [np.clip(end, -MU_LIMIT, MU_LIMIT) for end in ends]
            self.grid = Grid(ends[0], ends[1], base**digits, scale)
        self.named = what == "action" and self.grid is None and int(self.sizes.max()) <= _MOST_NAMED
        if self.named:
            self.base = int(self.sizes.max())
            self.counts = np.ones(len(sizes), np.int64)
        else:
            self.counts = digits_needed(self.sizes, base)

    @property
    def num_tokens(self) -> int:
        """How many tokens a value of the space takes."""
        return int(self.counts.sum())

    @property
    def ends(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The lowest and the highest value that can be written of each number, float64 (d,) each."""
        low = self._offsets.astype(np.float64)
        high = low + self.sizes - 1
        if self.grid is not None:
            low[self._real], high[self._real] = self.grid.low, self.grid.high
        return low, high

    @property
    def possible(self) -> npt.NDArray[np.bool_]:
        """Which digits can stand in each place: bool (num_tokens, base).

        A number's first digit is bounded by its highest value. Its other digits are not, as that depends on those
        before: a number that is too high counts as the highest.
        """
        highest = np.full(self.num_tokens, self.base - 1)
        firsts = np.cumsum(self.counts) - self.counts
        highest[firsts] = (self.sizes - 1) // self.base ** (self.counts - 1)
        return np.arange(self.base) <= highest[:, None]

    def encode(self, samples: Sequence[Any]) -> npt.NDArray[np.int64]:
        """Writes m values of the space: digits, int64 (m, num_tokens)."""
        try:
            if isinstance(self.space, (spaces.Dict, spaces.Tuple)):
                numbers = np.array([np.concatenate(list(_flat(self.space, sample))) for sample in samples], np.float64)
            else:
                numbers = np.array([np.asarray(sample).reshape(-1) for sample in samples])
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise self._foreign(samples[0]) from error
        if numbers.shape[1:] != self.sizes.shape or numbers.dtype.kind not in "biuf":
            raise self._foreign(samples[0])
        if self.grid is None:
            indices = numbers.astype(np.int64) - self._offsets
        else:
            indices = np.empty(numbers.shape, np.int64)
            indices[:, self._real] = self.grid.encode(numbers[:, self._real])
            indices[:, ~self._real] = numbers[:, ~self._real].astype(np.int64) - self._offsets[~self._real]
        # A value outside of the space that it should be in must not spill into the digits beside it.
        return to_digits(np.clip(indices, 0, self.sizes - 1), self.counts, self.base)

    def _foreign(self, sample: Any) -> TokenGymError:
        told = repr(sample)
        return TokenGymError(
            f"the value {told[:80]}{'…' * (len(told) > 80)} is not of the space {self.space} that the environment "
            "declares: mend the one or the other"
        )

    def decode_numbers(self, digits: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Reads the numbers, float64 (m, d), that digits (m, num_tokens) stand for."""
        indices = np.minimum(from_digits(np.asarray(digits, np.int64), self.counts, self.base), self.sizes - 1)
        numbers = (indices + self._offsets).astype(np.float64)
        if self.grid is not None:
            numbers[:, self._real] = self.grid.decode(indices[:, self._real])
        return numbers

    def decode(self, digits: npt.ArrayLike) -> list[Any]:
        """Reads the values of the space that digits (m, num_tokens) stand for."""
        return [_built(self.space, iter(row)) for row in self.decode_numbers(digits)]


def _leaves(space: spaces.Space[Any], place: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """Gives the spaces of numbers in a space, each with words for where it is."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _leaves(inner, f"{place or ' at '}[{key!r}]")
    elif isinstance(space, spaces.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from _leaves(inner, f"{place or ' at '}[{index}]")
    else:
        yield place, space


def _ends(space: spaces.Space[Any], what: str, place: str) -> Iterator[tuple[Any, Any]]:
    """Gives the lowest and highest value of each number of a space without spaces in it."""
    if isinstance(space, spaces.Box):
        yield from zip(space.low.reshape(-1).tolist(), space.high.reshape(-1).tolist(), strict=True)
    elif isinstance(space, spaces.Discrete):
        yield int(space.start), int(space.start) + int(space.n) - 1
    elif isinstance(space, spaces.MultiDiscrete):
        for size, start in zip(space.nvec.reshape(-1).tolist(), space.start.reshape(-1).tolist(), strict=True):
            yield start, start + size - 1
    elif isinstance(space, spaces.MultiBinary):
        yield from [(0, 1)] * math.prod(space.shape)
    elif isinstance(space, spaces.Text):
        raise TokenGymError(
            f"the {what} space {space}{place} cannot be written in tokens, as it is of strings: TextGym takes an "
            "environment that reads and shows nothing else, make_task('TextGym', env=…); or turn the space into "
            f"Discrete, Box and the like with gymnasium.wrappers.Transform{what.capitalize()}"
        )
    else:
        raise TokenGymError(
            f"the {what} space {space}{place} cannot be written in tokens: Discrete, MultiDiscrete, MultiBinary, Box, "
            f"and Dict and Tuple of these can; turn it into one of them with "
            f"gymnasium.wrappers.Transform{what.capitalize()}"
        )


def _given_bound(
    name: str, given: float | Sequence[float] | None, own: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Returns the bounds that a user gave for each real, or the space's own."""
    if given is None:
        return own
    try:
        bound = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise TokenGymError(f"{name}={given!r}: give one number, or a list of {len(own)} of them") from None
    if bound.shape not in ((), own.shape):
        raise TokenGymError(f"{name}={given!r}: give one bound, or {len(own)} of them")
    return np.broadcast_to(bound, own.shape)


def _flat(space: spaces.Space[Any], sample: Any) -> Iterator[npt.NDArray[Any]]:
    """Gives the numbers of a value, leaf by leaf."""
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _flat(inner, sample[key])
    elif isinstance(space, spaces.Tuple):
        for inner, part in zip(space.spaces, sample, strict=True):
            yield from _flat(inner, part)
    else:
        yield np.asarray(sample).reshape(-1)


def _built(space: spaces.Space[Any], numbers: Iterator[float]) -> Any:
    """Builds a value of a space from its numbers."""
    if isinstance(space, spaces.Dict):
        return {key: _built(inner, numbers) for key, inner in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_built(inner, numbers) for inner in space.spaces)
    if isinstance(space, spaces.Discrete):
        return int(next(numbers))
    shape = space.shape or ()
    values = np.array([next(numbers) for _ in range(math.prod(shape))]).reshape(shape)
    if space.dtype is not None and np.issubdtype(space.dtype, np.integer):
        values = np.rint(values)
    return values.astype(space.dtype)
