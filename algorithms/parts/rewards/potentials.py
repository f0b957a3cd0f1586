"""Potentials Φ of the package's own, and how those of others are checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....envs import FiniteTask, Task, TokenGymError, solve
from ...data import Episodes


def optimal_values(task: Task) -> Callable[[Episodes], tuple[np.ndarray, np.ndarray]]:
    """Return Φ = V*, the task's exact optimal value: what is then earned for a token is Q* − V*, 0 for the best one.

    Raises:
        TokenGymError: the task cannot be solved.
    """
    if not isinstance(task.unwrapped, FiniteTask):
        raise TokenGymError(f"potentials is 'optimal', and {task.name!r} is not finite: its best values are not known")
    solution = solve(task)  # type: ignore[arg-type] # a transform of a finite task is one, or refused

    def potential(episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
        flat = episodes.flat
        before = solution.values(episodes.tokens[flat.row], flat.column.astype(np.int32))
        final = np.zeros(len(episodes))
        cut = np.flatnonzero(~flat.terminated)
        if len(cut):
            last = episodes.sequence_offsets[cut + 1] - 1
            final[cut] = solution.values(episodes.tokens[last], episodes.lengths[last])
        return before, final

    return potential


def checked_potentials(found: Any, episodes: Episodes, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what a potential gave, float64 (N,) and (E,) or None.

    Raises:
        TokenGymError: something else, or what is not finite.
    """
    before, final = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    wanted = (("before each token", before, episodes.num_tokens), ("in the final states", final, len(episodes)))
    given: list[np.ndarray | None] = []
    for what, values, count in wanted:
        if values is None and what != wanted[0][0]:
            given.append(None)
            continue
        try:
            array = np.asarray(values, np.float64)
        except (TypeError, ValueError) as error:
            raise TokenGymError(f"potentials {name!r}: {what} it gave no numbers: {error}") from error
        if array.shape != (count,) or not np.isfinite(array).all():
            raise TokenGymError(
                f"potentials {name!r}: {what} it gave {array.dtype} of shape {array.shape}; expected {count} finite "
                "numbers"
            )
        given.append(array)
    assert given[0] is not None
    return given[0], given[1]
