"""What a loss claims, and how far what it does is from that."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .ends import optimum_logits
from .listing import Listing
from .losses import Loss, Sampled, expected
from .objectives import Objective

TOLERANCE = 1e-9
"""The largest bias of what is called right."""


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
        mismatched: what an older policy would draw is drawn by a sampler that does not agree with the policy, whose own
            log-probabilities the old ones are: what a correction for the sampler is told.
        rests: it claims no gradient, only to come to rest at the objective's optimum, on what the reference says: the
            claim of preference losses. Then it is held against its gradient there.
    """

    objective: str = "return"
    beta: float = 0.0
    group_size: int = 4
    scale: float | None = 1.0
    off_policy: bool = False
    level: str = "sequence"
    mismatched: bool = False
    rests: bool = False

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
        bias: ‖g/c − g*‖/‖g*‖ with c the claimed scale, or where any is allowed the best one. Of a loss that claims to
            rest at an optimum: the norm of its gradient there as a share of that at the reference.
        error: the same after the best scale.
    """

    cosine: float
    scale: float
    bias: float
    error: float


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


def unrest(loss: Loss, claim: Claim, listing: Listing, behaviour: Tensor | None = None) -> float:
    """The norm of a loss's gradient at the claimed optimum, as a share of that at the reference."""
    behaviour = listing.uniform() if behaviour is None else behaviour

    def norm(logits: Tensor) -> float:
        return float(expected(loss, listing, Sampled(logits, behaviour=behaviour), claim.group_size).gradient.norm())

    return norm(optimum_logits(claim.exact, listing)) / norm(listing.uniform())
