"""The errors that bad input raises, with words that say how to mend it, and the checks that several parts need."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TokenGymError(ValueError):
    """Bad input, stopped at the door: the message gives the value, what was expected and how to mend it."""


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


def positive_int(name: str, value: object) -> int:
    """Returns `value` as an int, or raises `TokenGymError` if it is not a whole number of at least 1."""
    # bool is an int in Python, but `num_rows=True` is a slip.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TokenGymError(f"{name}={value!r} is not a whole number: give an integer of at least 1")
    number = value.__index__()  # type: ignore[attr-defined]
    if number < 1:
        raise TokenGymError(f"{name}={number} is too small: give an integer of at least 1")
    return number
