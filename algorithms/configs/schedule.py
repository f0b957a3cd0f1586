"""Schedules: coefficients that change with the share of the budget that is spent.

A field that takes a `Schedule` takes a number, too, which stays as it is. In Python a schedule is an object, in a file
or on the command line a short text, or in a file a mapping:

    learning_rate: 1e-3
    learning_rate: cosine(1e-3, 1e-5, warmup=0.05)
    learning_rate: {shape: cosine, start: 1e-3, end: 1e-5, warmup: 0.05}
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ...envs import TokenGymError
from ...envs.checking import Range, check_fields, from_mapping, shown

Share = Annotated[float, Range(least=0, most=1)]
Number = Annotated[float, Range(least=-1_000_000, most=1_000_000)]


@dataclass(frozen=True)
class Schedule:
    """A coefficient that goes from ``start`` to ``end`` while the budget is spent, perhaps after a warm-up.

    Raises:
        TokenGymError: a value of a wrong type or out of range, an end that "constant" does not have or another shape
            lacks, a "geometric" way through 0, or a warm-up that takes as long as the whole way.
    """

    described_as: ClassVar[str] = "a schedule such as 'cosine(1, 0.1, warmup=0.05)'"
    """How messages call a value of this type."""

    shape: Literal["constant", "linear", "cosine", "geometric"]
    """The way from start to end: none, a straight line, half a cosine (slow at both ends), or a constant factor."""
    start: Number
    """The value at the start, or after the warm-up."""
    end: Number | None = None
    """The value that is reached at `until` and kept; None with "constant"."""
    until: Share = 1.0
    """Share of the budget at which `end` is reached; 0 is there at once."""
    warmup: Share = 0.0
    """Share of the budget over which the value first rises from 0 to `start` in a straight line."""

    def __post_init__(self) -> None:
        check_fields(self, "schedule")
        if (self.end is None) is not (self.shape == "constant"):
            needs = "no end" if self.shape == "constant" else "an end"
            raise TokenGymError(f"schedule: end is {shown(self.end)}; expected {needs} with {self.shape!r}.")
        if self.shape == "geometric" and min(self.start, self.end or 0.0) <= 0:
            raise TokenGymError(f"schedule: {self} goes through 0; expected a start and an end above 0.")
        if self.warmup and self.warmup >= self.until:
            raise TokenGymError(f"schedule: warmup is {self.warmup}; expected less than until, {self.until}.")

    @classmethod
    def read(cls, value: str | Mapping[str, Any]) -> Schedule:
        """Return the schedule that a text or a mapping of a file says.

        Raises:
            TokenGymError: it says none.
        """
        if isinstance(value, Mapping):
            return from_mapping(cls, "schedule", value)
        match = re.fullmatch(r"\s*(\w+)\s*\(([^()]*)\)\s*", value)
        if match is None:
            raise TokenGymError(f"schedule: {shown(value)} is none; expected {cls.described_as}.")
        values: dict[str, Any] = {"shape": match[1]}
        names = ["start", "end"]
        for part in filter(None, map(str.strip, match[2].split(","))):
            name, given, number = part.rpartition("=")
            name = name.strip() if given else (names.pop(0) if names else "a third number")
            if name in values:
                raise TokenGymError(f"schedule: {shown(value)} says {name} twice; expected it once.")
            try:
                values[name] = float(number)
            except ValueError:
                raise TokenGymError(f"schedule: {name} is {number.strip()!r}; expected a number.") from None
        return from_mapping(cls, "schedule", values)

    def at(self, progress: float) -> float:
        """Return the value once the share ``progress`` of the budget is spent."""
        if progress < self.warmup:
            return self.start * max(progress, 0.0) / self.warmup
        if self.end is None:
            return self.start
        way, behind = self.until - self.warmup, progress - self.warmup
        if self.shape == "linear":
            return linear(self.start, self.end, behind, way)
        if self.shape == "geometric":
            return math.exp(linear(math.log(self.start), math.log(self.end), behind, way))
        return linear(self.end, self.start, (1 + math.cos(math.pi * linear(0.0, 1.0, behind, way))) / 2)

    def __str__(self) -> str:
        """Return the text from which `read` makes an equal schedule."""
        parts = [repr(float(number)) for number in (self.start, self.end) if number is not None]
        parts += [f"until={self.until!r}"] if self.until != 1 else []
        parts += [f"warmup={self.warmup!r}"] if self.warmup else []
        return f"{self.shape}({', '.join(parts)})"


def value_at(coefficient: float | Schedule, progress: float) -> float:
    """Return a coefficient once the share ``progress`` of the budget is spent; a number is itself."""
    return coefficient.at(progress) if isinstance(coefficient, Schedule) else coefficient


def ends(coefficient: float | Schedule) -> tuple[float, float]:
    """Return what a coefficient starts and ends with, between which it stays after a warm-up."""
    if isinstance(coefficient, Schedule):
        return coefficient.start, coefficient.start if coefficient.end is None else coefficient.end
    return coefficient, coefficient


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
