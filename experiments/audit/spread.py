"""How far the gradients of single groups are from one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .listing import Listing

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Spread:
    """The gradients of M groups, in the logits.

    Attributes:
        listing: the episodes.
        logits: (S, A), where they were taken.
        members: int64 (M, G).
        gradients: (M, G, T), in "log_probs" and "entropies".
    """

    listing: Listing
    logits: Tensor
    members: Tensor
    gradients: Mapping[str, Tensor]

    def square(self, weights: Tensor) -> float:
        """E‖g‖² under weights (M,)."""
        return sum(float(weights[rows] @ each.square().sum((1, 2))) for rows, each in self._each())

    def standard_error(self, weights: Tensor, strata: Tensor) -> Tensor:
        """(S, A), of the weighted mean, where the groups of a stratum were drawn independently and weigh the same."""
        number = torch.unique(strata, return_inverse=True)[1]
        size = int(number.max()) + 1
        count = torch.zeros(size, dtype=torch.float64).index_add(0, number, torch.ones_like(weights))
        share = torch.zeros(size, dtype=torch.float64).index_add(0, number, weights)
        sums = torch.zeros(size, *self.logits.shape, dtype=torch.float64)
        squares = torch.zeros_like(sums)
        for rows, each in self._each():
            sums.index_add_(0, number[rows], each)
            squares.index_add_(0, number[rows], each.square())
        of = count[:, None, None]
        variance = (squares - sums.square() / of).clamp(min=0) / (of - 1)
        return (share[:, None, None].square() * variance / of).sum(0).sqrt()

    def _each(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Numbers of groups, and their gradients (k, S, A)."""
        log_probs = torch.log_softmax(self.logits.detach(), 1)
        policy = log_probs.exp()
        # d entropy / d logits = −π·(log π + H); d log π(a) / d logits = e_a − π
        of_entropy = -policy * (log_probs - (policy * log_probs).sum(1, keepdim=True))
        width = self.listing.mask.shape[1]
        for rows in torch.arange(len(self.members)).split(_CHUNK):
            members = self.members[rows]
            state, action, inside = (
                part[members] for part in (self.listing.state, self.listing.action, self.listing.mask)
            )
            each = torch.zeros(len(rows), *policy.shape, dtype=torch.float64)
            number = torch.arange(len(rows))[:, None, None].expand_as(state)
            for name, gradient in self.gradients.items():
                value = torch.where(inside, gradient[rows][..., :width], 0.0)
                if name == "log_probs":
                    each.index_put_((number, state, action), value, accumulate=True)
                    each.index_put_((number, state), -value[..., None] * policy[state], accumulate=True)
                else:
                    each.index_put_((number, state), value[..., None] * of_entropy[state], accumulate=True)
            yield rows, each
