"""Numbers that are not finite: found at once, and named."""

from __future__ import annotations

import torch
from torch import Tensor

from ...envs import TokenGymError


class DivergedError(TokenGymError):
    """A loss or a gradient is not finite.

    Args:
        name: the first tensor that is not finite.
        num_updates: how many updates had been made.
    """

    def __init__(self, name: str, num_updates: int) -> None:
        super().__init__(
            f"Learning diverged in update {num_updates}: {name} is not finite. The weights before this step are kept. "
            "Lower the learning rate or max_grad_norm, and look at the rewards of the last episodes."
        )
        self.name = name
        self.num_updates = num_updates


def first_nonfinite(tensors: dict[str, Tensor]) -> str:
    """Return the name of the first tensor with a NaN or infinity, in the dict's order; "the loss" if there is none."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            return name
    return "the loss"
