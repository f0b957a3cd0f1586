"""Configurations of policy gradients without a critic's help: REINFORCE, and methods that compare within groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from ...envs.checking import Range
from .base import NotNegative, Positive, Repeats, Rows, Share, Tokens
from .on_policy import Aggregation, EntropyControlConfig, OnPolicyConfig
from .schedule import Schedule

Members = Annotated[int, Range(least=2, most=65_536)]
"""Episodes that are compared with one another."""


class Preset(NamedTuple):
    """What tells the group methods apart; a field of `GRPOConfig` that is not None takes its place."""

    baseline: Literal["mean", "leave_one_out", "length", "second_best"] = "mean"
    scale: Literal["none", "std", "mean"] = "std"
    ratio: Literal["token", "sequence", "geometric"] = "token"
    surrogate: Literal["clipped", "detached", "divergence"] = "clipped"
    clip_low: float = 0.2
    clip_high: float = 0.2
    ratio_cap: float = 20.0
    loss_aggregation: Aggregation = "sequence"
    drop_tied: bool = False


PRESETS: dict[str, Preset] = {
    "grpo": Preset(),
    "dr-grpo": Preset(scale="none", loss_aggregation="constant"),
    "dapo": Preset(clip_high=0.28, loss_aggregation="token", drop_tied=True),
    "gspo": Preset(ratio="sequence", clip_low=3e-4, clip_high=4e-4),
    "cispo": Preset(surrogate="detached", clip_low=1.0, clip_high=4.0, loss_aggregation="token"),
    "max-rl": Preset(scale="mean", loss_aggregation="sum"),
    "pass-at-k": Preset(baseline="second_best", scale="none", loss_aggregation="sum"),
    "gmpo": Preset(ratio="geometric", clip_low=0.3297, clip_high=0.4918),
    "opo": Preset(baseline="length", scale="none", loss_aggregation="sum"),
    "rloo": Preset(baseline="leave_one_out", scale="none", loss_aggregation="sum"),
    "dppo": Preset(scale="none", surrogate="divergence", loss_aggregation="sum"),
}
"""The named presets of `GRPOConfig.preset`."""


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(OnPolicyConfig):
    """What policy gradients on fresh episodes have; with nothing added to the paper's loss by default."""

    entropy_coef: NotNegative | Schedule = 0.0
    """Weight of the entropy bonus at the start. Larger explores longer; 0 to 0.05."""
    whiten_advantages: bool | None = False
    """Scale advantages to mean 0 and variance 1 over the agent's tokens. Steadies the size of steps, and amplifies
    noise where all advantages are near 0, as at a KL-regularised optimum. None does so where there is no KL."""


@dataclass(frozen=True, kw_only=True)
class ReinforceConfig(PolicyGradientConfig):
    """Configuration of REINFORCE."""

    rollout_tokens: Tokens = 128
    """Agent tokens a collection aims at, and so a step of the optimiser; larger is steadier and slower."""
    final_learning_rate_fraction: Share = 1.0
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    baseline: Literal["none", "mean", "leave_one_out", "optimal", "value"] = "leave_one_out"
    """What a return is measured from: nothing; the mean of those it is compared with, its own included or left out;
    the optimal token baseline, weighted by the squared size of the score; or a critic's value. Compared are the
    episodes of a group at the same step, and without groups those of the collection."""
    credit: Literal["to_go", "turn", "episode"] = "to_go"
    """What a token is paid: what came after it; what came from the beginning of its turn on, which all tokens of a turn
    share; or all of its episode, which varies more where rewards are dense."""
    absent: Literal["left_out", "zero"] = "left_out"
    """What episodes count for at steps or turns that they ended before: nothing, so that a mean is over those that got
    there; or a return of 0, which is what they earned from there on. With the baseline "mean" only the latter has the
    direction of the gradient."""
    value_coef: NotNegative | Schedule = 0.5
    """Weight of the value loss, for the baseline "value". Matters where critic and policy share a trunk; 0.1 to 1."""
    separate_critic: bool = False
    """Give the critic a trunk of its own, so that its loss cannot disturb the policy. Costs a second model."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.baseline not in ("mean", "leave_one_out"):
            yield "absent", f"the baseline is {self.baseline!r}"
        elif self.credit == "episode":
            yield "absent", "credit is 'episode', and all episodes began"
        if self.baseline == "value":
            yield "credit", "the baseline is 'value', which is of what is still to come"
        else:
            yield "value_coef", "the baseline is not 'value'"
            yield "separate_critic", "the baseline is not 'value'"

    @property
    def aggregation(self) -> Aggregation:
        """How tokens are weighed."""
        return self.loss_aggregation or "sum"


@dataclass(frozen=True, kw_only=True)
class RLOOConfig(PolicyGradientConfig):
    """Configuration of RLOO."""

    group_size: Members = 4
    """Episodes that share a start, each measured from the mean of the others. More vary less; 2 to 16."""
    rollout_tokens: Tokens = 128
    """Agent tokens a collection aims at, and so a step of the optimiser; larger is steadier and slower."""
    final_learning_rate_fraction: Share = 1.0
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""

    @property
    def aggregation(self) -> Aggregation:
        """How tokens are weighed."""
        return self.loss_aggregation or "sum"


@dataclass(frozen=True, kw_only=True)
class RepeatedConfig(EntropyControlConfig, PolicyGradientConfig):
    """What policy gradients have that take several steps on a collection."""

    epochs: Repeats = 1
    """Passes over each collection. More learns more from each token and drifts further from what said it; 1 to 10."""
    minibatches: Rows = 4
    """Steps of the optimiser a pass, each on a random share of the episodes; 1 to 16."""
    target_kl: Positive | None = None
    """Stop the passes of an update once the KL from the old policy (a token) exceeds this; None never stops early.
    Typical: 0.01 to 0.05."""

    @property
    def one_step(self) -> bool:
        """Whether the only step starts from the policy that spoke, so that all ratios are 1."""
        return self.epochs == self.minibatches == 1 and self.starts_at_old

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.epochs == self.minibatches == 1:
            yield "target_kl", "epochs and minibatches are 1, so that there is one step only"


@dataclass(frozen=True, kw_only=True)
class ReinforcePPConfig(RepeatedConfig):
    """Configuration of REINFORCE++."""

    kl_coef: NotNegative | Schedule = 0.01
    """Weight β of the KL to the reference policy. Larger stays closer to it; 0 (off) to 0.2."""
    whiten_advantages: bool | None = True
    """Scale advantages to mean 0 and variance 1 over the agent's tokens of the collection, which is what stands for a
    baseline here."""
    clip: Positive | Schedule = 0.2
    """ε: a token's probability ratio earns nothing beyond 1 ± ε. Smaller is more careful; 0.1 to 0.3."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.one_step:
            yield "clip", "epochs and minibatches are 1, so that the only step starts from the old policy"


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(RepeatedConfig):
    """Configuration of GRPO and its kin: a preset, and what is to differ from it."""

    preset: Literal[
        "grpo", "dr-grpo", "dapo", "gspo", "cispo", "max-rl", "pass-at-k", "gmpo", "opo", "rloo", "dppo"
    ] = "grpo"
    """The method whose choices the fields below have where they are None."""
    group_size: Members = 8
    """Episodes that share a start and are compared. More say better what was good, of fewer starts; 4 to 16."""
    kl_in: Literal["reward", "loss", "both"] = "loss"
    """Where β acts: as a penalty in the rewards, as a term of the loss, or as both."""
    kl_estimator: Literal["k1", "k2", "k3", "exact"] = "k3"
    """Estimate a token: k1 = log-ratio, k2 = its half square, k3 = low variance, never negative; or "exact". The paper
    has k3 in the loss, whose fixed point is not the KL-regularised optimum; k1 in the reward, or k2 of the sequence in
    the loss, without a scale, have it."""
    reward_scaling: bool = False
    """Divide rewards by a running standard deviation of the return-to-go; for presets whose advantages have units."""
    baseline: Literal["mean", "leave_one_out", "length", "second_best"] | None = None
    """What a return is measured from: the group's mean; the mean of the others; the mean weighted by lengths; or the
    second best, which leaves only the best with an advantage."""
    scale: Literal["none", "std", "mean"] | None = None
    """What advantages are divided by: nothing, or the group's standard deviation or mean."""
    ratio: Literal["token", "sequence", "geometric"] | None = None
    """What is clipped: each token's ratio, the episode's (the exponential of the mean log-ratio), or the tokens' within
    the episode's geometric mean."""
    surrogate: Literal["clipped", "detached", "divergence"] | None = None
    """−min(ρA, clip(ρ)A), whose gradient ends where the clip holds; −sg(clip(ρ))·A·log π, where it never ends; or
    −sg(min(ρ, C))·A·log π, which ends where the token's probability, not its ratio, has moved too far."""
    clip_low: Annotated[float, Range(above=0, most=1)] | None = None
    """How far below 1 the ratio may go, or with "divergence" how far a probability may fall; 1 does not bound it.
    Typical: .2."""
    clip_high: Positive | None = None
    """How far above 1 the ratio may go, or with "divergence" how far a probability may rise. Typical: .2 to .28."""
    ratio_cap: Positive | None = None
    """C, the largest weight of a token with "divergence". Larger follows older data more faithfully and varies more."""
    drop_tied: bool | None = None
    """Leave groups out whose returns are all equal, so that they weigh nothing in the mean over tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one = self.rule.surrogate == "clipped" or self.rule.ratio != "geometric"
        self.require(one, "surrogate", "'clipped' with the ratio 'geometric', in which no token has a ratio of its own")
        token = self.rule.surrogate != "divergence" or self.rule.ratio == "token"
        has = f", and preset {self.preset!r} has 'divergence'" if self.surrogate is None else ""
        self.require(token, "surrogate", f"'clipped' or 'detached' unless the ratio is 'token'{has}")
        plain = self.rule.scale != "mean" or not self.kl_in_reward
        self.require(plain, "kl_in", "'loss' where advantages are divided by the group's mean, which the KL may turn")

    @property
    def rule(self) -> Preset:
        """The preset, with the fields in place that are not None."""
        preset = PRESETS[self.preset]
        given = {name: getattr(self, name) for name in Preset._fields}
        return preset._replace(**{name: value for name, value in given.items() if value is not None})

    @property
    def aggregation(self) -> Aggregation:
        """How tokens are weighed."""
        return self.rule.loss_aggregation

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.rule.scale != "none":
            yield "reward_scaling", "advantages are divided by what is of the group"
        if self.one_step:
            for name in ("clip_low", "clip_high", "surrogate"):
                yield name, "epochs and minibatches are 1, so that the only step starts from the old policy"
        if self.one_step or self.rule.surrogate != "divergence":
            yield "ratio_cap", "surrogate is not 'divergence', or all ratios are 1"
