"""Configurations of the algorithms that hold the log-probability of whole paths against their reward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from ...envs.checking import Range
from .base import Interval, Norm, NotNegative, Positive, Repeats, Rows, Share, Tokens
from .groups import Members
from .parts import AlgorithmConfig
from .schedule import Schedule, ends

SomeShare = Annotated[float, Range(least=0, below=1)]
"""A share of 0 to less than all."""


@dataclass(frozen=True, kw_only=True)
class PathConfig(AlgorithmConfig):
    """What the path methods share: the KL that they are about, and how often a collection is learnt from."""

    kl_coef: NotNegative | Schedule = 0.1
    """Weight β of the KL to the reference policy, above 0: what is learnt is π_ref·e^(Q/β). Larger stays closer to the
    reference; 0.01 to 0.2."""
    max_grad_norm: Norm = 10.0
    """Gradients with a larger global norm are scaled down to it. Smaller is safer and slower; 1 to 10."""
    rollout_tokens: Tokens = 128
    """Agent tokens a collection aims at. Fewer learn from fresher data and cost more time a token."""
    reward_scaling: bool = False
    """Divide rewards, and β with them, by a running standard deviation of the return-to-go. Adam sees little of it: the
    whole loss is multiplied by one number."""
    updates_per_collection: Repeats = 1
    """Updates after each collection. More learn more from each token, until they overfit to it; 1 to 8."""
    epsilon: Share | Schedule = 0.0
    """Share of tokens that are drawn uniformly from what may be said. The optimum is the same whatever it is; .05 to .3
    where the policy alone would never try what pays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(min(ends(self.kl_coef)) > 0, "kl_coef", "above 0: the path methods have no optimum without a KL")


@dataclass(frozen=True, kw_only=True)
class ReplayedPathConfig(PathConfig):
    """A path method that learns from remembered episodes, too."""

    replay_share: SomeShare = 0.5
    """Share of the episodes of an update that are remembered ones; the others are all those just collected. 0 is
    on-policy. Larger learns more from each token; 0 to 0.9."""
    replay_capacity: Interval = 2000
    """Episodes remembered, in whole groups; the oldest goes first. Fewer follow the policy more closely."""

    def __post_init__(self) -> None:
        super().__post_init__()
        enough = self.replay_capacity >= self.group_size
        self.require(enough, "replay_capacity", f"at least one group: group_size is {self.group_size}")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if not self.replay_share:
            yield "replay_capacity", "replay_share is 0"


@dataclass(frozen=True, kw_only=True)
class TrajectoryBalanceConfig(ReplayedPathConfig):
    """Configuration of trajectory balance."""

    group_size: Members = 4
    """Episodes that share a start, whose mean stands for log Z. More vary less; 4 to 16."""
    preset: Literal["vargrad", "gvpo"] = "vargrad"
    """The units of the residual: those of log-probabilities ("vargrad", the loss of TBA), or those of reward ("gvpo"),
    whose square is β² times the other."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.preset == "vargrad":
            yield "reward_scaling", "the residual of preset 'vargrad' has no units of reward"


@dataclass(frozen=True, kw_only=True)
class PathConsistencyConfig(ReplayedPathConfig):
    """Configuration of path consistency learning."""

    paths: Literal["suffixes", "whole"] = "suffixes"
    """Which stretches of an episode have to be consistent: those from every token on, or whole episodes alone."""
    path_length: Repeats | None = None
    """Tokens of a stretch, whose end is valued like its beginning; None goes on to the end of the episode, where
    nothing is to be valued. Shorter varies less where rewards are dense, and learns later what comes late."""
    values: Literal["logits", "head"] = "logits"
    """Where V comes from: the policy's own logits, β(logsumexp ℓ − logsumexp ℓ_ref), or a value head."""
    separate_critic: bool = False
    """Give the value head a trunk of its own."""
    bootstrap: Literal["own", "target"] = "own"
    """Who values the end of a stretch: the agent itself, with a gradient, or a slow copy of it without."""
    target_polyak: Annotated[float, Range(above=0, most=1)] = 0.02
    """How far the slow copy moves to the agent at each update; 1 copies it. 0.005 to 0.05."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = self.paths == "suffixes" or self.path_length is None
        self.require(whole, "path_length", "None where paths is 'whole'")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.values == "logits":
            yield "separate_critic", "values is 'logits'"
        if self.bootstrap == "own":
            yield "target_polyak", "bootstrap is 'own'"


@dataclass(frozen=True, kw_only=True)
class TBRMConfig(ReplayedPathConfig):
    """Configuration of TBRM."""

    replay_share: SomeShare = 0.0
    """Share of the episodes of an update that are remembered ones; the others are all those just collected. 0 is
    on-policy, as in the paper. Larger learns more from each token; 0 to 0.9."""


@dataclass(frozen=True, kw_only=True)
class SampledReferenceConfig(PathConfig):
    """A path method for which the reference says episodes from the same starts."""

    group_size: Rows = 2
    """Episodes of the policy that share a start. More learn more from one look at the reference; 1 to 8."""
    reference_samples: Repeats = 8
    """N: episodes of the reference a start. More are less biased or vary less, and cost more tokens; 4 to 32."""


@dataclass(frozen=True, kw_only=True)
class APOConfig(SampledReferenceConfig):
    """Configuration of A*-PO."""

    value_beta: Positive | None = None
    """β₁ of the value β₁·log mean e^(R/β₁). Larger varies less and values lower; None is `kl_coef`, for which the
    residual is 0 at the optimum. The paper has .5."""


@dataclass(frozen=True, kw_only=True)
class QRPOConfig(SampledReferenceConfig):
    """Configuration of QRPO."""

    kl_coef: NotNegative | Schedule = 0.1
    """Weight β of the KL to the reference policy, above 0, against a quantile of 0 to 1: what is learnt is
    π_ref·e^(q/β). Larger stays closer to the reference; 0.03 to 1."""
    partition: Literal["continuous", "sampled"] = "continuous"
    """Where log Z comes from: β(e^(1/β) − 1), which is Z where no two rewards tie, or the mean of e^(q/β) over the
    reference's own samples, for rewards that tie. On fresh episodes either has the same expected gradient."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "reward_scaling", "the quantile of a reward has no unit"
