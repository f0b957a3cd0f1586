"""Configurations of methods made for what an older policy, or another one, said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from ...envs.checking import Range
from .base import Positive, Rows, Share, Tokens
from .groups import PolicyGradientConfig
from .on_policy import ActorCriticConfig, Aggregation

Number = Annotated[float, Range(least=-1_000_000, most=1_000_000)]
"""Something that may be on either side of 0."""


@dataclass(frozen=True, kw_only=True)
class OffsetConfig(PolicyGradientConfig):
    """What policy gradients have whose baseline is a choice of what to learn from."""

    group_size: Rows = 4
    """Episodes that share a start, which "mean" and "leave_one_out" are of; with 1 they are of the collection."""
    rollout_tokens: Tokens = 128
    """Agent tokens a collection aims at, and so a step of the optimiser; larger is steadier and slower."""
    final_learning_rate_fraction: Share = 1.0
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    baseline: Literal["none", "mean", "leave_one_out"] = "none"
    """What an episode's return is measured from: nothing, or the mean of those of its group, its own included or left
    out."""
    offset: Number = 0.0
    """Added to the baseline, in units of the scaled reward. Lower ones learn more from what was good and less from what
    was bad, which older data bear better; −1 to 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whitened = not self.has_kl if self.whiten_advantages is None else self.whiten_advantages
        self.require(
            not (whitened and self.offset),
            "whiten_advantages",
            f"False with an offset ({self.offset:g}), which is taken off again with the mean",
        )

    @property
    def aggregation(self) -> Aggregation:
        """How tokens are weighed."""
        return self.loss_aggregation or "sum"


@dataclass(frozen=True, kw_only=True)
class TOPRConfig(OffsetConfig):
    """Configuration of TOPR."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "importance", "episodes are weighed by their own truncated ratio"


@dataclass(frozen=True, kw_only=True)
class AsymREConfig(OffsetConfig):
    """Configuration of AsymRE."""

    baseline: Literal["none", "mean", "leave_one_out"] = "mean"
    """What an episode's return is measured from: nothing, or the mean of those of its group, its own included or left
    out."""
    offset: Number = -0.1
    """δ, added to the baseline, in units of the scaled reward. Lower ones learn more from what was good and less from
    what was bad, which older data bear better; −1 to 0."""


@dataclass(frozen=True, kw_only=True)
class VTraceConfig(ActorCriticConfig):
    """Configuration of the V-trace actor-critic."""

    final_learning_rate_fraction: Share = 1.0
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    rollout_tokens: Tokens = 48
    """Agent tokens a collection aims at, and so a step of the optimiser; larger is steadier and slower."""
    gae_lambda: Share = 1.0
    """λ of the traces. Smaller trusts the critic more: less variance, more of its error; 0.9 to 1."""
    rho_cap: Positive = 1.0
    """ρ̄, the largest weight π/μ of a token's own error. Larger is less biased towards what was said, and varies more;
    1 to 10."""
    trace_cap: Positive = 1.0
    """c̄, the largest weight with which what came after a token is passed back to it. Larger is faster and varies more;
    at most `rho_cap`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.trace_cap <= self.rho_cap, "trace_cap", f"at most rho_cap ({self.rho_cap:g})")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "importance", "tokens are weighed by rho_cap and trace_cap"
