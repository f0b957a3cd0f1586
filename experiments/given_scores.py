"""Scores as they are given: arrays or lists of finite numbers, checked before anything is computed from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..envs import TokenGymError
from ..envs.checking import shown

Scores = Sequence[np.ndarray]
"""One float array of runs for each task."""


def tasks_of(scores: Scores) -> list[np.ndarray]:
    """Return the finite scores of each task as float64.

    Raises:
        TokenGymError: no task, a task without scores, or something that is no list of runs.
    """
    if isinstance(scores, (str, bytes)) or not isinstance(scores, (Sequence, np.ndarray)):
        raise TokenGymError(f"scores are {shown(scores)}; expected one list of runs for each task")
    if not len(scores):
        raise TokenGymError("an aggregate needs the scores of at least one task, got none")
    tasks = []
    for index, given in enumerate(scores):
        runs = numbers_of(f"task {index}: scores", given, empty="leave the task out or run it again")
        if runs.ndim != 1:
            raise TokenGymError(
                f"task {index}: scores have shape {runs.shape}; expected (runs,): one list of runs for each "
                "task, [runs] where there is one task"
            )
        tasks.append(runs)
    return tasks


def numbers_of(
    what: str, given: np.ndarray, axis: int = -1, empty: str = "give at least one", finite: bool = True
) -> np.ndarray:
    """Return numbers as float64, finite ones unless ``finite`` is False; bools and texts are none.

    Raises:
        TokenGymError: others are among them, or none along the axis, or there is no such axis.
    """
    try:
        plain = np.asarray(given)
    except ValueError:  # ragged lists
        plain = np.array(None)
    if not plain.ndim or (plain.dtype.kind not in "iuf" and plain.size):
        raise TokenGymError(f"{what} are {shown(given)}; expected a list of numbers")
    numbers = plain.astype(np.float64)
    if not -numbers.ndim <= axis < numbers.ndim:
        raise TokenGymError(f"axis is {axis}; expected one of {what}, which have shape {numbers.shape}")
    if not numbers.shape[axis]:
        raise TokenGymError(f"{what} are empty; {empty}")
    if finite and not np.isfinite(numbers).all():
        raise TokenGymError(f"{what} are not all finite numbers: {shown(given)}")
    return numbers
