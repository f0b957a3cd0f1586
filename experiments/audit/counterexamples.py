"""The smallest tree on which a loss is not what it claims, small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .calling import Loss
from .claims import TOLERANCE, Claim, Comparison, compare
from .ends import optimum_logits, unrest
from .groups import number_of_groups
from .listing import Listing
from .losses import Sampled, expected
from .trees import LeafTree

_SKEW = 0.6931471805599453  # log 2: the first token is twice as likely as the other
_FAR = 4.59511985013459  # log 99


@dataclass(frozen=True, eq=False)
class Counterexample:
    """The smallest tree on which a loss is not what it claims.

    Attributes:
        listing: of the tree.
        sampled: the policies.
        ascent: the loss's expected ascent, (S, A).
        right: the objective's gradient.
        comparison: of the two.
        leak: the largest gradient at a position that is not the agent's.
        what: "bias", "stale bias" or "gradient at padding".
    """

    listing: Listing
    sampled: Sampled
    ascent: Tensor
    right: Tensor
    comparison: Comparison
    leak: float
    what: str

    @property
    def leaves(self) -> int:
        """How many the tree has."""
        return len(self.listing.mask)

    def __str__(self) -> str:
        """The tree, the policies and both gradients, for a person with a pencil."""
        task, behaviour = self.listing.task, self.sampled.behaviour
        assert isinstance(task, LeafTree)
        paid = [*task.way.items(), *task.leaves.items()]
        leaves = ", ".join(f"{said} pays {reward:g}" for said, reward in paid)
        lines = [f"{self.what}; leaves: {leaves}" + (" (the task says a token in between)" if task.replies else "")]
        policy = torch.softmax(self.sampled.logits, 1)
        drew = None if behaviour is None else torch.softmax(behaviour, 1)
        for number, name in enumerate(self.listing.names):
            said = f"after {name or 'nothing'}: policy {_numbers(policy[number])}"
            if drew is not None:
                said += f", drawn with {_numbers(drew[number])}"
            said += f"; the loss climbs {_numbers(self.ascent[number])}, the objective {_numbers(self.right[number])}"
            lines.append(said)
        if self.leak:
            lines.append(f"and the gradient is up to {self.leak:.3g} where the agent did not speak")
        return "\n".join(lines)


def counterexamples(
    loss: Loss, claim: Claim, ordered: bool = False, vectorised: bool = True
) -> Iterator[Counterexample]:
    """Yield the trees, smallest first, on which a loss is not what it claims, of at most eight leaves.

    Args:
        loss: asks by name for what `GIVEN` holds.
        claim: what it says of itself.
        ordered: whether the order of a group changes it.
        vectorised: whether all groups are done at once; trees that have too many are left out.
    """
    most = 5_000 if ordered else 300_000 if vectorised else 20_000
    for tree, cases in _cases(claim):
        listing, size = Listing.of(tree), claim.group_size
        episodes = len(listing.mask)
        if (episodes**size if ordered else number_of_groups(episodes, size)) > most:
            continue
        for policy, behaviour, padding in cases(listing):
            sampled = Sampled(policy, behaviour=behaviour, old=policy if claim.mismatched else None)
            found = _found(loss, claim, sampled, listing, ordered, padding)
            if found is not None:
                yield found


def _found(
    loss: Loss, claim: Claim, sampled: Sampled, listing: Listing, ordered: bool, padding: int
) -> Counterexample | None:
    """What a loss does there, if that is not what it claims."""
    size, behaviour = claim.group_size, sampled.behaviour
    found = expected(loss, listing, sampled, size, ordered=ordered)
    right = claim.exact.gradient(listing, sampled.logits)
    if padding:
        other = expected(loss, listing, sampled, size, ordered=ordered, padding=padding)
        if float((other.gradient - found.gradient).abs().max()) <= TOLERANCE:
            return None
        comparison = compare(-other.gradient, right, claim.scale)
        what = f"{padding} columns of padding, without which the loss climbs as the objective up to its scale"
        return Counterexample(listing, sampled, -other.gradient, right, comparison, other.leak, what)
    comparison = compare(-found.gradient, right, claim.scale)
    if claim.rests:
        comparison = replace(comparison, bias=unrest(loss, claim, listing, ordered=ordered))
    elif behaviour is not None and not claim.off_policy:
        comparison = replace(comparison, bias=0.0)
    moved = 0.0
    if behaviour is None and not torch.equal(sampled.logits, listing.uniform()):
        other = expected(loss, listing, sampled, size, ordered=ordered, poison=1)
        moved = float((other.gradient - found.gradient).abs().max())
    what = ("stale " if behaviour is not None else "") + "bias"
    if claim.rests:
        what = "no rest at the optimum"
    if found.leak > TOLERANCE:
        what = "gradient at padding"
    elif moved > TOLERANCE:
        what = "padding is read"
    if comparison.bias > TOLERANCE or found.leak > TOLERANCE or moved > TOLERANCE:
        return Counterexample(listing, sampled, -found.gradient, right, comparison, found.leak, what)
    return None


Cases = list[tuple[Tensor, Tensor | None, int]]
"""Policies, who drew (None: they themselves), and how many columns of padding are added."""


def _cases(claim: Claim) -> Iterator[tuple[LeafTree, Callable[[Listing], Cases]]]:
    """Trees and what is tried on each, the simplest first."""

    def plain(listing: Listing) -> Cases:
        if claim.rests:
            return [(optimum_logits(claim.exact, listing), listing.uniform(), 0)]
        skewed = _skewed(listing, _SKEW)
        return [(listing.uniform(), None, 0), (skewed, None, 0), (skewed, listing.uniform(), 0)]

    def far(listing: Listing) -> Cases:
        # Ratios of up to 2,500, for bounds that smaller ones do not reach.
        behind = [(listing.uniform(), _skewed(listing, _FAR), 0)] if claim.off_policy else []
        return plain(listing) + behind

    def moved(listing: Listing) -> Cases:
        policy = listing.moved(0.5, 3)
        return [(policy, None, 0), (policy, listing.moved(0.3, 1, policy), 0)]

    def padded(listing: Listing) -> Cases:
        return [(_skewed(listing, _SKEW), listing.uniform() if claim.rests else None, 2)]

    for tree in small_trees(claim):
        yield tree, plain
    yield wild_tree(claim), far
    if not claim.rests:
        yield usual_tree(claim), moved
    yield next(small_trees(claim)), padded


def _skewed(listing: Listing, by: float) -> Tensor:
    logits = listing.uniform()
    logits[:, 0] += by
    return logits


def small_trees(claim: Claim) -> Iterator[LeafTree]:
    """Trees of 2 to 8 leaves."""
    binary = claim.counts
    yield LeafTree({"0": 0.0, "1": 1.0})
    yield LeafTree({"0": 1.0, "10": 0.0, "11": 1.0 if binary else 3.0})
    yield LeafTree({"0": 1.0, "10": 0.0, "11": 1.0 if binary else 3.0}, replies=True)
    yield LeafTree.full(2, 2, (0.0, 1.0, 1.0, 0.0) if binary else (0.0, 1.0, 1.0, 3.0))
    yield LeafTree.stopping(2, 3, (1.0, 0.0, 0.0, 1.0) if binary else (2.0, 0.0, 1.0, 4.0), replies=True)
    yield LeafTree.full(2, 3, (0, 1, 0, 1, 1, 0, 0, 1) if binary else (0, 1, 1, 3, 2, 0, 5, 1))


def wild_tree(claim: Claim) -> LeafTree:
    """Rewards that are negative, large and paid on the way, where the claim is of any."""
    if claim.counts:
        return LeafTree({"0": 1.0, "10": 0.0, "11": 1.0})
    return LeafTree({"0": -3.0, "10": 40.0, "11": -1.0}, way={"1": 2.0})


def usual_tree(claim: Claim) -> LeafTree:
    """7 leaves of lengths 1 and 2, on which gradients are compared; rewards 0 and 1 where the claim is of such."""
    rewards = np.random.default_rng(0).uniform(size=7).round(3)
    return LeafTree.stopping(3, 2, (rewards > 0.5 if claim.counts else rewards).tolist())


def _numbers(row: Tensor) -> str:
    # What rounding leaves of 0 differs from one machine to the next, and says nothing.
    return "(" + ", ".join(f"{value if abs(value) > 1e-12 else 0.0:.4g}" for value in row.tolist()) + ")"
