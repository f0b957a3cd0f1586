"""A configuration as flags: what is checked when it is built is not checked by tyro, and a schedule is a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_type_hints

from tyro.constructors import PrimitiveConstructorSpec

from ...algorithms import Schedule
from ...algorithms.configs import Config


def as_flags(kind: type[Config]) -> type[Config]:
    """Return a configuration class for `tyro.cli`, whose values are checked only by building ``kind`` of them.

    Inside tyro an error would become a box of its own making.
    """
    hints = get_type_hints(kind)
    body: dict[str, Any] = {"__annotations__": {}}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        optional = type(None) in get_args(hint)
        if Schedule in get_args(hint):
            read = _coefficient(optional)
        elif hint in (str, str | None):
            read = _name(optional)
        else:
            continue
        body[field.name] = field.default
        body["__annotations__"][field.name] = Annotated[Any, read]
    body["__post_init__"] = lambda self: None
    unchecked = type(kind.__name__, (kind,), {**body, "__doc__": kind.__doc__, "__module__": kind.__module__})
    return dataclasses.dataclass(frozen=True, kw_only=True)(unchecked)


def with_truths(arguments: Sequence[str], *kinds: type[Any]) -> list[str]:
    """Let ``--double false`` say what ``--no-double`` does, as files, studies and pages write it.

    Args:
        arguments: the words of the command.
        kinds: dataclasses whose fields are flags.
    """
    hints = {name: hint for kind in kinds for name, hint in get_type_hints(kind).items() if hint in (bool, bool | None)}
    flags = {f"--{name.replace('_', '-')}": hint for name, hint in hints.items()}
    words, said = list(arguments), []
    while words:
        word = words.pop(0)
        flag, joined, value = word.partition("=")
        flag = flag.replace("_", "-")
        truth = (value if joined else words[0] if words else "").lower()
        if flag not in flags or truth not in ("true", "false"):
            said.append(word)
            continue
        if not joined:
            words.pop(0)
        if flags[flag] is bool:
            said.append(flag if truth == "true" else f"--no-{flag.removeprefix('--')}")
        else:
            said += [flag, truth.title()]
    return said


def _name(optional: bool) -> PrimitiveConstructorSpec[Any]:
    """Read a text, which tyro calls STR."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{None}|NAME" if optional else "NAME",
        instance_from_str=lambda words: None if optional and words[0] == "None" else words[0],
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


def _coefficient(optional: bool) -> PrimitiveConstructorSpec[Any]:
    def read(words: list[str]) -> Any:
        text = words[0].strip()
        if text.endswith(")"):
            return text  # the configuration reads it, and says what is wrong with it
        return None if optional and text == "None" else float(text)

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{None}|FLOAT|SCHEDULE" if optional else "FLOAT|SCHEDULE",
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )
