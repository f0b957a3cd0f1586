"""Entry points: callables named by strings, for what a specification in JSON cannot hold and `envs` does not import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .errors import TokenGymError, unknown_name


def load_entry_point(kind: str, entry_point: Any) -> Callable[..., Any]:
    """Imports the callable that `"module:callable"` names. This runs code of that module.

    Args:
        kind: What it is for, such as `"reward"`: for the messages.
        entry_point: The module and, after a colon, the callable in it.

    Raises:
        TokenGymError: If there is none, or what is there cannot be called.
    """
    target = load_object(kind, entry_point)
    if not callable(target):
        raise TokenGymError(f"The {kind} entry point {entry_point!r} is a {type(target).__name__}, not a callable.")
    return target


def load_object(kind: str, entry_point: Any) -> Any:
    """Imports what `"module:qualname"` names, of whatever type it is. This runs code of that module.

    Raises:
        TokenGymError: If there is no such module, or nothing of that name in it.
    """
    module, _, attribute = str(entry_point).partition(":")
    try:
        target: Any = import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise TokenGymError(
            f"The {kind} entry point {entry_point!r} cannot be loaded: {error}. Expected 'module:callable', "
            f"importable from here."
        ) from error
    return target


def call_entry_point(kind: str, spec: Mapping[str, Any]) -> Callable[..., Any]:
    """Makes what `{"entry_point": "module:callable", "kwargs": {...}}` names.

    With `kwargs` the callable is called with them, and what it returns is wanted; without, the callable itself is.

    Raises:
        TokenGymError: As in `load_entry_point`, for another key, or if the call fails or returns no callable.
    """
    for key in spec:
        if key not in ("entry_point", "kwargs"):
            raise unknown_name(f"key of a {kind} entry point", key, ("entry_point", "kwargs"))
    target = load_entry_point(kind, spec["entry_point"])
    if "kwargs" not in spec:
        return target
    try:
        function = target(**spec["kwargs"])
    except Exception as error:
        raise TokenGymError(
            f"The {kind} entry point {spec['entry_point']!r} called with {spec['kwargs']!r} raised "
            f"{type(error).__name__}: {error}; give it the keyword arguments that it takes."
        ) from error
    if not callable(function):
        raise TokenGymError(
            f"The {kind} entry point {spec['entry_point']!r}, called with its kwargs, must give a {kind} function, "
            f"got {type(function).__name__}."
        )
    return function
