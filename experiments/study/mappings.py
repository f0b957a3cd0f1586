"""Mappings and values that a YAML file holds, brought into types that survive the file of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...envs import TokenGymError
from .yaml_text import read_yaml

_LARGEST = 10**300


def as_mapping(noun: str, value: Any) -> dict[str, Any]:
    """Return a mapping as a dictionary, and nothing as an empty one.

    Raises:
        TokenGymError: If it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TokenGymError(f"{noun} must be a mapping of keys to values, got {value!r}")
    return dict(value)


def as_integers(noun: str, value: Any) -> list[int]:
    """Return a list of whole numbers from 0 on.

    Raises:
        TokenGymError: If it is something else.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(is_int(v) and v >= 0 for v in value):
        raise TokenGymError(f"{noun} must be a number of seeds or a list of whole numbers from 0 on, got {value!r}")
    return list(value)


def is_int(value: Any) -> bool:
    """Return whether a value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def plain_value(noun: str, value: Any) -> Any:
    """Return a value in the types that survive a file: texts, numbers, booleans, None, lists and dictionaries of them.

    What decides a run is hashed and written to a file that is read again, so it has to come back bit for bit: tuples
    become lists, numpy's numbers Python's, and infinity stays itself.

    Raises:
        TokenGymError: If something cannot come back: NaN, a date, a set, a function, a key that is no text.
    """
    try:
        return _plain(noun, value)
    except RecursionError:
        raise TokenGymError(f"{noun} is nested too deeply, or holds itself") from None


def _plain(noun: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise TokenGymError(f"{noun} is {value!r}: a lone surrogate is no character of a text") from None
        return str(value)
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise TokenGymError(f"{noun} is a whole number of more than 300 digits; give a smaller one")
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise TokenGymError(f"{noun} is NaN, which equals nothing, not even itself; give a number")
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TokenGymError(f"{noun} has the key {key!r}; keys are texts, write '{key}' in quotes")
        return {_plain(noun, key): _plain(f"{noun}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{noun}[{index}]", item) for index, item in enumerate(value)]
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _plain(noun, value.tolist())
    hint = "; name a function as 'module:name', so that a worker can import it" if callable(value) else ""
    raise TokenGymError(
        f"{noun} is {value!r}, a {type(value).__name__}: only texts, numbers, true, false, lists and mappings can be "
        f"recorded with a run{hint}"
    )


def parse_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Return ``{"length": 3}`` for ``["length=3"]``; values are YAML.

    Raises:
        TokenGymError: If a pair has no ``=``, its value is no YAML, or a name is given twice.
    """
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise TokenGymError(f"an argument of the environment is name=value, got {pair!r}")
        if name in found:
            raise TokenGymError(f"the argument {name!r} of the environment is given twice; keep one")
        found[name] = read_yaml(value, f"the value of {pair!r}")
    return found
