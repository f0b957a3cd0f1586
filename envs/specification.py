"""What a task was made from, written down in JSON: also functions, classes and objects, where a name finds them again.

`record` turns the arguments of a task into plain JSON data:

- what is JSON already stays; tuples and arrays become lists, paths become strings;
- an object with a method `to_spec()` is written as what that returns, such as the named reward rules;
- what a module holds under a name, a function, class or object, is written by that name. Where an argument takes names
  of callables itself (`Task.entry_point_arguments`, such as `reward`) that is the string `"module:qualname"`, elsewhere
  `{"$import": "module:qualname"}`, which `resolve` turns into the object;
- an argument with anything else in it (a lambda, a closure, a model) becomes the marker `{"$not_recorded": "what it
  was"}`. A task cannot be made from the marker: whoever makes it again gives the argument anew, by its name.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from .checking import TokenGymError, load_object

IMPORT, NOT_RECORDED = "$import", "$not_recorded"
"""The keys of the two markers; no argument of a task's own looks like them."""


def record(arguments: Mapping[str, Any], entry_points: Collection[str] = ()) -> dict[str, Any]:
    """Writes arguments down as JSON data.

    Args:
        arguments: The arguments by name.
        entry_points: The names of those that take the string `"module:qualname"` for a callable.
    """
    recorded = {}
    for name, value in arguments.items():
        try:
            recorded[name] = _plain(value, name in entry_points)
        except _CannotRecord as error:
            recorded[name] = {NOT_RECORDED: str(error)}
    return recorded


def missing_arguments(spec: Mapping[str, Any] | None) -> dict[str, str]:
    """Gives the arguments of a task's specification that could not be written down, and what they were.

    Args:
        spec: A task's `spec`: its `id` and `kwargs`; None has none.
    """
    kwargs = {} if spec is None else spec["kwargs"]
    return {name: str(value[NOT_RECORDED]) for name, value in kwargs.items() if _is_marker(value, NOT_RECORDED)}


def resolve(arguments: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Gives recorded arguments with the objects that they name, importing the modules of these.

    Args:
        arguments: The arguments by name, as they were given or as `record` wrote them.
        what: What is made of them, for messages.

    Raises:
        TokenGymError: For an argument that could not be recorded, or a name under which there is nothing.
    """
    missing = missing_arguments({"kwargs": arguments})
    if missing:
        raise TokenGymError(
            f"{what}: its specification could not hold "
            + ", ".join(f"{name} ({was})" for name, was in missing.items())
            + f": give {', '.join(f'{name}=…' for name in missing)} anew, or what can be imported by a name"
        )
    return {name: _resolved(value, name) for name, value in arguments.items()}


class RecordedSpec:
    """A Gymnasium environment's `spec` that can be written down: both faces of a task have it."""

    engine: Any
    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """What makes the environment again, with functions and objects by the name that imports them."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = recorded(spec, self.engine.task.spec)


def recorded(spec: EnvSpec | None, task_spec: Mapping[str, Any] | None) -> EnvSpec | None:
    """Gives Gymnasium's specification of an environment with arguments that its `to_json` can write.

    Args:
        spec: The specification that `gymnasium.make` gives an environment, or None.
        task_spec: The task's `spec`, whose arguments are recorded already.
    """
    if spec is None:
        return None
    known = {} if task_spec is None else task_spec["kwargs"]
    spec = copy.copy(spec)
    spec.kwargs = {name: known[name] if name in known else value for name, value in spec.kwargs.items()}
    return spec


def import_name(value: Any) -> str | None:
    """Gives the name `"module:qualname"` under which any process finds a function, class or object, or None.

    What stands in a script (`__main__`) has none, as another process has another script.
    """
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str):
        return f"{module}:{name}" if _is_there(module, name, value) else None
    # An object does not know its name: it is looked for where its class stands.
    module = type(value).__module__
    held = vars(sys.modules[module]) if module in sys.modules and module != "__main__" else {}
    return next((f"{module}:{name}" for name, other in held.items() if other is value), None)


class _CannotRecord(Exception):
    """Says what it is that JSON cannot hold."""


def _plain(value: Any, as_string: bool) -> Any:
    """Gives JSON data for a value; names of callables as a string or as the marker that `resolve` reads."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (np.bool_, np.integer, np.floating, np.ndarray)):
        return _plain(value.tolist(), as_string)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise _CannotRecord(f"a mapping with the key {next(k for k in value if not isinstance(k, str))!r}")
        # The keyword arguments of an entry point are whatever its callable takes.
        return {key: _plain(item, as_string and key != "kwargs") for key, item in value.items()}
    to_spec = None if isinstance(value, type) else getattr(value, "to_spec", None)
    if callable(to_spec):
        return _plain(to_spec(), as_string)
    if isinstance(value, (list, tuple)):
        return [_plain(item, as_string) for item in value]
    name = import_name(value)
    if name is None:
        raise _CannotRecord(_description(value))
    return name if as_string and callable(value) else {IMPORT: name}


def _resolved(value: Any, name: str) -> Any:
    if _is_marker(value, IMPORT):
        return load_object(name, value[IMPORT])
    if type(value) is dict:
        return {key: _resolved(item, name) for key, item in value.items()}
    if type(value) is list:
        return [_resolved(item, name) for item in value]
    return value


def _is_marker(value: Any, key: str) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get(key), str)


def _is_there(module: str, name: str, value: Any) -> bool:
    held: Any = sys.modules.get(module)
    if module == "__main__" or held is None or "<" in name:
        return False
    for part in name.split("."):
        held = getattr(held, part, None)
    # A class method is bound anew whenever it is looked up: two of them are equal, not the same.
    return held is value or (hasattr(value, "__self__") and isinstance(value.__self__, type) and held == value)


def _description(value: Any) -> str:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return (
            f"{'the function' if callable(value) and not isinstance(value, type) else 'the class'} {name} of {module}"
        )
    return f"an object of the class {type(value).__module__}.{type(value).__qualname__}"
