"""Names of a package that are imported when they are first asked for, because what they need takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a package with names that are imported when asked for.

    Args:
        package: its ``__name__``.
        modules: the module below the package that holds each name; an empty one stands for a module of that name.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = import_module(f"{package}.{modules[name] or name}")
        return getattr(found, name) if modules[name] else found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
