"""The losses of comparisons, one value a pair."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(
    better: Tensor, worse: Tensor, margin: Tensor | float = 0.0, label_smoothing: float = 0.0, centring: float = 0.0
) -> Tensor:
    """The Bradley–Terry loss of scores: −(1 − ε)·log σ(Δ) − ε·log σ(−Δ) + c·(s_better + s_worse)².

    Δ = s_better − s_worse − margin.

    Args:
        better: s_better, (P,).
        worse: s_worse, (P,).
        margin: how far the better has to be ahead for even odds, (P,) or one number.
        label_smoothing: ε, the share of labels taken to be wrong.
        centring: c, which keeps scores near 0.

    Returns:
        The losses, (P,).
    """
    ahead = better - worse - margin
    losses = -logsigmoid(ahead)
    if label_smoothing:
        losses = torch.lerp(losses, -logsigmoid(-ahead), label_smoothing)
    if centring:
        losses = losses + centring * (better + worse) ** 2
    return losses
