"""The smallest tree on which a loss is not what it claims, small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .claims import TOLERANCE, Claim, Comparison, compare
from .ends import optimum_logits, unrest
from .listing import Listing
from .losses import Loss, Sampled, expected
from .trees import LeafTree

_SKEW = 0.6931471805599453  # log 2: the first token is twice as likely as the other


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
        leaves = ", ".join(f"{leaf} pays {reward:g}" for leaf, reward in task.leaves.items())
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


def counterexamples(loss: Loss, claim: Claim, ordered: bool = False) -> Iterator[Counterexample]:
    """Yield the trees, smallest first, on which a loss is not what it claims, of at most eight leaves."""
    for tree in small_trees(claim):
        listing = Listing.of(tree)
        if ordered and len(listing.mask) > 4:
            return
        skewed = listing.uniform()
        skewed[:, 0] += _SKEW
        cases = [(listing.uniform(), None), (skewed, None), (skewed, listing.uniform())]
        if claim.rests:
            cases = [(optimum_logits(claim.exact, listing), listing.uniform())]
        for policy, behaviour in cases:
            sampled = Sampled(policy, behaviour=behaviour, old=policy if claim.mismatched else None)
            found = expected(loss, listing, sampled, claim.group_size, ordered=ordered)
            right = claim.exact.gradient(listing, policy)
            comparison = compare(-found.gradient, right, claim.scale)
            if claim.rests:
                comparison = replace(comparison, bias=unrest(loss, claim, listing, ordered=ordered))
            elif behaviour is not None and not claim.off_policy:
                comparison = replace(comparison, bias=0.0)
            moved = 0.0
            if policy is skewed and behaviour is None:
                other = expected(loss, listing, sampled, claim.group_size, ordered=ordered, poison=1)
                moved = float((other.gradient - found.gradient).abs().max())
            what = ("stale " if behaviour is not None else "") + "bias"
            if claim.rests:
                what = "no rest at the optimum"
            if found.leak > TOLERANCE:
                what = "gradient at padding"
            elif moved > TOLERANCE:
                what = "padding is read"
            if comparison.bias > TOLERANCE or found.leak > TOLERANCE or moved > TOLERANCE:
                yield Counterexample(listing, sampled, -found.gradient, right, comparison, found.leak, what)


def small_trees(claim: Claim) -> Iterator[LeafTree]:
    """Trees of 2 to 8 leaves."""
    binary = claim.objective == "max_rl"
    yield LeafTree({"0": 0.0, "1": 1.0})
    yield LeafTree({"0": 1.0, "10": 0.0, "11": 1.0 if binary else 3.0})
    yield LeafTree({"0": 1.0, "10": 0.0, "11": 1.0 if binary else 3.0}, replies=True)
    yield LeafTree.full(2, 2, (0.0, 1.0, 1.0, 0.0) if binary else (0.0, 1.0, 1.0, 3.0))
    yield LeafTree.stopping(2, 3, (1.0, 0.0, 0.0, 1.0) if binary else (2.0, 0.0, 1.0, 4.0), replies=True)
    yield LeafTree.full(2, 3, (0, 1, 0, 1, 1, 0, 0, 1) if binary else (0, 1, 1, 3, 2, 0, 5, 1))


def _numbers(row: Tensor) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in (row + 0.0).tolist()) + ")"
