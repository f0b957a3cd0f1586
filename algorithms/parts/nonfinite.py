"""Numbers that are not finite: found at once, and named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...envs import TokenGymError

_LOWER = "Lower the learning rate or max_grad_norm, and look at the rewards of the last episodes."


class RewardError(TokenGymError):
    """A task paid what is not finite, or what is not in the numbers that are learnt with."""


class DivergedError(TokenGymError):
    """A loss or a gradient is not finite, or a reward that they would be made of.

    Args:
        name: the first tensor that is not finite.
        num_updates: how many updates had been made.
        remedy: what to do about it.
        kept: whether the weights are those before this step.
    """

    def __init__(self, name: str, num_updates: int, remedy: str = _LOWER, kept: bool = True) -> None:
        weights = " The weights before this step are kept." if kept else ""
        super().__init__(f"Learning diverged in update {num_updates}: {name} is not finite.{weights} {remedy}")
        self.name = name
        self.num_updates = num_updates


@contextmanager
def naming_the_update(algorithm: Any) -> Iterator[None]:
    """Say of rewards that cannot be learnt from in which update of an algorithm they came."""
    try:
        yield
    except RewardError as error:
        text = str(error)
        raise DivergedError("rewards", algorithm.num_updates, text[0].upper() + text[1:]) from error


def first_nonfinite(tensors: dict[str, Tensor]) -> str:
    """Return the name of the first tensor with a NaN or infinity, in the dict's order; "the loss" if there is none."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            return name
    return "the loss"
