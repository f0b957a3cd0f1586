"""The one way in: a method by its name, on a task by its id."""

from __future__ import annotations

import inspect
from typing import Any

from ....envs import FiniteTask, Task, TokenGymError, make_task
from ....envs.checking import unknown_name
from ..groups import number_of_groups
from .fitting import nearest_that_fits, number_of_episodes

MOST_GROUPS = 2_000_000
"""The most groups that a loss is run on."""

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
        known = [name for name in inspect.signature(audit_loss).parameters if name not in ("loss", "task")]
        for name in arguments:
            if name not in known:
                raise unknown_name("argument of audit_loss", name, known)
        size = arguments.get("group_size", 4)
        if found is not None and type(size) is int and size > 0:
            _require_groups(found, size)
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
        fits = nearest_that_fits(found, most)
        told = f"{fits}, fits" if fits else "none of its instances with one number less fits, KLTree with 256 does"
        raise TokenGymError(f"{found.name} has {count:.6g} episodes, of which {most:,} can be listed; {told}.")
    return found


def _require_groups(task: FiniteTask, size: int) -> None:
    """Raise where a task has more groups of a size than are listed: with both, and what would fit."""
    count = int(number_of_episodes(task))
    if (groups := number_of_groups(count, size)) <= MOST_GROUPS:
        return
    fitting = 1
    while fitting < count and number_of_groups(fitting + 1, size) <= MOST_GROUPS:
        fitting += 1
    fits = nearest_that_fits(task, fitting)
    told = f"{fits}, fits" if fits else "none of its instances with one number less fits"
    raise TokenGymError(
        f"{task.name} has {count:,} episodes and {groups:.4g} groups of {size}, of which {MOST_GROUPS:,} can be "
        f"listed; {told}; or take a smaller group_size."
    )
