"""What a loss claims, and how far an expected gradient is from the claimed one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...envs import TokenGymError
from .objectives import CLAIMS, WEIGHED, Objective

TOLERANCE = 1e-9
"""The largest bias of a loss that is called right."""

UNBIASED = 1e-10
"""The largest error after the best scale of what is called unbiased."""

NOTHING = 1e-14
"""A gradient shorter than this is none."""


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
        return Objective(self.objective, self.beta, size=self.group_size)

    @property
    def counts(self) -> bool:
        """Whether it is of rewards 0 and 1 alone."""
        return self.objective in ("max_rl", "pass_at_k")


_OF_OTHERS = {"likelihood": "a data set", "teacher": "a teacher"}


def claim_fits(objective: str, beta: float, rests: bool) -> None:
    """Raise where a loss of log-probabilities and rewards cannot claim an objective, or not with these arguments."""
    if objective in _OF_OTHERS:
        can = ", ".join(repr(name) for name in CLAIMS if name not in _OF_OTHERS)
        raise TokenGymError(
            f"claim {objective!r} is of what {_OF_OTHERS[objective]} says, which a loss as a function is not given; "
            f"expected one of {can}."
        )
    if beta and objective in CLAIMS and objective not in WEIGHED:
        raise TokenGymError(
            f"claim {objective!r} has no KL, which beta={beta:g} would weigh; expected claim 'kl_return', or beta 0."
        )
    # Without a KL the first is the return, which has a name of its own, and nothing rests anywhere but at an edge.
    if not beta and (objective == "kl_return" or (rests and objective in WEIGHED)):
        raise TokenGymError(f"claim {objective!r} has beta 0; expected the weight of its KL, such as beta=0.5.")
    if rests and objective in CLAIMS and objective not in WEIGHED:
        raise TokenGymError(
            f"rests=True claims to rest at a KL-regularised optimum, and objective={objective!r} has none; expected "
            "objective='kl_return' with beta."
        )


@dataclass(frozen=True)
class Comparison:
    """An expected gradient g beside the one that was claimed, g*.

    Attributes:
        cosine: of the angle between the two; where one vanishes 0, where both do 1.
        scale: ⟨g, g*⟩/‖g*‖², by which the claimed one is to be multiplied.
        error: ‖g − scale·g*‖/‖g‖, the sine of the angle: what no step size mends.
        bias: ‖g/c − g*‖/‖g*‖ with c the scale that is claimed; where any is, the best, which has to be positive.
        norm: ‖g‖.
        claimed: ‖g*‖.
    """

    cosine: float
    scale: float
    error: float
    bias: float
    norm: float
    claimed: float

    @property
    def unbiased(self) -> bool:
        """Whether it points where it is said to, up to a positive scale."""
        return self.scale > 0 and self.error < UNBIASED

    @property
    def vanishes(self) -> bool:
        """Whether there is no gradient at all."""
        return self.norm < 1e-12


def compare(found: Tensor, claimed: Tensor, scale: float | None = 1.0) -> Comparison:
    """Hold an expected gradient against a claimed one, both directions of ascent of the same shape.

    Args:
        found: the expected one.
        claimed: the one that it is held against; where that vanishes, error and bias are the length of what was found.
        scale: how long the first is claimed to be, in units of the second; None: it may be any.
    """
    g, right = found.detach().double().flatten(), claimed.detach().double().flatten()
    norm, length = float(g.norm()), float(right.norm())
    if length < NOTHING:
        return Comparison(float(norm < NOTHING), 0.0, norm, norm, norm, length)
    if norm < NOTHING:
        return Comparison(0.0, 0.0, 1.0, 1.0, norm, length)
    best = float(g @ right) / length**2
    error = float((g - best * right).norm()) / norm
    divisor = best if scale is None else scale
    bias = float((g / divisor - right).norm()) / length if divisor > NOTHING else float("inf")
    return Comparison(float(g @ right) / norm / length, best, error, bias, norm, length)
