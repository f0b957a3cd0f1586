"""Values that do not fit: by the type that a field declares, and texts that mean harm."""

from __future__ import annotations

import typing
from types import NoneType, UnionType
from typing import Any, Literal

import numpy as np

NOTHING = [object(), b"bytes", {1, 2}, lambda: None, np.zeros((2, 2)), [[]], {"a": 1}, [None], 1j]
"""What no plain field takes."""
TEXTS = [
    "",
    " ",
    "1",
    "1.5",
    "true",
    "none",
    "nan",
    "\x00",
    "\x1b[2J",
    "é" * 5000,
    "../../x",
    "<eos>",
    "[red]",
    "\ud800",
]
NUMBERS = [0, 1, -1, 2**31, 2**63, 10**400, -(10**400), 0.5, -0.5, 1e308, 1e-320]
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]


def wrong_for(annotation: Any) -> list[Any]:
    """Return values that a field of this type cannot take, whatever its range; an empty list where none is sure."""
    options = _options(annotation)
    kinds = {option for option in options if isinstance(option, type)}
    if Any in options or object in kinds:
        return []
    wrong: list[Any] = list(NOTHING)
    if NoneType not in kinds:
        wrong.append(None)
    literals = [
        value for option in options if typing.get_origin(option) is Literal for value in typing.get_args(option)
    ]
    if str not in kinds:
        wrong += [text for text in TEXTS if text not in literals]
    if float not in kinds and int not in kinds:
        wrong += [0, 1, 2, -1, 0.5, *NOT_FINITE]
    elif float not in kinds:
        wrong += [0.5, 1.5, -0.1, 1e308, *NOT_FINITE, "3", np.float64(2.5)]
    else:
        wrong += [float("nan"), "0.5", 10**400]
    if bool not in kinds:
        wrong += [True, False, np.bool_(True)]
    else:
        wrong += ["false", "yes", 0, 1]
    containers = (list, tuple, dict)
    if any((typing.get_origin(option) or option) in containers for option in options):
        wrong = [value for value in wrong if not isinstance(value, (list, tuple, dict))]
    return wrong


def _options(annotation: Any) -> list[Any]:
    """Return the members of a union, or the one type, without what `Annotated` adds."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return [inner for option in typing.get_args(annotation) for inner in _options(option)]
    return [annotation]


def damaged(random: np.random.Generator, data: bytes) -> bytes:
    """Return bytes with a few of them changed, cut out, doubled or cut off."""
    if not data:
        return b"\x00"
    found = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        at = int(random.integers(len(found))) if found else 0
        kind = int(random.integers(5))
        if kind == 0 and found:
            found[at] = int(random.integers(256))
        elif kind == 1:
            del found[at : at + int(random.integers(1, 20))]
        elif kind == 2:
            found[at:at] = found[at : at + int(random.integers(1, 20))]
        elif kind == 3:
            found[at:at] = bytes(random.integers(0, 256, 3, dtype=np.uint8))
        else:
            del found[at:]
    return bytes(found)
