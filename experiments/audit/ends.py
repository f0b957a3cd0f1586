"""Where a loss comes to rest: its expected gradient is followed, and what is found verified by the gradient's norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .calling import Loss
from .claims import Claim
from .following import ALONE, FADING, OUT, follow
from .listing import Listing
from .losses import Sampled, expected
from .objectives import Objective

Gradient = Callable[[Tensor], Tensor]
"""Logits (S, A) to the expected gradient of the loss there, (S, A)."""


@dataclass(frozen=True, eq=False)
class End:
    """Where the flow of a loss ends.

    Attributes:
        policy: probabilities (S, A).
        kind: as of `Rest`, or "everywhere", where the gradient vanishes wherever one starts.
        regret: of the claimed objective: (V* − V)/(V* − V of the reference).
        norm: of the expected gradient there.
    """

    policy: Tensor
    kind: str
    regret: float
    norm: float


def best_value(objective: Objective, listing: Listing, reference: Tensor | None = None) -> float:
    """The most that any policy earns of an objective."""
    if not objective.beta:
        return objective.most(objective.returns(listing, reference))
    returns = objective.returns(listing, reference)
    log_reference = listing.log_probs(listing.uniform() if reference is None else reference).sum(1)
    return objective.beta * float(torch.logsumexp(log_reference + returns / objective.beta, 0))


def optimum_logits(objective: Objective, listing: Listing, reference: Tensor | None = None) -> Tensor:
    """The logits (S, A) of the policy that earns the most of a KL-regularised return: π_ref·e^(R/β)/Z."""
    start = listing.uniform() if reference is None else reference
    returns = objective.returns(listing, reference)
    weights = torch.softmax(listing.log_probs(start).sum(1) + returns / objective.beta, 0)
    reached = torch.zeros_like(start)
    state, action = listing.state[listing.mask], listing.action[listing.mask]
    reached.index_put_((state, action), weights[:, None].expand_as(listing.state)[listing.mask], accumulate=True)
    return reached.log()


def unrest(loss: Loss, claim: Claim, listing: Listing, behaviour: Tensor | None = None, ordered: bool = False) -> float:
    """The norm of a loss's gradient at the claimed optimum, as a share of that at the reference."""
    behaviour = listing.uniform() if behaviour is None else behaviour

    def norm(logits: Tensor) -> float:
        sampled = Sampled(logits, behaviour=behaviour)
        return float(expected(loss, listing, sampled, claim.group_size, ordered=ordered).gradient.norm())

    return norm(optimum_logits(claim.exact, listing)) / norm(listing.uniform())


def regret(objective: Objective, listing: Listing, logits: Tensor, reference: Tensor | None = None) -> float:
    """How much of what the reference (None: uniform) lacks of the optimum a policy lacks; above 1 is worse than it."""
    start = listing.uniform() if reference is None else reference
    best = best_value(objective, listing, reference)
    span = best - float(objective.value(listing, start, reference))
    return (best - float(objective.value(listing, logits.detach(), reference))) / span


def end_of(
    gradient: Gradient,
    objective: Objective,
    listing: Listing,
    start: Tensor,
    reference: Tensor | None = None,
    behaviour: Tensor | None = None,
) -> End:
    """Follow an expected gradient from a start to where it ends.

    The steps are taken in units of how often a state is reached and a token said, as natural gradients are, which
    changes no point of rest; of what another policy drew, in units of how often that one passes a state.
    """
    logits = start.detach().clone()
    if float(gradient(logits).norm()) < 1e-12:
        everywhere = float(gradient(listing.moved(1.0, 7)).norm()) < 1e-12
        return _end("everywhere" if everywhere else "interior", gradient, objective, listing, logits, reference)
    passed = None if behaviour is None else listing.reached(behaviour)

    def natural(values: np.ndarray) -> np.ndarray:
        at = torch.from_numpy(values)
        units = listing.reached(at)[:, None] * torch.softmax(at, 1) if passed is None else passed[:, None]
        return (-gradient(at) / units.clamp(min=1e-300)).numpy()

    def reach(values: np.ndarray) -> np.ndarray:
        return listing.reached(torch.from_numpy(values)).numpy()

    came = follow(
        natural,
        logits.numpy(),
        slice(0, logits.shape[1]),
        None if behaviour is not None else reach,
        out=OUT if behaviour is None else ALONE,
    )
    alone = float(listing.chances(torch.from_numpy(came.values)).max()) > 1 - FADING
    kind = "vertex" if came.kind == "face" and alone else came.kind
    found = _end(kind, gradient, objective, listing, torch.from_numpy(came.values), reference)
    return replace(found, norm=came.norm) if came.kind in ("vertex", "face") else found


def _end(
    kind: str, gradient: Gradient, objective: Objective, listing: Listing, logits: Tensor, reference: Tensor | None
) -> End:
    norm = float(gradient(logits).norm())
    return End(torch.softmax(logits, 1), kind, regret(objective, listing, logits, reference), norm)
