"""Which token a return is owed to, and which tokens entropy is lost at; on flat arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...envs import Task
from ..data import FlatTokens


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
