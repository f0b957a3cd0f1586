"""Which token a return is owed to, and which tokens entropy is lost at; on flat arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...envs import Task
from ..data import FlatTokens
from .advantages import discounted_sums
from .group_baselines import tied


def token_covariances(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return (log π − mean)·(A − mean) of each token, (N,), whose mean is the covariance of log π and A.

    A step of the natural policy gradient of size η changes the entropy by −η times that covariance (Cui et al. 2025).

    Args:
        log_probs: (N,), of the tokens of a collection.
        advantages: (N,).
    """
    return (log_probs - log_probs.mean()) * (advantages - advantages.mean())


def highest(values: Tensor, share: float) -> Tensor:
    """Return which of the values are the largest, bool (N,): a share of them, at least one where it is not 0."""
    chosen = torch.zeros_like(values, dtype=torch.bool)
    chosen[torch.topk(values, _count(len(values), share)).indices] = True
    return chosen


def between(values: Tensor, low: float, high: float, share: float, generator: torch.Generator) -> Tensor:
    """Return which are drawn of the values in low … high, bool (N,): a share of all N, or as many as there are.

    Args:
        values: (N,).
        low: the least value.
        high: the largest.
        share: of all values; at least one is drawn where it is not 0.
        generator: draws, on the CPU.
    """
    chosen = torch.zeros_like(values, dtype=torch.bool)
    within = torch.nonzero((values >= low) & (values <= high)).squeeze(1)
    order = torch.randperm(len(within), generator=generator)[: _count(len(values), share)]
    chosen[within[order.to(within.device)]] = True
    return chosen


def _count(total: int, share: float) -> int:
    return max(1, int(share * total)) if share else 0


def turn_numbers(flat: FlatTokens, length: int | None = None) -> np.ndarray:
    """Return the turn of each token within its episode, int64 (N,) from 0.

    Args:
        flat: the tokens.
        length: of every turn, where the task says so; None looks where the task spoke between two tokens. Turns that
            follow one another without a word between them then count as one.
    """
    if length is not None:
        return flat.step // length
    begins = np.ones(len(flat), bool)
    begins[1:] = (flat.row[1:] != flat.row[:-1]) | (flat.column[1:] != flat.column[:-1] + 1)
    count = np.cumsum(begins) - 1
    return count - count[flat.episode_offsets[:-1]][flat.episode]


def turn_length(task: Task) -> int | None:
    """Return the length of every turn of a task, or None where they have none in common."""
    return task.max_turn_tokens if task.finite or task.max_turn_tokens == 1 else None


def branch_points(flat: FlatTokens, place: np.ndarray, every: int = 1) -> np.ndarray:
    """Return the tokens before which states are valued, int64 (P,) ascending: the first of every so many places.

    Args:
        flat: the tokens.
        place: int (N,), the place of each token in its episode from 0, such as its step or its turn.
        every: how many places lie between two points.
    """
    first = np.ones(len(flat), bool)
    first[1:] = (flat.episode[1:] != flat.episode[:-1]) | (place[1:] != place[:-1])
    return np.flatnonzero(first & (place % every == 0))


def segment_advantages(
    flat: FlatTokens, rewards: np.ndarray, points: np.ndarray, values: np.ndarray, gamma: float
) -> np.ndarray:
    """Return what came from each token to the next point, the value there, less the value of the last point, (N,).

    Where every token is a point it is r + γ·V(next) − V, with V = 0 after an episode's last token.

    Args:
        flat: the tokens.
        rewards: float (N,).
        points: int (P,), tokens before which the state is valued, the first of each episode among them.
        values: float (P,).
        gamma: discount a token.
    """
    count = len(flat)
    last = np.searchsorted(points, np.arange(count), side="right") - 1
    after = np.append(points, count)[last + 1]  # the next point, perhaps of the next episode
    same = np.append(flat.episode, -1)[after] == flat.episode
    following = np.where(same, np.append(values, 0.0)[last + 1], 0.0)
    paid, passed = np.array(rewards, np.float64), np.full(count, gamma, np.float64)
    ends = np.append(points[1:], count) - 1
    paid[ends] += gamma * following[ends]
    passed[ends] = 0.0
    return discounted_sums(flat, paid, passed) - values[last]


def visit_advantages(
    returns: np.ndarray,
    state: np.ndarray,
    episode: np.ndarray,
    group: np.ndarray,
    leave_out: bool = False,
    divide: bool = False,
    elsewhere: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Say how much better the return from each token was than those of the visits that its group paid its state.

    Args:
        returns: float (N,), from each token on.
        state: int (N,), equal where the state is the same.
        episode: int (N,).
        group: int (E,), see `group_numbers`.
        leave_out: compare with the visits of other episodes alone, so that the own return is no part of what it is
            compared with; else with the mean of all visits.
        divide: divide by the standard deviation of the visits (of n − 1 degrees of freedom).
        elsewhere: float (E,), with ``leave_out`` what stands for the visits of others where there are none; None is 0.

    Returns:
        float64 (N,), and the share of the tokens whose state another episode of the group visited. Without
        ``leave_out`` it is 0 where all returns of a state are equal.
    """
    cells = np.unique(np.column_stack([group[episode], state]), axis=0, return_inverse=True)[1].reshape(-1)
    visits = np.unique(np.column_stack([cells, episode]), axis=0, return_inverse=True)[1].reshape(-1)
    sums, counts = np.bincount(cells, weights=returns)[cells], np.bincount(cells)[cells]
    own, times = np.bincount(visits, weights=returns)[visits], np.bincount(visits)[visits]
    alone = counts == times
    even = tied(returns, cells)[cells]
    if leave_out:
        stead = np.zeros(len(group)) if elsewhere is None else elsewhere
        advantages = returns - np.where(alone, stead[episode], (sums - own) / np.maximum(counts - times, 1))
    else:
        advantages = np.where(even, 0.0, returns - sums / counts)
    if divide:
        squares = np.bincount(cells, weights=(returns - sums / counts) ** 2)[cells]
        advantages = advantages / np.where(even, 1.0, np.sqrt(squares / np.maximum(counts - 1, 1)))
    return advantages, float(1 - alone.mean())
