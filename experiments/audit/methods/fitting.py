"""How many episodes a task has, and the instance of it nearest to what can be listed."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ....envs import FiniteTask, TokenGymError


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


def nearest_that_fits(task: FiniteTask, most: int) -> str | None:
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
                    best = count, f"{task.name} with {name}={value}, {count:,.0f} episodes"
                break
    return None if best is None else best[1]
