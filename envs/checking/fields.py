"""Values checked against declared types and ranges: the one place that checks configurations and specifications.

A field says all of it in its annotation, which type checkers, editors and the command line read, too:

    @dataclass(frozen=True)
    class Options:
        rate: Annotated[float, Range(above=0)] = 1e-3
        kind: Literal["mean", "sum"] | None = None

        def __post_init__(self) -> None:
            check_fields(self)

Types are meant strictly: True is no number, "3" is no number, 1.5 and 2.0 are no whole numbers, NaN is nothing at all.
A whole number will do where a number is asked for, and NumPy's scalars become Python's.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from .errors import TokenGymError, unknown_name

ClassT = TypeVar("ClassT")


@dataclass(frozen=True)
class Range:
    """Bounds of a number or of the length of a sequence, as metadata of its type: ``Annotated[int, Range(least=1)]``.

    Attributes:
        least: smallest value.
        above: every value is larger.
        most: largest value.
        below: every value is smaller.
        infinite: whether infinity is one.
        whole_floats: whether 1e5 will do for 100_000.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    infinite: bool = False
    whole_floats: bool = False

    def holds(self, value: float) -> bool:
        """Whether ``value`` is within the bounds; NaN never is."""
        if value == math.inf and self.infinite:
            return True
        return (
            -math.inf < value < math.inf
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.least is not None and self.most is not None and self.most <= 10**9:
            return f"within {_plain(self.least)} … {_plain(self.most)}"
        bounds = [
            f"{word} {_plain(bound)}"
            for word, bound in (
                ("of at least", self.least),
                ("above", self.above),
                ("at most", self.most),
                ("below", self.below),
            )
            if bound is not None
        ]
        return " and ".join(bounds) + (" (or infinite)" if self.infinite else "")


def check_fields(instance: Any, noun: str = "") -> None:
    """Check every field of a dataclass against its annotation; NumPy's scalars become Python's.

    Call it first in ``__post_init__``.

    Args:
        instance: of a dataclass, frozen or not.
        noun: what it is, for the messages: "environment 'Copy'".

    Raises:
        TokenGymError: a value of a wrong type or out of range.
    """
    hints = _hints(type(instance))
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        checked = check_value(f"{noun}: {field.name}" if noun else field.name, hints[field.name], value)
        if checked is not value:
            object.__setattr__(instance, field.name, checked)


def from_mapping(kind: type[ClassT], noun: str, values: Any) -> ClassT:
    """Build a dataclass that checks its fields from a mapping, such as one that a YAML file holds.

    Args:
        kind: the dataclass.
        noun: what it is, for the messages.
        values: its fields by name.

    Raises:
        TokenGymError: no mapping, a key that is no field (the nearest are listed), or a required one that is missing.
    """
    if not isinstance(values, Mapping):
        raise TokenGymError(f"{noun} is {shown(values)}; expected a mapping of keys to values.")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise unknown_name(f"key of {noun}", str(key), fields)
    for key, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and key not in values:
            raise TokenGymError(f"{noun} lacks the key {key!r}")
    return kind(**values)


def check_value(name: str, annotation: Any, value: Any) -> Any:
    """Return ``value``, NumPy's scalars as Python's, if it is of the annotated type and in its range.

    Raises:
        TokenGymError: it is not; names it, its value and what was expected.
    """
    try:
        return _checked(annotation, value)
    except _Mismatch as mismatch:
        raise TokenGymError(
            f"{name}{mismatch.place} is {shown(mismatch.value)}; expected {mismatch.expected}{_remedy(mismatch)}."
        ) from None


def described(annotation: Any) -> str:
    """Return in words what a value of an annotation is: "None or a number above 0"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = " and ".join(str(one) for one in inner[1:] if isinstance(one, Range) and str(one))
        text = described(inner[0])
        if get_origin(inner[0]) in (tuple, list, Sequence):
            return f"{text}, {bounds} of them".replace("of at least", "at least") if bounds else text
        return f"{text} {bounds}" if bounds else text
    if origin is Literal:
        return _one_of([repr(choice) for choice in inner])
    if origin in (Union, types.UnionType):
        return _one_of([described(one) for one in sorted(inner, key=lambda one: one is not type(None))])
    if origin in (tuple, list, Sequence):
        return f"a list, each {described(inner[0])}" if inner else "a list"
    if origin in (dict, Mapping):
        return "a mapping of keys to values"
    if isinstance(origin, type):
        annotation = origin
    name = getattr(annotation, "__name__", str(annotation))
    if hasattr(annotation, "described_as"):
        return annotation.described_as
    return _WORDS.get(annotation) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def shown(value: Any) -> str:
    """Return the ``repr`` of any value, cut where it is long and replaced where it fails."""
    try:
        text = repr(value)
    except Exception:  # whole numbers of more than 4,300 digits have none, and objects may have a broken one
        text = f"<{type(value).__name__} that cannot be shown>"
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text):,} characters)"


class _Mismatch(Exception):
    def __init__(self, value: Any, annotation: Any, place: str = "") -> None:
        self.value, self.annotation, self.place = value, annotation, place
        self.expected = described(annotation)


def _unaliased(annotation: Any) -> Any:
    """Return what a ``type`` alias stands for: NumPy 2.5 declares ``ArrayLike`` and ``NDArray`` so."""
    while (alias := get_origin(annotation) or annotation) is not None and hasattr(alias, "__value__"):
        annotation = alias.__value__
    return annotation


def _checked(annotation: Any, value: Any) -> Any:
    annotation = _unaliased(annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is Any or isinstance(annotation, TypeVar) or _is_array(annotation):
        return value
    if origin is Annotated:
        return _in_range(annotation, inner, value)
    if origin in (Union, types.UnionType):
        return _any_of(annotation, inner, value)
    if isinstance(value, np.generic):
        value = value.item()
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in inner):
            raise _Mismatch(value, annotation)
        return value
    if origin in (tuple, list, Sequence):
        return _sequence(annotation, inner, value)
    if origin in (dict, Mapping):
        return _mapping(annotation, inner, value)
    if isinstance(origin, type):  # Callable, Iterable, type and other such: what they are of shows when it is used
        if not isinstance(value, origin):
            raise _Mismatch(value, annotation)
        return value
    if annotation is Path:
        return _path(annotation, value)
    kinds = (int, float) if annotation is float else annotation
    if not isinstance(value, kinds) or (isinstance(value, bool) and annotation in (int, float)):
        raise _Mismatch(value, annotation)
    if annotation is float and not _is_finite(value):
        raise _Mismatch(value, annotation)
    if annotation is int and not -(2**63) <= value < 2**63:
        raise _Mismatch(value, annotation)
    return value


def _in_range(annotation: Any, inner: tuple[Any, ...], value: Any) -> Any:
    bounds = [one for one in inner[1:] if isinstance(one, Range)]
    if any(one.infinite for one in bounds) and isinstance(value, (float, np.floating)) and value == math.inf:
        return float(value)
    if any(one.whole_floats for one in bounds) and isinstance(value, (float, np.floating)) and value % 1 == 0:
        value = int(value)
    try:
        value = _checked(inner[0], value)
    except _Mismatch as mismatch:
        raise mismatch if mismatch.place else _Mismatch(value, annotation) from None
    measured = len(value) if isinstance(value, (tuple, list)) else value
    if not all(one.holds(measured) for one in bounds):
        raise _Mismatch(value, annotation)
    return value


def _path(annotation: Any, value: Any) -> Path:
    try:
        path = Path(value)
        if isinstance(value, bytes) or value == "" or "\0" in str(path):
            raise TypeError
    except TypeError:
        raise _Mismatch(value, annotation) from None
    return path


def _is_array(annotation: Any) -> bool:
    """Whether it says array or tensor: lists will do for them, and what reads them checks them."""
    return getattr(annotation, "__name__", "") in ("ndarray", "Tensor")


def _any_of(annotation: Any, inner: tuple[Any, ...], value: Any) -> Any:
    if Path in inner and isinstance(value, str):
        return _path(annotation, value)
    inside = None
    for one in inner:
        try:
            return _checked(one, value)
        except _Mismatch as mismatch:
            inside = mismatch if mismatch.place else inside
    raise inside or _Mismatch(value, annotation)


def _sequence(annotation: Any, inner: tuple[Any, ...], value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim:
        value = value.tolist() if value.ndim == 1 else list(value)
    if not isinstance(value, (tuple, list)):
        raise _Mismatch(value, annotation)
    items = []
    for index, item in enumerate(value):
        try:
            items.append(_checked(inner[0] if inner else Any, item))
        except _Mismatch as mismatch:
            mismatch.place = f"[{index}]{mismatch.place}"
            raise
    return tuple(items) if get_origin(annotation) is tuple else items


def _mapping(annotation: Any, inner: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _Mismatch(value, annotation)
    if not inner:
        return value
    found = {}
    for key, item in value.items():
        if not isinstance(key, inner[0]):
            raise _Mismatch(key, inner[0], " key")
        try:
            found[key] = _checked(inner[1], item)
        except _Mismatch as mismatch:
            mismatch.place = f"[{key!r}]{mismatch.place}"
            raise
    return found


def _remedy(mismatch: _Mismatch) -> str:
    """Return what to do about the commonest slips, or nothing."""
    value, numbers = mismatch.value, _number_types(mismatch.annotation)
    if isinstance(value, bool) and numbers:
        return " (true and false are not numbers)"
    if isinstance(value, str) and (numbers or bool in _members(mismatch.annotation)):
        return ": this is a text, leave the quotes out" if _reads_as_value(value) else ", not a text"
    if isinstance(value, float) and numbers == {int} and math.isfinite(value) and abs(value) < 2**53:
        return f": write {int(value)}" if value == int(value) else f": {math.floor(value)} or {math.ceil(value)}, say"
    return ""


def _number_types(annotation: Any) -> set[Any]:
    return {one for one in _members(annotation) if one in (int, float)}


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for one in get_args(annotation) for member in _members(one)]
    return [annotation]


def _reads_as_value(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in ("true", "false")
    return True


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def _one_of(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _plain(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


@lru_cache(maxsize=256)
def _hints(owner: Any) -> dict[str, Any]:
    owner = inspect.unwrap(owner) if inspect.isfunction(owner) else owner
    return get_type_hints(owner, include_extras=True)


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    type(None): "None",
    Path: "a path",
    np.ndarray: "an array",
    Callable: "a function",
    dict: "a mapping of keys to values",
}
