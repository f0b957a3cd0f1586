"""From the mappings that a YAML file holds to checked dataclasses, with messages that name key and value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..envs.errors import TokenGymError, unknown_name

SpecT = TypeVar("SpecT")


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
