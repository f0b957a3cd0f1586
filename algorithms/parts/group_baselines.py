"""What an episode is compared with: the others of its group, at the level of episodes and of steps; on flat arrays."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .advantages import NEGLIGIBLE

GroupBaseline = Literal["none", "mean", "leave_one_out", "length", "second_best"]
"""What a return is measured from, see `group_advantages`."""

StepBaseline = Literal["none", "mean", "leave_one_out", "optimal"]
"""What a return is measured from, see `step_baselines`."""

GroupScale = Literal["none", "std", "mean"]
"""What the difference is divided by."""


def group_numbers(starts: np.ndarray) -> np.ndarray:
    """Return the group of each episode, int64 (E,) from 0: those that share a start and follow one another."""
    begins = np.ones(len(starts), bool)
    begins[1:] = starts[1:] != starts[:-1]
    return np.cumsum(begins) - 1


def tied(returns: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return whether all returns of a group are equal, bool a group."""
    sizes = np.bincount(group)
    means = np.bincount(group, weights=returns) / sizes
    spread = np.sqrt(np.bincount(group, weights=(returns - means[group]) ** 2) / sizes)
    largest = np.zeros(len(sizes))
    np.maximum.at(largest, group, np.abs(returns))
    return spread <= NEGLIGIBLE * largest


def group_advantages(
    returns: np.ndarray, group: np.ndarray, lengths: np.ndarray, baseline: GroupBaseline, scale: GroupScale = "none"
) -> np.ndarray:
    """Say how much better each episode was than its group, float64 (E,).

    Args:
        returns: float (E,), of the episodes.
        group: int (E,), see `group_numbers`.
        lengths: int (E,), the agent's tokens an episode.
        baseline: "none"; "mean" of the group, the episode's own return included; "leave_one_out", the mean of the
            others; "length", the group's mean weighted by lengths (OPO); or "second_best": the best of the group gets
            what it is above the second, the others nothing (pass@k).
        scale: "none"; "std", the group's standard deviation (of G − 1 degrees of freedom); or "mean", the group's mean
            (MaxRL), for returns that are never negative.

    Returns:
        0 in groups whose returns are all equal, wherever there is a baseline.
    """
    returns = np.asarray(returns, np.float64)
    sizes = np.bincount(group)
    sums = np.bincount(group, weights=returns)
    means = sums / sizes
    if baseline == "second_best":
        advantages = _above_the_second(returns, group)
    elif baseline == "leave_one_out":
        others = np.maximum(sizes - 1, 1)[group]
        advantages = returns - (sums[group] - returns) / others
    elif baseline == "length":
        weighted = np.bincount(group, weights=returns * lengths) / np.bincount(group, weights=lengths)
        advantages = returns - weighted[group]
    else:
        advantages = returns - (means[group] if baseline == "mean" else 0.0)
    even = tied(returns, group)
    if baseline != "none":
        advantages[even[group]] = 0.0
    if scale == "std":
        squares = np.bincount(group, weights=(returns - means[group]) ** 2)
        deviation = np.sqrt(squares / np.maximum(sizes - 1, 1))
        advantages /= np.where(even, 1.0, deviation)[group]
    elif scale == "mean":
        advantages /= np.where(means == 0, 1.0, means)[group]
    return advantages


def _above_the_second(returns: np.ndarray, group: np.ndarray) -> np.ndarray:
    order = np.lexsort((-returns, group))  # of equal ones the earlier, which then is 0 above the second
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    several = np.bincount(group) > 1
    best, second = order[first[several]], order[first[several] + 1]
    advantages = np.zeros(len(returns))
    advantages[best] = returns[best] - returns[second]
    return advantages


def step_baselines(
    returns: np.ndarray,
    cell: np.ndarray,
    kind: StepBaseline,
    weights: np.ndarray | None = None,
    members: np.ndarray | None = None,
) -> np.ndarray:
    """Return what each return is measured from, float64 (N,): something of the returns of the same cell.

    Args:
        returns: float (N,), such as the returns-to-go of tokens.
        cell: int (N,), equal for what is compared: the same step of the episodes of a group, say.
        kind: "none"; "mean" of the cell, its own included; "leave_one_out", the mean of the others, 0 where there are
            none; or "optimal", ΣGW/ΣW, which has the least variance where W is the squared norm of the score.
        weights: float (N,), W, for "optimal".
        members: int (N,), how many are compared in each cell, those included that are not there and count as 0, for
            "mean" and "leave_one_out"; None counts those that are there.
    """
    if kind == "none":
        return np.zeros(len(returns))
    cells = np.unique(cell, return_inverse=True)[1]
    if kind == "optimal":
        assert weights is not None
        total = np.bincount(cells, weights=weights)
        return (np.bincount(cells, weights=returns * weights) / np.where(total > 0, total, 1.0))[cells]
    sums = np.bincount(cells, weights=returns)[cells]
    counts = np.bincount(cells)[cells] if members is None else members
    if kind == "mean":
        return sums / counts
    return (sums - returns) / np.maximum(counts - 1, 1)
