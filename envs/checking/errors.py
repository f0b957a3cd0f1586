"""The errors that bad input raises, with words that say how to mend it, and the checks that several parts need."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from .visibility import visible


class TokenGymError(ValueError):
    """Bad input, stopped at the door: the message gives the value, what was expected and how to mend it."""

    def __str__(self) -> str:
        """Return the message; values in it may come from outside, so a terminal is shown and not commanded."""
        return visible(super().__str__())


class TooManyNodesError(TokenGymError):
    """An exact computation needs more information states than it was allowed; sampled episodes can estimate it."""


class TooManyStatesError(TokenGymError):
    """A finite task has more states than it may compile; a smaller one, or a larger `max_states`, mends it."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> TokenGymError:
    """Makes the error for a name that nothing is registered under, with the nearest known names.

    Args:
        kind: What was looked up, such as `"environment"`.
        name: The name that was not found.
        known: All the names that would have been found.

    Returns:
        The error, to be raised by the caller.
    """
    names = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    near = [lowered[match] for match in difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(names) or 'none'}"
    return TokenGymError(f"unknown {kind} {name!r}: {hint}")


def positive_int(name: str, value: object, most: int = 2**63 - 1) -> int:
    """Returns `value` as an int, or raises `TokenGymError` if it is not a whole number in 1 … `most`.

    The default of `most` is what an array can count.
    """
    number = _whole(name, value, "an integer of at least 1")
    if number < 1:
        raise TokenGymError(f"{name}={number} is too small: give an integer of at least 1")
    if number > most:
        raise TokenGymError(f"{name}={number} is too large: give an integer of at most {most}")
    return number


def whole_number(name: str, value: object) -> int:
    """Returns `value` as an int, or raises `TokenGymError` if it is not a whole number of at least 0.

    For seeds, too: None, which numpy takes for "another one each time", is refused, as what a seed belongs to must be
    the same whenever it is made again.
    """
    number = _whole(name, value, "an integer of at least 0")
    if number < 0:
        raise TokenGymError(f"{name}={number} is negative: give an integer of at least 0")
    return number


def flag(name: str, value: object) -> bool:
    """Returns `value` as a bool, or raises `TokenGymError`: the string "false", say, would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TokenGymError(f"{name}={value!r}: give True or False")
    return bool(value)


def finite_number(name: str, value: Any) -> float:
    """Returns a number as a float, or raises `TokenGymError` for what is none, NaN or infinite."""
    try:
        # A bool is a number in Python, but `noise=True` is a slip.
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond the largest float
        pass
    raise TokenGymError(f"{name}={value!r}: give a finite number")


def _whole(name: str, value: object, wanted: str) -> int:
    # A bool is an int in Python, but `num_rows=True` is a slip.
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise TokenGymError(f"{name}={value!r} is not a whole number: give {wanted}")
