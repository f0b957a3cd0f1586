"""Short descriptions of objects by what they were made with, for their `repr`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_MOST_ITEMS = 3
_MOST_CHARACTERS = 40


class Made(tuple):
    """What a constructor was given, in words: positional and named arguments, as text alone.

    The arguments themselves may be large, or nothing that can be copied or pickled.
    """

    @classmethod
    def of(cls, arguments: Sequence[Any], named: Mapping[str, Any]) -> Made:
        """Return the description of a call's arguments."""
        return cls((tuple(map(brief, arguments)), tuple((name, brief(value)) for name, value in named.items())))

    def text(self, kind: type) -> str:
        """Return `kind(…)` with the arguments that are not the constructor's defaults; `task` without its name."""
        arguments, named = self
        signature = inspect.signature(kind.__init__)
        try:
            bound = signature.bind_partial(None, *arguments, **dict(named)).arguments
        except TypeError:  # a constructor that takes its arguments elsewhere
            return call(kind.__name__, arguments, dict(named))
        first, shown = [], {}
        for position, (name, value) in enumerate(bound.items()):
            parameter = signature.parameters[name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                first.extend(value if position else value[1:])
            elif parameter.kind is parameter.VAR_KEYWORD:
                shown.update(value)
            elif position == 1 and name == "task":
                first.append(value)
            elif position and (parameter.default is parameter.empty or value != brief(parameter.default)):
                shown[name] = value
        return call(kind.__name__, first, shown)


def noting(constructor: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that keeps what it is given as `_made`: the outermost one's, where they call one another.

    Its signature stays the constructor's own, which those who check arguments read. (A `__new__` that took everything
    would have Python take arguments that no constructor has.)
    """

    @functools.wraps(constructor)
    def noted(self: Any, *arguments: Any, **named: Any) -> None:
        if "_made" not in vars(self):
            self._made = Made.of(arguments, named)
        constructor(self, *arguments, **named)

    return noted


def call(name: str, arguments: Sequence[str] = (), named: Mapping[str, str] | None = None) -> str:
    """Return `name(argument, key=value)`."""
    return f"{name}({', '.join([*arguments, *(f'{key}={value}' for key, value in (named or {}).items())])})"


def brief(value: Any) -> str:
    """Return a value as short text: what is long is cut, what is no plain data is named by its kind."""
    if isinstance(value, str):
        return repr(value if len(value) <= _MOST_CHARACTERS else value[:_MOST_CHARACTERS] + "…")
    if value is None or isinstance(value, (bool, int, float)):
        text = repr(value)
        return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
    if isinstance(value, Mapping):
        items = [f"{brief(key)}: {brief(value[key])}" for key in list(value)[:_MOST_ITEMS]]
        return "{" + ", ".join(items + ["…"] * (len(value) > _MOST_ITEMS)) + "}"
    if isinstance(value, (list, tuple)):
        items = ", ".join([*map(brief, value[:_MOST_ITEMS]), *["…"] * (len(value) > _MOST_ITEMS)])
        return f"[{items}]" if isinstance(value, list) else f"({items}{',' * (len(value) == 1)})"
    if type(value).__module__.startswith("tokengym.") and "__repr__" in _own(type(value)):
        return repr(value)
    named = getattr(value, "__qualname__", None)
    return named if isinstance(named, str) else f"<{type(value).__name__}>"


def face_text(env: Any, **more: Any) -> str:
    """Return a Gymnasium face's task and its arguments other than None and False."""
    given = {**more, "render_mode": env.render_mode, "action_masks": env.shows_action_masks}
    named = {name: brief(value) for name, value in given.items() if value not in (None, False)}
    return call(type(env).__name__, [repr(env.task)], named)


def _own(kind: type) -> set[str]:
    """Return the names that this package's classes among the bases define."""
    return {name for base in kind.__mro__ if base.__module__.startswith("tokengym.") for name in vars(base)}
