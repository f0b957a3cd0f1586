"""The transforms by the names that they have in JSON."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import TokenGymError, unknown_name
from ..task import Task
from .clock import clock
from .delay import reward_delay
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
    if not isinstance(transforms, Sequence) or isinstance(transforms, str):
        raise TokenGymError(f"transforms={transforms!r}: give a list of mappings, each with a name and its arguments")
    for transform in transforms:
        if not isinstance(transform, Mapping) or "name" not in transform:
            raise TokenGymError(f"transform {transform!r}: give a mapping with a name and its arguments")
        arguments = {key: value for key, value in transform.items() if key != "name"}
        name = transform["name"]
        if not isinstance(name, str) or name not in TRANSFORMS:
            raise unknown_name("transform", name, TRANSFORMS)
        check_arguments(f"transform {name!r}", TRANSFORMS[name], (task,), arguments)
        task = TRANSFORMS[name](task, **arguments)
    return task


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
