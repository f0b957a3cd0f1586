"""Where a loss comes to rest: its expected gradient is followed, and what is found verified by the gradient's norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .listing import Listing
from .objectives import Objective

Gradient = Callable[[Tensor], Tensor]
"""Logits (S, A) to the expected gradient of the loss there, (S, A)."""

_DETERMINISTIC = 1e-6


@dataclass(frozen=True, eq=False)
class End:
    """Where the flow of a loss ends.

    Attributes:
        policy: probabilities (S, A).
        kind: "interior", "leaf" (one episode alone is left), "everywhere" (the gradient vanishes wherever one starts)
            or "moving" (it had not come to rest).
        regret: of the claimed objective: (V* − V)/(V* − V of the reference).
        norm: of the expected gradient there.
    """

    policy: Tensor
    kind: str
    regret: float
    norm: float


def best_value(objective: Objective, listing: Listing, reference: Tensor | None = None) -> float:
    """The most that any policy earns of an objective."""
    if objective.name == "max_rl":
        return 0.0 if bool((listing.rewards == 1).any()) else float(objective.value(listing, listing.uniform()))
    if objective.name != "kl_return":
        return float(listing.rewards.max())
    log_reference = listing.log_probs(listing.uniform() if reference is None else reference).sum(1)
    return objective.beta * float(torch.logsumexp(log_reference + listing.rewards / objective.beta, 0))


def optimum_logits(objective: Objective, listing: Listing, reference: Tensor | None = None) -> Tensor:
    """The logits (S, A) of the policy that earns the most of a KL-regularised return: π_ref·e^(R/β)/Z."""
    start = listing.uniform() if reference is None else reference
    weights = torch.softmax(listing.log_probs(start).sum(1) + listing.rewards / objective.beta, 0)
    reached = torch.zeros_like(start)
    state, action = listing.state[listing.mask], listing.action[listing.mask]
    reached.index_put_((state, action), weights[:, None].expand_as(listing.state)[listing.mask], accumulate=True)
    return reached.log()


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
    max_steps: int = 120,
) -> End:
    """Follow an expected gradient from a start until it comes to rest.

    The steps are taken in units of how often a state is reached and a token said, as natural gradients are, which
    changes no point of rest; close to one Newton's method takes over.
    """
    logits, size, last = start.detach().clone(), 1.0, None
    reached, first = "moving", gradient(logits)
    if float(first.norm()) < 1e-12:
        reached = "everywhere" if float(gradient(listing.moved(1.0, 7)).norm()) < 1e-12 else "interior"
        return _end(reached, gradient, objective, listing, logits, reference)
    for step in range(max_steps):
        policy = torch.softmax(logits, 1)
        move = -gradient(logits) / (listing.reached(logits)[:, None] * policy).clamp(min=1e-9)
        move = move - (policy * move).sum(1, keepdim=True)
        if last is not None:
            agrees = float((move * last).sum() / (move.norm() * last.norm()).clamp(min=1e-300))
            size = max(size * 0.5, 1e-3) if agrees < 0 else size * 1.4
        size = min(size, 1.0 / max(float(move.abs().max()), 1e-12))
        logits = logits + size * move
        logits = (logits - logits.max(1, keepdim=True).values).clamp(min=-40.0)
        last = move
        if float(listing.chances(logits).max()) > 1 - _DETERMINISTIC:
            reached = "leaf"
            break
        if step % 10 == 9 and float(move.abs().max()) < 0.05:
            found = _newton(gradient, logits)
            if found is not None:
                logits, reached = found, "interior"
                break
    return _end(reached, gradient, objective, listing, logits, reference)


def _end(
    kind: str, gradient: Gradient, objective: Objective, listing: Listing, logits: Tensor, reference: Tensor | None
) -> End:
    norm = float(gradient(logits).norm())
    return End(torch.softmax(logits, 1), kind, regret(objective, listing, logits, reference), norm)


def _newton(gradient: Gradient, logits: Tensor, steps: int = 8) -> Tensor | None:
    """A zero of the gradient close by, or None. The last logit of each state stands still."""
    at, width = logits.clone(), logits.shape[1]
    free = [(s, a) for s in range(len(logits)) for a in range(width - 1)]
    index = tuple(torch.tensor(part) for part in zip(*free, strict=True))
    for _ in range(steps):
        value = gradient(at)[index]
        if float(value.norm()) < 1e-13:
            break
        columns = []
        for state, action in free:
            ahead, behind = at.clone(), at.clone()
            ahead[state, action] += 1e-5
            behind[state, action] -= 1e-5
            columns.append((gradient(ahead)[index] - gradient(behind)[index]) / 2e-5)
        jacobian = torch.stack(columns, 1)
        move = torch.linalg.lstsq(jacobian, -value[:, None]).solution[:, 0]
        if not bool((move.abs() <= 1.0).all()):
            return None
        at[index] += move
    return at if float(gradient(at).norm()) < 1e-11 else None
