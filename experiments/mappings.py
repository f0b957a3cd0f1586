"""From the mappings that a YAML file holds to checked dataclasses, with messages that name key and value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..envs.errors import TokenGymError, unknown_name

SpecT = TypeVar("SpecT")

_LARGEST = 10**300


def build(kind: type[SpecT], noun: str, values: Mapping[str, Any]) -> SpecT:
    """Return a dataclass built from a mapping.

    Args:
        kind: The dataclass.
        noun: What it is, for the message.
        values: Its fields by name.

    Raises:
        TokenGymError: If a key is no field (the nearest are listed) or lacks, or a plain value has the wrong type.
    """
    known = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown_name(f"key of {noun}", str(key), list(known))
    for key, item in known.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and key not in values:
            raise TokenGymError(f"{noun} lacks the key {key!r}")
        if key in values:
            _check_type(noun, key, item.type, values[key])
    return kind(**values)


def _check_type(noun: str, key: str, annotation: Any, value: Any) -> None:
    checks = {
        "int": (is_int, "a whole number"),
        "float": (is_number, "a number"),
        "float | None": (lambda v: v is None or is_number(v), "a number or nothing"),
        "str": (lambda v: isinstance(v, str), "a text"),
        "bool": (lambda v: isinstance(v, bool), "true or false"),
        "dict[str, Any]": (lambda v: isinstance(v, Mapping), "a mapping"),
    }
    check, expected = checks.get(str(annotation), (None, ""))
    if check is not None and not check(value):
        raise TokenGymError(f"{noun}: {key} must be {expected}, got {value!r}")


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


def is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


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


def finite_or_none(noun: str, name: str, value: float | None) -> None:
    """Raise a `TokenGymError` for a number that is infinite or NaN."""
    if value is not None and not math.isfinite(value):
        raise TokenGymError(f"{noun}: {name} must be a finite number, got {value!r}")
