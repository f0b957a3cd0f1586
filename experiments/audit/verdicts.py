"""What a loss optimises, beside what it claims: the audit of a callable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ...envs import FiniteTask
from ...envs.checking import Count, NotNegative, Positive, checked
from .calling import Loss, asked, called, require_steady
from .claims import TOLERANCE, Claim, Comparison, claim_fits, compare
from .counterexamples import Counterexample, counterexamples, usual_tree
from .ends import End, end_of, unrest
from .groups import all_groups
from .listing import Listing
from .losses import Expected, Sampled, expected, tensors_of
from .trees import LeafTree


@dataclass(frozen=True, eq=False)
class LossAudit:
    """What was found about a loss.

    Attributes:
        claim: what it was held against.
        fresh, stale: its expected gradient beside the claim's, drawn by itself and by an older policy.
        variance: of one group's gradient, fresh.
        leak: the largest gradient at a position that is not the agent's, fresh or stale.
        poisoned: the largest change of the gradient with what stands at such positions.
        padded: the largest change with columns of padding.
        order: the largest change, of the loss or of its gradient, with the order of a group's members.
        batches: its gradient beside all others that may stand in a batch of B groups, beside the claim's, by B; empty
            for a loss that asks for no groups.
        ends: where it comes to rest, from each start.
        counterexample: the smallest tree on which the claim does not hold; None where it held on all.
        groups: how many were listed.
        vectorised: whether `torch.func.vmap` took it.
    """

    claim: Claim
    fresh: Comparison
    stale: Comparison
    variance: float
    leak: float
    poisoned: float
    padded: float
    order: float
    batches: dict[int, Comparison]
    ends: tuple[End, ...]
    counterexample: Counterexample | None
    groups: int
    vectorised: bool

    @property
    def right(self) -> bool:
        """Whether the claim held everywhere."""
        return self.counterexample is None and self._holds

    @property
    def _holds(self) -> bool:
        changes = max(self.leak, self.poisoned, self.padded)
        drawn = max(self.fresh.bias, self.stale.bias if self.claim.off_policy else 0.0)
        return drawn <= TOLERANCE and changes <= TOLERANCE


@checked
def audit_loss(
    loss: Loss,
    objective: str = "return",
    *,
    beta: NotNegative = 0.0,
    group_size: Count = 4,
    scale: Positive | None = 1.0,
    off_policy: bool = False,
    level: Literal["token", "sequence"] = "sequence",
    mismatched: bool = False,
    rests: bool = False,
    task: FiniteTask | None = None,
    with_ends: bool = True,
) -> LossAudit:
    """Enumerate what a loss does in expectation, beside what it claims.

    Args:
        loss: asks by name for what `losses.GIVEN` holds, such as ``log_probs``, ``rewards`` and ``mask``, and gives a
            scalar to be minimised.
        objective: what it claims to maximise: "return", "kl_return" (with ``beta``), "best" (of the group), "pass_at_k"
            (that any of the group is paid), "max_rl" (of order G − 1) or "kl_quantile" (with ``beta``).
        beta: weight of the KL to the uniform reference.
        group_size: G, how many episodes from one start it is given.
        scale: how long its expected gradient is claimed to be in units of the objective's; None: any.
        off_policy: whether the claim covers episodes of an older policy.
        level: "token" or "sequence", a word for tables.
        mismatched: stale episodes come from a sampler that disagrees with the policy, whose own the old
            log-probabilities are.
        rests: it claims only where it comes to rest, learning from what the uniform reference says.
        task: where the gradients are compared; None: a tree of 3² in which token 0 ends, 7 leaves of lengths 1 and 2.
        with_ends: follow the gradient to where it ends, too.

    Raises:
        TokenGymError: the loss asks for what there is not, raises anything, gives no scalar, gives two values for the
            same group, or is not finite: the message says where.
    """
    claim_fits(objective, beta, rests)
    claim = Claim(objective, beta, group_size, scale, off_policy, level, mismatched, rests)
    listing = Listing.of(usual_tree(claim) if task is None else task)
    policy = listing.moved(0.5, 3)
    drawn, older = _drawn(claim, listing, policy)
    at_first = partial(_in_orders, loss, listing, drawn, group_size)
    values = at_first()
    require_steady(values, at_first())
    order = _spread_by_order(values)
    ordered = order > TOLERANCE
    here = Listing.of(_small_tree(claim, few=True)) if ordered and task is None else listing
    if here is not listing:
        policy = here.moved(0.5, 3)
        drawn, older = _drawn(claim, here, policy)
    fresh = expected(loss, here, drawn, group_size, with_variance=True, ordered=ordered)
    stale = expected(loss, here, older, group_size, ordered=ordered)
    right = claim.exact.gradient(here, policy)
    small = Listing.of(_small_tree(claim))
    found = LossAudit(
        claim=claim,
        fresh=_against(loss, claim, here, drawn, fresh, right, ordered),
        stale=_against(loss, claim, here, older, stale, right, ordered),
        variance=fresh.variance,
        leak=max(fresh.leak, stale.leak),
        poisoned=_change(loss, small, group_size, ordered, poison=1),
        padded=_change(loss, small, group_size, ordered, padding=2),
        order=order,
        batches=beside_others(loss, claim) if "groups" in asked(loss) else {},
        ends=ends(loss, claim, ordered) if with_ends else (),
        counterexample=next(counterexamples(loss, claim, ordered, fresh.vectorised), None),
        groups=fresh.groups,
        vectorised=fresh.vectorised,
    )
    # Once more at the end, for what a loss keeps may come to bear late: a count of its calls, say.
    require_steady(values, at_first())
    return found


def _drawn(claim: Claim, listing: Listing, policy: Tensor) -> tuple[Sampled, Sampled]:
    """What is drawn by the policy itself, or by the reference where the claim is of such, and by an older policy."""
    older = Sampled(policy, behaviour=listing.moved(0.3, 1, policy), old=policy if claim.mismatched else None)
    return Sampled(policy, behaviour=listing.uniform() if claim.rests else None), older


def _against(
    loss: Loss, claim: Claim, listing: Listing, sampled: Sampled, found: Expected, right: Tensor, ordered: bool
) -> Comparison:
    """What was found beside the objective's gradient, or beside rest at its optimum."""
    comparison = compare(-found.gradient, right, None if claim.rests else claim.scale)
    if not claim.rests:
        return comparison
    return replace(comparison, bias=unrest(loss, claim, listing, sampled.behaviour, ordered))


def _small_tree(claim: Claim, few: bool = False) -> LeafTree:
    """Three leaves; ``few`` stands in for the default tree where the order of groups matters."""
    if few and not claim.counts:
        return LeafTree({"0": 0.6, "10": 0.2, "11": 0.9})
    return LeafTree({"0": 1.0, "10": 0.0, "11": 1.0 if claim.counts else 3.0})


def _change(loss: Loss, listing: Listing, size: int, ordered: bool, poison: int = 0, padding: int = 0) -> float:
    """How far the expected gradient moves with what should not move it."""
    policy = listing.moved(0.5, 3)
    drawn = Sampled(policy, behaviour=listing.moved(0.3, 1, policy))
    plain = expected(loss, listing, drawn, size, ordered=ordered).gradient
    other = expected(loss, listing, drawn, size, ordered=ordered, poison=poison, padding=padding).gradient
    return float((other - plain).abs().max())


def order_changes(loss: Loss, listing: Listing, sampled: Sampled, size: int) -> float:
    """How much the loss of a group, or its gradient, changes with the order of its members, at most."""
    return _spread_by_order(_in_orders(loss, listing, sampled, size))


def _spread_by_order(found: Tensor) -> float:
    # What is not finite is no matter of order, and is told of where all groups are listed.
    return float((found.amax(1) - found.amin(1)).nan_to_num(nan=0.0, posinf=0.0).max())


def _in_orders(loss: Loss, listing: Listing, sampled: Sampled, size: int, tries: int = 6) -> Tensor:
    """Of K groups, in three orders of their members, the loss and then its gradient in what each says: (K, 3, 1 + N).

    A loss of weighted log π − log π.detach(), or of ratios on fresh data, may be 0 in every order: its gradient tells.
    """
    tensors, names = tensors_of(listing, sampled), asked(loss)
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(tries):
        rows = torch.randint(len(listing.mask), (size,), generator=generator)
        values = []
        for order in (torch.arange(size), torch.randperm(size, generator=generator), torch.arange(size).flip(0)):
            given = {name: tensors[name][rows[order]] for name in names if name != "groups"}
            if "groups" in names:
                given["groups"] = torch.zeros(size, dtype=torch.int64)
            value, gradients = called(loss, given)
            # Copies of one episode stand for one another, so that what moves them is added up.
            moved = [torch.zeros_like(tensors[name]).index_add_(0, rows[order], g) for name, g in gradients.items()]
            values.append(torch.cat([value[None], torch.stack(moved)[:, rows].flatten()]))
        found.append(torch.stack(values))
    return torch.stack(found)


def beside_others(loss: Loss, claim: Claim, batches: tuple[int, ...] = (1, 2, 4)) -> dict[int, Comparison]:
    """The gradient on three leaves in batches of B groups of 2, over all that may stand in them, beside the claim's."""
    listing, size = Listing.of(_small_tree(claim)), 2
    policy = listing.moved(0.5, 3)
    drawn = Sampled(policy)
    right = replace(claim, group_size=size).exact.gradient(listing, policy)
    groups = all_groups(listing.chances(policy).numpy(), size)
    members = torch.from_numpy(groups.members)
    found = {}
    for number in batches:
        # The audited group stands first, the others beside it in any way, which is again a multiset: of groups.
        others = None if number == 1 else all_groups(groups.probabilities, number - 1)
        if others is None:
            total = expected(loss, listing, drawn, size).gradient
        else:
            total = torch.zeros_like(policy)
            for chosen, chance in zip(others.members, others.probabilities.tolist(), strict=True):
                beside = members[torch.from_numpy(chosen)].flatten()
                total += chance * expected(loss, listing, drawn, size, context=beside).gradient
        # A mean over B groups leaves one group a B-th of the gradient.
        found[number] = compare(-total * number, right, None)
    return found


def ends(loss: Loss, claim: Claim, ordered: bool = False) -> tuple[End, ...]:
    """Where the loss ends on three leaves of lengths 1 and 2, from two starts."""
    listing = Listing.of(_small_tree(claim))
    behaviour = listing.uniform() if claim.rests else None

    def gradient(logits: Tensor) -> Tensor:
        return expected(loss, listing, Sampled(logits, behaviour=behaviour), claim.group_size, ordered=ordered).gradient

    starts = (listing.uniform(), listing.moved(1.0, 1))
    return tuple(end_of(gradient, claim.exact, listing, start, behaviour=behaviour) for start in starts)
