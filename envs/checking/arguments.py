"""Arguments checked against what a function's annotations say, before its body sees them.

    @checked
    def train(tokens: Count, seed: Seed = 0, device: str = "cpu") -> None: ...

    train(True)  # TokenGymError: tokens is True; expected a whole number …

What `envs.fields` does for the fields of a dataclass, with the same words and as strictly. Arrays, tensors and whatever
is annotated with a name that only type checkers import are left to the function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

from .fields import Range, check_value

_CHECKED: list[Callable[..., Any]] = []
P = ParamSpec("P")
R = TypeVar("R")

Count = Annotated[int, Range(least=1, most=10**15)]
"""How many there are to be."""
Total = Annotated[int, Range(least=1, most=10**15, whole_floats=True)]
"""A budget, which people write as 1e5."""
Seed = Annotated[int, Range(least=0, most=2**63 - 1)]
"""What draws begin from: what every generator takes and every file can hold."""
Positive = Annotated[float, Range(above=0)]
"""A number above 0."""
NotNegative = Annotated[float, Range(least=0)]
"""A number of at least 0."""
Share = Annotated[float, Range(least=0, most=1)]
"""A part of a whole, a probability or a discount."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check every call's arguments against the annotations of the function; NumPy's scalars become Python's.

    Not for what is called for every token: it takes a few microseconds an argument.

    Raises:
        TokenGymError: by the function: a value of a wrong type or out of range.
    """
    signature = inspect.signature(function)
    variadic = {p.name for p in signature.parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        hints = _hints(function)
        for name, value in bound.arguments.items():
            if name in hints and name not in variadic:
                bound.arguments[name] = check_value(name, hints[name], value)
        return function(*bound.args, **bound.kwargs)

    _CHECKED.append(call)
    return call


def checked_functions() -> tuple[Callable[..., Any], ...]:
    """Return all functions that `checked` was put on, as far as their modules are imported."""
    return tuple(_CHECKED)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations by which `checked` checks the arguments of a function."""
    return _hints(inspect.unwrap(function))


@lru_cache(maxsize=1024)
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations; what is named in them and only imported for type checkers is taken for anything."""
    missing: dict[str, Any] = {}
    while True:
        try:
            return get_type_hints(function, localns=missing, include_extras=True)
        except NameError as error:
            if error.name is None:
                raise
            missing[error.name] = Any
