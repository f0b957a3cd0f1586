"""Checks of what `set_state` is given, all of them made before anything changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from .checking import TokenGymError, finite_number, whole_number
from .outcomes import State
from .vocabulary import Vocabulary

Limits = Mapping[str, tuple[int, int]]
"""The lowest and the highest value of arrays of integers, by the names of the arrays."""

_LARGEST_STREAM = 2**64 - 1
_KINDS = {"b": "True or False", "i": "whole numbers", "u": "whole numbers", "f": "finite numbers"}


class Savable(Protocol):
    """What the checks ask of a task."""

    name: str
    spec: dict[str, Any] | None
    max_length: int
    vocabulary: Vocabulary

    def check_saved(self, state: State, saved: Any, over: bool) -> None:
        """See `Task.check_saved`."""
        ...


def check_row(task: Savable, state: State, saved: Any) -> None:
    """Raises `TokenGymError` unless `saved` can be one row of an engine: what `Engine.get_state` returned.

    Args:
        task: The engine's task.
        state: The engine's state, whose arrays have the shapes and types that are expected.
        saved: What was given.
    """
    check_keys("a state from get_state", saved, {"name", "task", "tokens", "over", "random"}, {"spec"})
    if not isinstance(saved["name"], str) or saved["name"] != task.name:
        raise TokenGymError(f"this is a state of the task {saved['name']}: give one of {task.name}")
    spec = saved.get("spec")
    if spec is not None:
        check_keys("a state's spec", spec, {"id", "kwargs"})
    if spec is not None and task.spec is not None and _differ(spec, task.spec):
        raise TokenGymError(
            f"this is a state of the task {_made_by(spec)}: give one of {_made_by(task.spec)}, which this is"
        )
    over = saved["over"]
    if not isinstance(over, (bool, np.bool_)):
        raise TokenGymError(f"the state's over={over!r}: it must be True or False")
    _check_tokens(task, saved["tokens"], bool(over))
    check_keys("the state's random stream", saved["random"], {"start", "position"})
    for name, value in saved["random"].items():
        if whole_number(f"the state's random {name}", value) > _LARGEST_STREAM:
            raise TokenGymError(f"the state's random {name}={value} is too large: it must be below 2**64")
    task.check_saved(state, saved["task"], bool(over))


def check_keys(what: str, given: Any, keys: set[str], optional: Collection[str] = ()) -> None:
    """Raises `TokenGymError` unless `given` is a dictionary with these keys and no other but optional ones."""
    if not isinstance(given, dict):
        raise TokenGymError(f"{what} is a dictionary, got a {type(given).__name__}; give what get_state returned")
    if keys - set(given):
        lacking = ", ".join(sorted(keys - set(given)))
        raise TokenGymError(f"this is not {what}: it lacks {lacking}; give what get_state returned")
    more = set(given) - keys - set(optional)
    if more:
        raise TokenGymError(f"this is not {what}: it has {', '.join(sorted(map(repr, more)))} too many")


def check_arrays(task_name: str, saved: Any, like: State, limits: Limits) -> None:
    """Raises `TokenGymError` unless `saved` has one row of each array of `like`, within the limits.

    Args:
        task_name: Whose state it is, for the messages.
        saved: What was given, a dictionary of values.
        like: The arrays of all rows.
        limits: What is known of the values of arrays of integers.
    """
    check_keys(f"a state of {task_name}", saved, set(like))
    for key, array in like.items():
        if array.dtype == object:
            continue
        what = f"the state's {key!r} of {task_name}"
        shape, kind = array.shape[1:], array.dtype.kind
        try:
            value = np.asarray(saved[key])
        except (ValueError, TypeError, OverflowError):  # ragged, or a stranger's object
            value = np.empty(0, object)
        if kind not in _KINDS:
            continue
        fits = value.dtype.kind == "b" if kind == "b" else value.dtype.kind in ("iuf" if kind == "f" else "iu")
        if value.shape != shape or not fits:
            raise TokenGymError(f"{what} must be {_KINDS[kind]} of shape {shape}, got {_short(saved[key])}")
        if kind == "f":
            if not np.isfinite(value).all():
                raise TokenGymError(f"{what} must be finite numbers, got {_short(saved[key])}")
        elif kind != "b" and value.size:
            bounds = np.iinfo(array.dtype)
            low, high = limits.get(key, (int(bounds.min), int(bounds.max)))
            if int(value.min()) < low or int(value.max()) > high:
                raise TokenGymError(f"{what} must lie in {low} … {high}, got {_short(saved[key])}")


def check_face(saved: Any) -> None:
    """Raises `TokenGymError` unless the parts of a `TokenEnv`'s state beside its engine's are what they must be."""
    check_keys("a state from get_state", saved, {"engine", "seed", "episode", "reward"})
    if saved["seed"] is not None:
        whole_number("the state's seed", saved["seed"])
    whole_number("the state's episode", saved["episode"])
    if saved["reward"] is not None:
        finite_number("the state's reward", saved["reward"])


def _check_tokens(task: Savable, tokens: Any, over: bool) -> None:
    known = isinstance(tokens, (list, tuple, np.ndarray)) and len(tokens) > 0
    try:
        ids = np.asarray(tokens) if known else np.empty(0)
    except (ValueError, TypeError, OverflowError):
        ids = np.empty(0)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TokenGymError(f"the state's tokens must be a list of token ids, got {_short(tokens)}")
    size = task.vocabulary.size
    if int(ids.min()) < 0 or int(ids.max()) >= size:
        raise TokenGymError(f"the state's tokens must lie in 0 … {size - 1}, got {_short(tokens)}")
    if ids[0] != task.vocabulary.bos:
        raise TokenGymError(
            f"the state's tokens begin with {int(ids[0])}, but all begin with bos ({task.vocabulary.bos})"
        )
    # A context that is full has cut the episode.
    most = task.max_length if over else task.max_length - 1
    if len(ids) > most:
        raise TokenGymError(f"the state has {len(ids)} tokens, of {most} at most: it belongs to another task")


def _differ(first: Any, second: Any) -> bool:
    """Whether two arguments of tasks differ, as far as can be told.

    Only what JSON knows can be compared: a tokenizer and its copy, for one, are different objects.
    """
    plain = (str, int, float, dict, list, tuple, type(None))
    if not isinstance(first, plain) or not isinstance(second, plain):
        return isinstance(first, plain) != isinstance(second, plain)
    if isinstance(first, dict) and isinstance(second, dict):
        return set(first) != set(second) or any(_differ(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) != len(second) or any(map(_differ, first, second))
    return type(first) is not type(second) or first != second


def _made_by(spec: Any) -> str:
    if not isinstance(spec, dict):
        return _short(spec)
    return f"{spec.get('id')!r} with {_short(spec.get('kwargs'))}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} …"


def is_index(value: Any, size: int) -> bool:
    """Whether a value is a whole number in 0 … size − 1."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= int(value) < size
