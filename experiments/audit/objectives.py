"""What a loss may claim to maximise, exactly: a number that a table policy earns, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...envs import TokenGymError
from .listing import Listing


@dataclass(frozen=True)
class Objective:
    """A claimed objective, by name.

    Attributes:
        name: "return", E[R]; "kl_return", E[R] − β·KL(π ‖ π_ref); "best", E of the largest reward of a group; "max_rl",
            −Σ_{k<G} (1 − p)^k/k with p the chance of reward 1, on rewards of 0 and 1.
        beta: the weight of the KL; 0 elsewhere.
        size: G, episodes in a group; counts for "best" and "max_rl".
    """

    name: str = "return"
    beta: float = 0.0
    size: int = 1

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise TokenGymError(f"objective={self.name!r}: expected one of {', '.join(map(repr, OBJECTIVES))}.")
        if (self.beta != 0) != (self.name == "kl_return"):
            raise TokenGymError(f"objective={self.name!r} with beta={self.beta}: 'kl_return' alone has one.")

    def value(self, listing: Listing, logits: Tensor, reference: Tensor | None = None) -> Tensor:
        """What a policy earns; differentiable in its logits (S, A). The reference's logits: None is uniform."""
        return OBJECTIVES[self.name](self, listing, logits, listing.uniform() if reference is None else reference)

    def gradient(self, listing: Listing, logits: Tensor, reference: Tensor | None = None) -> Tensor:
        """(S, A), of `value`."""
        at = logits.detach().clone().requires_grad_()
        return torch.autograd.grad(self.value(listing, at, reference), at)[0]


def _return(objective: Objective, listing: Listing, logits: Tensor, reference: Tensor) -> Tensor:
    log_ratio = (listing.log_probs(logits) - listing.log_probs(reference)).sum(1)
    return (listing.chances(logits) * (listing.rewards - objective.beta * log_ratio)).sum()


def _best(objective: Objective, listing: Listing, logits: Tensor, reference: Tensor) -> Tensor:
    levels, level = listing.rewards.unique(return_inverse=True)
    at_most = torch.zeros_like(levels).index_add(0, level, listing.chances(logits)).cumsum(0) ** objective.size
    return (levels * torch.diff(at_most, prepend=torch.zeros(1, dtype=torch.float64))).sum()


def _max_rl(objective: Objective, listing: Listing, logits: Tensor, reference: Tensor) -> Tensor:
    if not bool(((listing.rewards == 0) | (listing.rewards == 1)).all()):
        raise TokenGymError("objective='max_rl' is of rewards 0 and 1; this task pays others.")
    fails = (listing.chances(logits) * (1 - listing.rewards)).sum()
    return -torch.stack([fails**k / k for k in range(1, objective.size)]).sum()


OBJECTIVES: dict[str, Callable[[Objective, Listing, Tensor, Tensor], Tensor]] = {
    "return": _return,
    "kl_return": _return,
    "best": _best,
    "max_rl": _max_rl,
}
