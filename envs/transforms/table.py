"""The transforms by the names that they have in JSON."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..checking import TokenGymError, check_value, unknown_name
from ..task import Task
from .clock import clock
from .delay import reward_delay
from .history import reward_model
from .limit import TimeLimit
from .redistribution import redistribute
from .rewards import reward_noise, reward_scale
from .shaping import potential_shaping
from .words import allowed_words

TRANSFORMS: dict[str, Callable[..., Task]] = {
    "allowed_words": allowed_words,
    "clock": clock,
    "potential_shaping": potential_shaping,
    "redistribute": redistribute,
    "reward_delay": reward_delay,
    "reward_model": reward_model,
    "reward_noise": reward_noise,
    "reward_scale": reward_scale,
    "time_limit": TimeLimit,
}
"""The transforms by the names that they have in JSON."""


def apply_transforms(task: Task, transforms: Sequence[Mapping[str, Any]]) -> Task:
    """Puts transforms around a task, the first one innermost.

    Args:
        task: The task.
        transforms: For each transform a mapping with its `name` and its arguments, as
            `{"name": "time_limit", "max_tokens": 50}`.

    Raises:
        TokenGymError: For an unknown name, with the nearest ones, or arguments that the transform does not take.
    """
    check_transforms(transforms)
    for transform in transforms:
        arguments = {key: value for key, value in transform.items() if key != "name"}
        task = TRANSFORMS[transform["name"]](task, **arguments)
    return task


def check_transforms(transforms: Any) -> None:
    """Raises `TokenGymError` for transforms of unknown names, or with arguments that they do not take."""
    if not isinstance(transforms, Sequence) or isinstance(transforms, str):
        raise TokenGymError(f"transforms={transforms!r}: give a list of mappings, each with a name and its arguments")
    for transform in transforms:
        if not isinstance(transform, Mapping) or "name" not in transform:
            raise TokenGymError(f"transform {transform!r}: give a mapping with a name and its arguments")
        arguments = {key: value for key, value in transform.items() if key != "name"}
        name = transform["name"]
        if not isinstance(name, str) or name not in TRANSFORMS:
            raise unknown_name("transform", name, TRANSFORMS)
        check_arguments(f"transform {name!r}", TRANSFORMS[name], (None,), arguments)


def check_arguments(what: str, maker: Callable[..., Any], given: tuple[Any, ...], arguments: Mapping[str, Any]) -> None:
    """Raises `TokenGymError`, with the nearest names, if `maker` cannot be called with the arguments."""
    signature = inspect.signature(maker)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        known = list(signature.parameters)[len(given) :]
        for name in arguments:
            if name not in known:
                raise unknown_name(f"argument of {what}:", name, known)
    try:
        signature.bind(*given, **arguments)
    except TypeError as error:
        raise TokenGymError(f"{what}: {error}; its arguments are {signature}") from None


def types_fit(maker: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Returns False if an argument is not what `maker` declares.

    Asked only where the annotation has plain types, whose meaning is certain: texts, numbers, true and false, None, and
    lists of them.
    """
    hints = _hints(maker)
    try:
        for name, value in arguments.items():
            if name in hints and _is_plain(hints[name]) and not _names_object(value):
                check_value(name, hints[name], value)
    except TokenGymError:
        return False
    return True


def _hints(maker: Callable[..., Any]) -> dict[str, Any]:
    """Returns the annotations of what `maker` takes; none where they cannot be told."""
    try:
        return get_type_hints(maker.__init__ if isinstance(maker, type) else maker, include_extras=True)
    except (NameError, TypeError, AttributeError):  # names that only a type checker imports; no function
        return {}


def _is_plain(annotation: Any) -> bool:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _is_plain(inner[0])
    if origin in (Union, types.UnionType, list, tuple, Sequence):
        return all(_is_plain(one) for one in inner if one is not Ellipsis)
    return origin is Literal or annotation in (int, float, str, bool, type(None))


def _names_object(value: Any) -> bool:
    """Whether a value stands for what it names, as a specification writes down what JSON cannot hold."""
    return isinstance(value, Mapping) and any(key == "entry_point" or str(key).startswith("$") for key in value)
