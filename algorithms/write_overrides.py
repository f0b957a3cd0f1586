"""Writes `configs.overrides`, which editors and type checkers read: ``python -m tokengym.algorithms.write_overrides``.

Nobody writes it by hand; a test fails where it is not what this would write.
"""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .configs import Config
from .registry import ALGORITHMS

PLACE = Path(__file__).parent / "configs" / "overrides.py"

_WIDTH = 120

_HEAD = '''"""The fields of each configuration as keywords, for editors and type checkers: what `**overrides` takes.

Written by `write_overrides` from the configurations, which say what each is for.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from .schedule import Schedule

# fmt: off
'''


def overrides_text() -> str:
    """Return the module: a TypedDict for each configuration of the registry and for all that they inherit from."""
    done: dict[str, str] = {}
    for name in ALGORITHMS.built_in:
        for kind in reversed(ALGORITHMS.config(name).__mro__):
            if issubclass(kind, Config) and kind is not Config and kind.__name__ not in done:
                done[kind.__name__] = _typed_dict(kind)
    return _HEAD + "".join(done.values())


def _typed_dict(kind: type[Config]) -> str:
    hints = get_type_hints(kind)
    bases = [base for base in kind.__bases__ if issubclass(base, Config) and base is not Config]
    inherited = {name: hint for base in bases for name, hint in get_type_hints(base).items()}
    if any(inherited.get(field.name, hints[field.name]) != hints[field.name] for field in dataclasses.fields(kind)):
        bases, inherited = [], {}  # a TypedDict may not say another type than its parent
    parents = ", ".join([*map(_name, bases), "total=False"] if bases else ["TypedDict", "total=False"])
    head = f"class {_name(kind)}({parents}):"
    if len(head) > _WIDTH:
        head = f"class {_name(kind)}(\n    {parents}\n):"
    lines = ["", head, f'    """Fields of `{kind.__name__}`."""']
    own = [field.name for field in dataclasses.fields(kind) if field.name not in inherited]
    lines += [f"    {name}: {_written(hints[name])}" for name in own]
    return "\n".join(lines) + "\n"


def _name(kind: type[Config]) -> str:
    return kind.__name__.removesuffix("Config") + "Overrides"


def _written(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(_quoted(choice) for choice in get_args(hint))}]"
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(_written(one) for one in get_args(hint))
    return "None" if hint is type(None) else hint.__name__


def _quoted(choice: Any) -> str:
    return f'"{choice}"' if isinstance(choice, str) else repr(choice)


if __name__ == "__main__":
    PLACE.write_text(overrides_text(), encoding="utf-8")
