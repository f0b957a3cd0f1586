"""Entry points: callables named by strings, for what a specification in JSON cannot hold and `envs` does not import.

Every import of a module that a string names goes through here, and with it the question whether the string may: one
that stands in a program, on the command line or in a study file is the user's own; one that stands in a checkpoint or
run folder may be a stranger's, and is read under `untrusted`.
"""

from __future__ import annotations

import functools
import importlib
import site
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .errors import TokenGymError, unknown_name

AllowImports = bool | Collection[str]
"""What a file may import: nothing, everything, or the modules of these names and what lies below them."""

_OWN = (
    "tokengym.algorithms.self_play:checkpoint_policy",
    "tokengym.algorithms.reward_models.loading:load_reward_model",
)
"""Entry points of this package that any file may name. Not all of it: `cli:main`, say, runs what its arguments say."""

_OWN_RULES = "tokengym.envs.rewards.rules"
"""The module whose own classes any file may name, too: rules without side effects."""


class _Source(NamedTuple):
    """A file whose strings are read: what to call it, and what it may import."""

    name: str
    allowed: AllowImports


_reading: ContextVar[_Source | None] = ContextVar("reading", default=None)


@contextmanager
def untrusted(source: str, allow_imports: AllowImports = False) -> Iterator[None]:
    """Within it, strings come from a file that may be a stranger's, and import nothing that the user did not allow.

    Allowed is what `allow_imports` says, and what the user's own program has imported already: a module outside the
    standard library and the installed packages. (`subprocess` and the like are always imported by somebody.) Where one
    file names another, what the first may not do the second may not either.

    Args:
        source: How messages call the file, such as `"the checkpoint runs/a"`.
        allow_imports: True, or the names of the modules that the file may import.
    """
    outer = _reading.get()
    if not isinstance(allow_imports, bool):
        allow_imports = (allow_imports,) if isinstance(allow_imports, str) else tuple(allow_imports)
    token = _reading.set(_Source(source, allow_imports if outer is None else outer.allowed))
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def trusted() -> Iterator[None]:
    """Within it, strings are the user's own again, such as those that their program registered."""
    token = _reading.set(None)
    try:
        yield
    finally:
        _reading.reset(token)


def check_import(kind: str, text: object, module: str) -> None:
    """Refuses to import `module` on behalf of the string `text`, where a file that may not says so.

    Raises:
        TokenGymError: As said; the message has the string and how to allow it.
    """
    if not _is_allowed(module) and not _is_users_own(module):
        raise _refusal(kind, text)


def import_module(name: str, kind: str = "module", text: object = None) -> ModuleType:
    """Imports a module by its dotted name, where whoever names it may. This runs code of that module.

    Args:
        name: The module.
        kind: What it is for, such as `"environment"`: for the messages.
        text: The whole string that names it, where that is more than its name.

    Raises:
        TokenGymError: If there is no such module, it cannot be imported, or a file names it that may not.
    """
    check_import(kind, name if text is None else text, name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise TokenGymError(f"module {name!r} cannot be imported: {error}") from error
        raise TokenGymError(
            f"there is no module {name!r} here: run from its folder, put that on PYTHONPATH, or install the module"
        ) from None
    except (ImportError, TypeError, ValueError) as error:  # a TypeError where the name begins with a dot
        raise TokenGymError(f"module {name!r} cannot be imported: {error}") from error


def load_entry_point(kind: str, entry_point: Any) -> Callable[..., Any]:
    """Imports the callable that `"module:callable"` names. This runs code of that module.

    Args:
        kind: What it is for, such as `"reward"`: for the messages.
        entry_point: The module and, after a colon, the callable in it.

    Raises:
        TokenGymError: If there is none, what is there cannot be called, or a file names it that may not.
    """
    target = load_object(kind, entry_point)
    if not callable(target):
        raise TokenGymError(f"The {kind} entry point {entry_point!r} is a {type(target).__name__}, not a callable.")
    return target


def load_object(kind: str, entry_point: Any) -> Any:
    """Imports what `"module:qualname"` names, of whatever type it is. This runs code of that module.

    Raises:
        TokenGymError: If there is no such module, nothing of that name in it, or a file names it that may not.
    """
    module, _, attribute = str(entry_point).partition(":")
    own = entry_point in _OWN or module == _OWN_RULES
    if not own:
        check_import(f"{kind} entry point", entry_point, module)
    try:
        target: Any = importlib.import_module(module)
        for part in attribute.split("."):
            if isinstance(target, ModuleType) and target.__name__ != module and not _is_allowed(target.__name__):
                raise _refusal(f"{kind} entry point", entry_point)  # `my_module:os.system`
            target = getattr(target, part)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        if isinstance(error, TokenGymError):
            raise
        raise TokenGymError(
            f"The {kind} entry point {entry_point!r} cannot be loaded: {error}. Expected 'module:callable', "
            f"importable from here."
        ) from error
    # `my_module:getoutput`, which that module imported. An object that the module made is its own.
    defined_in = getattr(target, "__module__", None) if hasattr(target, "__qualname__") else module
    if not (_is_allowed(module) or _is_users_own(str(defined_in)) or (own and defined_in == module)):
        raise _refusal(f"{kind} entry point", entry_point)
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


def _is_allowed(module: str) -> bool:
    """Whether whoever is read now may import the module: always where the user's own program names it."""
    source = _reading.get()
    if source is None or isinstance(source.allowed, bool):
        return source is None or bool(source.allowed)
    return any(f"{module}.".startswith(f"{name}.") for name in source.allowed)


def _is_users_own(name: str) -> bool:
    """Whether the user's program has imported the module, and it is neither Python's nor an installed package's."""
    module = sys.modules.get(name)
    top = name.partition(".")[0]
    if module is None or top == "tokengym" or (top in sys.stdlib_module_names and name != "__main__"):
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return name == "__main__"  # typed in, as in a notebook
    return not any(Path(file).resolve().is_relative_to(folder) for folder in _installed())


@functools.cache
def _installed() -> tuple[Path, ...]:
    """The folders of Python's own modules and of installed packages."""
    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*getattr(site, "getsitepackages", list)(), site.getusersitepackages()]
    return tuple({Path(folder).resolve() for folder in folders})


def _refusal(kind: str, text: object) -> TokenGymError:
    source = _reading.get()
    name = "it" if source is None else source.name
    return TokenGymError(
        f"{name} names the {kind} {text!r}, which would run code of that module; nothing was imported. If you trust "
        "who wrote it, allow it: --allow-imports on the command line, allow_imports=True in Python; or import the "
        "module in your own program first."
    )
