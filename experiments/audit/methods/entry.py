"""The one way in: a method by its name, on a task by its id."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ....envs import FiniteTask, Task, TokenGymError, make_task

MOST_EPISODES = 2_000
"""The largest task that is audited; methods that compare groups stop earlier."""


def audit(method: Any, task: Any = None, **arguments: Any) -> Any:
    """Say what a method or a loss does in expectation.

    Args:
        method: a name in `ALGORITHMS` or a registered class; or a loss, a function of log-probabilities and rewards.
        task: a finite task, or the id of one; None is a small tree.
        **arguments: of `audit_method`, or of `audit_loss`.

    Raises:
        TokenGymError: the task is not finite, or too large; see both.
    """
    # Late, for these need torch, and the command line's help does not.
    from ..verdicts import audit_loss
    from .auditing import audit_method

    found = None if task is None else listable(task)
    if callable(method) and not isinstance(method, type):
        if "claim" in arguments:  # as methods have it
            arguments["objective"] = arguments.pop("claim")
        return audit_loss(method, task=found, **arguments)  # pyright: ignore[reportArgumentType]
    return audit_method(method, found, **arguments)


def listable(task: Any, most: int = MOST_EPISODES, **arguments: Any) -> FiniteTask:
    """Return a task that can be listed.

    Args:
        task: a finite task, or an id.
        most: the most episodes that it may have.
        **arguments: of the task, where an id is given.

    Raises:
        TokenGymError: it is not finite; or has more episodes, and then it is said how many, and what would fit.
    """
    found = task if isinstance(task, Task) else make_task(task, **arguments)
    if not isinstance(found, FiniteTask):
        raise TokenGymError(f"{found.name} is not a finite task, whose episodes could be listed; take KLTree or Copy.")
    if found.context != "episode":
        raise TokenGymError(
            f"{found.name} has context {found.context!r}; episodes are listed of context 'episode' only: take KLTree."
        )
    count = number_of_episodes(found)
    if count > most:
        fits = _nearest(found, most)
        told = f"{fits} fits" if fits else "none of its instances with one number less fits, KLTree with 256 does"
        raise TokenGymError(f"{found.name} has {count:.6g} episodes, of which {most:,} can be listed; {told}.")
    return found


def number_of_episodes(task: FiniteTask) -> float:
    """How many different episodes a task has, without listing them."""
    arrays = task.arrays
    possible = arrays.probability > 0
    states, _, _ = np.nonzero(possible)
    following = arrays.next[possible]
    waiting = np.zeros(arrays.num_states + 1)
    np.add.at(waiting, arrays.initial_state[arrays.initial_probability > 0], 1.0)
    ended = 0.0
    while waiting[:-1].any() and ended < 1e300:
        after = np.zeros_like(waiting)
        np.add.at(after, following, waiting[states])
        ended += after[-1]
        waiting = np.append(after[:-1], 0.0)
    return ended


def _nearest(task: FiniteTask, most: int) -> str | None:
    """The largest instance of a task that can be listed and has one whole number less than it has, if there is one."""
    kind = type(task)
    names = [
        name
        for name in inspect.signature(kind).parameters
        if type(getattr(task, name, None)) is int and name != "instance_seed" and not name.startswith("_")
    ]
    best: tuple[float, str] | None = None
    for name in names:
        for value in range(getattr(task, name) - 1, 0, -1):
            try:
                smaller: Any = kind(**{**{other: getattr(task, other) for other in names}, name: value})
                count = number_of_episodes(smaller)
            except TokenGymError:
                break
            if count <= most:
                if best is None or count > best[0]:
                    best = count, f"{task.name} with {name}={value}, {count:,.0f} episodes,"
                break
    return None if best is None else best[1]
