"""What the source says of a configuration's fields and of an algorithm's methods, as rows for a page."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from ...algorithms import Schedule
from ...algorithms.configs import Config
from ...envs.checking import described

HOOKS = ("collect", "next_batch", "update", "prepare", "advantages", "judge", "targets", "loss", "after_step")
"""The methods of an algorithm that a reader looks for, in the order in which they are called."""
UNIONS = (types.UnionType, Union)


class Field(NamedTuple):
    """One field of a configuration.

    Attributes:
        name: as it is set.
        default: as Python writes it.
        takes: types, choices and bounds, in words.
        meaning: what the source says of it, in one line.
        owner: the class that declares it last.
    """

    name: str
    default: str
    takes: str
    meaning: str
    owner: type[Config]


class Place(NamedTuple):
    """A method, the file in which it stands, and what it does."""

    name: str
    path: Path
    summary: str


def fields_of(kind: type[Config]) -> list[Field]:
    """Return every field of a configuration in the order of its own classes first, then what it inherits."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for field in dataclasses.fields(kind):
        owner, meaning = said_of(kind, field.name)
        found.append(Field(field.name, written(field.default), taken(hints[field.name]), meaning, owner))
    order = [one for one in kind.__mro__ if one is not object]
    return sorted(found, key=lambda field: order.index(field.owner))


def said_of(kind: type[Config], name: str) -> tuple[type[Config], str]:
    """Return the class that declares a field last, and the text below the declaration."""
    for owner in kind.__mro__:
        if name in attribute_texts(owner):
            return owner, attribute_texts(owner)[name]
    raise LookupError(f"{kind.__name__}.{name} has no text below it")


@cache
def attribute_texts(kind: type) -> dict[str, str]:
    """Return the texts below the annotated names of a class's own body, each in one line."""
    if kind is object:
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                texts[before.target.id] = " ".join(after.value.value.split())
    return texts


def taken(hint: Any) -> str:
    """Return what a field takes: "a number of at least 0", `"token"` or `"sequence"`, a schedule, None."""
    if hint is type(None):
        return "None"
    if hint is Schedule:
        return "a schedule"
    if get_origin(hint) is Literal:
        return ", ".join(f"`{written(value)}`" for value in get_args(hint))
    parts = get_args(hint)
    if parts and not hasattr(hint, "__metadata__"):
        return " or ".join(dict.fromkeys(taken(part) for part in parts)) if get_origin(hint) in UNIONS else str(hint)
    if hint is str:
        return "a name"
    return described(hint)


def written(value: Any) -> str:
    """Return a value as one sets it; schedules as their texts."""
    return f'"{value}"' if isinstance(value, (str, Schedule)) else repr(value)


def places_of(algorithm: type, root: Path) -> list[Place]:
    """Return where the methods of `HOOKS` stand that an algorithm has of this package, its own first."""
    places = []
    for name in HOOKS:
        method = inspect.getattr_static(algorithm, name, None)
        method = inspect.unwrap(method) if callable(method) else None
        if method is None or not hasattr(method, "__code__"):
            continue
        path = Path(method.__code__.co_filename)
        if not path.is_relative_to(root):
            continue
        summary = (inspect.getdoc(method) or inspect.getdoc(getattr(algorithm, name)) or "").split("\n")[0]
        places.append(Place(method.__qualname__, path.relative_to(root), summary))
    return places
