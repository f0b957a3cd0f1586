"""What a loss optimises, beside what it claims: the audit of a callable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .ends import End, end_of
from .groups import all_groups
from .listing import Listing
from .losses import Expected, Loss, Sampled, asked, expected, tensors_of
from .objectives import Objective
from .trees import LeafTree

TOLERANCE = 1e-9
_SKEW = 0.6931471805599453  # log 2: the first token is twice as likely as each other


@dataclass(frozen=True)
class Claim:
    """What a loss says that it maximises.

    Attributes:
        objective: by name, see `Objective`.
        beta: its KL's weight.
        group_size: G, how many episodes from one start it takes.
        scale: how long its expected gradient is claimed to be, in units of the objective's; None: it may be any.
        off_policy: whether the claim covers episodes that an older policy drew.
        level: "token" or "sequence", what its weights and means are of; a word for tables.
    """

    objective: str = "return"
    beta: float = 0.0
    group_size: int = 4
    scale: float | None = 1.0
    off_policy: bool = False
    level: str = "sequence"

    @property
    def exact(self) -> Objective:
        """The objective."""
        return Objective(self.objective, self.beta, self.group_size)


@dataclass(frozen=True)
class Comparison:
    """An expected ascent g beside the objective's gradient g*.

    Attributes:
        cosine: of the two; NaN where either is 0.
        scale: ⟨g, g*⟩/‖g*‖².
        bias: ‖g/c − g*‖/‖g*‖ with c the claimed scale, or where any is allowed the best one.
        error: the same after the best scale.
    """

    cosine: float
    scale: float
    bias: float
    error: float


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
        order: the largest change with the order of a group's members.
        batches: cosine and scale beside all others that may stand in a batch of B groups, by B; empty for a loss that
            asks for no groups.
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
    batches: dict[int, tuple[float, float]]
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


def compare(ascent: Tensor, right: Tensor, scale: float | None = 1.0) -> Comparison:
    """An expected ascent (S, A) beside an objective's gradient."""
    length, wanted = float(ascent.norm()), float(right.norm())
    if wanted < 1e-14:
        return Comparison(float("nan"), float("nan"), length, length)
    found = float((ascent * right).sum()) / wanted**2
    cosine = found * wanted / length if length > 1e-14 else float("nan")
    if length <= 1e-14:
        return Comparison(cosine, 0.0, 1.0, 1.0)
    error = float((ascent / found - right).norm()) / wanted if found > 1e-14 else float("inf")
    # A sum of very few terms may be exact on one side and not on the other.
    bias = error if scale is None else float((ascent / scale - right).norm()) / wanted
    return Comparison(cosine, found, bias, error)


def audit_loss(
    loss: Loss,
    objective: str = "return",
    *,
    beta: float = 0.0,
    group_size: int = 4,
    scale: float | None = 1.0,
    off_policy: bool = False,
    level: str = "sequence",
    task: LeafTree | None = None,
    with_ends: bool = True,
) -> LossAudit:
    """Enumerate what a loss does in expectation, beside what it claims.

    Args:
        loss: asks by name for what `losses.GIVEN` holds, such as ``log_probs``, ``rewards`` and ``mask``, and gives a
            scalar to be minimised.
        objective: what it claims to maximise: "return", "kl_return" (with ``beta``), "best" (of the group) or "max_rl".
        beta: weight of the KL to the uniform reference.
        group_size: G, how many episodes from one start it is given.
        scale: how long its expected gradient is claimed to be in units of the objective's; None: any.
        off_policy: whether the claim covers episodes of an older policy.
        level: "token" or "sequence", a word for tables.
        task: where the gradients are compared; None: a tree of 3³ in which token 0 ends, 15 leaves of lengths 1 to 3.
        with_ends: follow the gradient to where it ends, too.

    Raises:
        TokenGymError: the loss asks for what there is not, gives no scalar, or is not finite: the message says where.
    """
    claim = Claim(objective, beta, group_size, scale, off_policy, level)
    listing = Listing.of(default_tree(claim) if task is None else task)
    policy = listing.moved(0.5, 3)
    drawn, older = Sampled(policy), Sampled(policy, behaviour=listing.moved(0.3, 1, policy))
    order = order_changes(loss, listing, drawn, group_size)
    ordered = order > TOLERANCE
    here = _few(listing) if ordered else listing
    if ordered:
        policy = here.moved(0.5, 3)
        drawn, older = Sampled(policy), Sampled(policy, behaviour=here.moved(0.3, 1, policy))
    fresh = expected(loss, here, drawn, group_size, with_variance=True, ordered=ordered)
    stale = expected(loss, here, older, group_size, ordered=ordered)
    right = claim.exact.gradient(here, policy)
    small = Listing.of(_small_tree(claim))
    return LossAudit(
        claim=claim,
        fresh=compare(-fresh.gradient, right, scale),
        stale=compare(-stale.gradient, right, scale),
        variance=fresh.variance,
        leak=max(fresh.leak, stale.leak),
        poisoned=_change(loss, small, group_size, ordered, poison=1),
        padded=_change(loss, small, group_size, ordered, padding=2),
        order=order,
        batches=beside_others(loss, claim) if "groups" in asked(loss) else {},
        ends=ends(loss, claim, ordered) if with_ends else (),
        counterexample=next(counterexamples(loss, claim, ordered), None),
        groups=fresh.groups,
        vectorised=fresh.vectorised,
    )


def default_tree(claim: Claim) -> LeafTree:
    """15 leaves of lengths 1 to 3; rewards are 0 and 1 where the claim is of such."""
    rewards = np.random.default_rng(0).uniform(size=15)
    return LeafTree.stopping(3, 3, (rewards > 0.5 if claim.objective == "max_rl" else rewards).tolist())


def _small_tree(claim: Claim) -> LeafTree:
    return LeafTree({"0": 1.0, "10": 0.0, "11": 1.0 if claim.objective == "max_rl" else 3.0})


def _few(listing: Listing) -> Listing:
    return Listing.of(LeafTree({"0": 0.6, "10": 0.2, "11": 0.9}))


def _change(loss: Loss, listing: Listing, size: int, ordered: bool, poison: int = 0, padding: int = 0) -> float:
    """How far the expected gradient moves with what should not move it."""
    policy = listing.moved(0.5, 3)
    drawn = Sampled(policy, behaviour=listing.moved(0.3, 1, policy))
    plain = expected(loss, listing, drawn, size, ordered=ordered).gradient
    other = expected(loss, listing, drawn, size, ordered=ordered, poison=poison, padding=padding).gradient
    return float((other - plain).abs().max())


def order_changes(loss: Loss, listing: Listing, sampled: Sampled, size: int, tries: int = 6) -> float:
    """How much the loss of a group changes with the order of its members, at most."""
    tensors, names = tensors_of(listing, sampled), asked(loss)
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for _ in range(tries):
        rows = torch.randint(len(listing.mask), (size,), generator=generator)
        values = []
        for order in (torch.arange(size), torch.randperm(size, generator=generator), torch.arange(size).flip(0)):
            given = {name: tensors[name][rows[order]] for name in names if name != "groups"}
            if "groups" in names:
                given["groups"] = torch.zeros(size, dtype=torch.int64)
            values.append(float(loss(**given)))
        worst = max(worst, max(values) - min(values))
    return worst


def beside_others(loss: Loss, claim: Claim, batches: tuple[int, ...] = (1, 2, 4)) -> dict[int, tuple[float, float]]:
    """Cosine and scale on three leaves in batches of B groups of 2, over all that may stand in them."""
    listing, size = Listing.of(_small_tree(claim)), 2
    policy = listing.moved(0.5, 3)
    drawn = Sampled(policy)
    right = Objective(claim.objective, claim.beta, size).gradient(listing, policy)
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
        comparison = compare(-total * number, right, None)
        found[number] = (comparison.cosine, comparison.scale)
    return found


def ends(loss: Loss, claim: Claim, ordered: bool = False) -> tuple[End, ...]:
    """Where the loss ends on four leaves of lengths 1 to 3, from three starts."""
    rewards = (0.0, 1.0, 0.0, 1.0) if claim.objective == "max_rl" else (0.5, 0.0, 0.2, 1.0)
    listing = Listing.of(LeafTree.stopping(2, 3, rewards))

    def gradient(logits: Tensor) -> Tensor:
        return expected(loss, listing, Sampled(logits), claim.group_size, ordered=ordered).gradient

    starts = (listing.uniform(), listing.moved(1.0, 1), listing.moved(1.0, 2))
    return tuple(end_of(gradient, claim.exact, listing, start) for start in starts)


def counterexamples(loss: Loss, claim: Claim, ordered: bool = False) -> Iterator[Counterexample]:
    """Yield the trees, smallest first, on which a loss is not what it claims, of at most eight leaves."""
    for tree in small_trees(claim):
        listing = Listing.of(tree)
        if ordered and len(listing.mask) > 4:
            return
        skewed = listing.uniform()
        skewed[:, 0] += _SKEW
        cases = [(listing.uniform(), None), (skewed, None), (skewed, listing.uniform())]
        for policy, behaviour in cases:
            sampled = Sampled(policy, behaviour=behaviour)
            found: Expected = expected(loss, listing, sampled, claim.group_size, ordered=ordered)
            right = claim.exact.gradient(listing, policy)
            comparison = compare(-found.gradient, right, claim.scale)
            if behaviour is not None and not claim.off_policy:
                comparison = replace(comparison, bias=0.0)
            other = expected(loss, listing, sampled, claim.group_size, ordered=ordered, poison=1)
            moved = float((other.gradient - found.gradient).abs().max())
            what = ("stale " if behaviour is not None else "") + "bias"
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
