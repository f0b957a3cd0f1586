"""Which token a return is owed to, and which tokens entropy is lost at; on flat arrays."""

from __future__ import annotations

import torch
from torch import Tensor


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
