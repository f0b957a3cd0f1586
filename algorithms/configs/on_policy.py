"""Configurations of the algorithms that learn from fresh episodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .base import Config, Delay, Interval, NotNegative, Positive, Repeats, Rows, Share, Tokens
from .parts import AlgorithmConfig, SampledKLConfig
from .schedule import Schedule, ends, linear

if TYPE_CHECKING:
    from typing_extensions import Self

Aggregation = Literal["token", "sequence", "constant", "sum"]
"""How tokens are weighed in a loss."""

RATIO_TOLERANCES = {"float32": 2e-4, "bfloat16": 0.5, "float64": 1e-9}
"""How far off the ratio before the first step may be, by the agent's dtype."""


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(SampledKLConfig, AlgorithmConfig):
    """What algorithms on fresh episodes have."""

    entropy_coef: NotNegative | Schedule = 0.01
    """Weight of the entropy bonus at the start. Larger explores longer; 0 to 0.05."""
    final_entropy_fraction: NotNegative = 0.0
    """The entropy bonus falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    whiten_advantages: bool | None = None
    """Scale advantages to mean 0 and variance 1 over the agent's tokens. Steadies the size of steps, and amplifies
    noise where all advantages are near 0, as at a KL-regularised optimum. None does so where there is no KL."""
    whiten_rewards: bool = False
    """Scale what is learnt from to variance 1 over the tokens of a collection, keeping its mean (Ziegler et al.)."""
    loss_aggregation: Aggregation | None = None
    """How tokens are weighed: "token", all alike; "sequence", all episodes alike (favours short ones); "constant", by
    the longest an episode can be; or "sum", which divides by the number of episodes alone. None takes what the
    algorithm's paper has, "token" where it says nothing."""
    importance: Literal["none", "truncate", "mask"] = "none"
    """Weigh what is learnt from a token by π_old/μ, where μ drew it, such as a sampler of other rounding or top-p:
    cut at `importance_cap` (truncated importance sampling), or left out beyond bounds (IcePop)."""
    importance_level: Literal["token", "sequence"] = "token"
    """Weigh each token by its own ratio, which leaves a bias, or by that of its whole episode, which varies more."""
    importance_cap: Positive = 2.0
    """The largest weight. Larger is less biased and varies more; 2 to 5."""
    importance_floor: NotNegative = 0.5
    """The smallest weight, below which "mask" leaves a token out; 0 to .5."""
    sync_every: Interval = 1
    """Updates between those at which who collects is brought up to date. Above 1 data are stale by up to as many
    updates, as where a sampler runs apart; ratios are then to who collected. 1 to 64."""
    replay_capacity: Delay = 0
    """Episodes remembered, of which an update draws as many as a collection has, the oldest going first; whole groups.
    0 learns from fresh ones alone. More learn more from each token, if the loss can bear old ones; 100 to 10,000."""
    updates_per_collection: Repeats = 1
    """Draws from the replay, each learnt from as a collection would be, after each collection; 1 to 8."""
    ratio_tolerance: Positive | None = None
    """The ratio π/π_old before the first step must be 1 to within this. None takes what the agent's dtype allows:
    2e-4 in float32, where decoding and the teacher-forced pass are each right to 1e-4 and may be off to opposite sides,
    0.5 in bfloat16 (which rounds logits of twenty to an eighth), 1e-9 in float64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = self.replay_capacity % self.group_size == 0
        self.require(whole, "replay_capacity", f"a multiple of group_size ({self.group_size}): groups are kept whole")
        between = self.importance != "mask" or self.importance_floor < self.importance_cap
        self.require(
            between, "importance_floor", f"less than importance_cap, {self.importance_cap:g}: else all is left out"
        )
        of_episodes = self.importance != "none" and self.kl_in_loss and self.kl_level == "sequence"
        self.require(
            self.importance_level == "sequence" or not of_episodes,
            "importance_level",
            "'sequence' where the loss has a KL of whole episodes (kl_level='sequence'): no token's ratio weighs it",
        )

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration that a file holds; 2e-4 was the default when all agents were float32."""
        asked = dict(values)
        if asked.get("ratio_tolerance") == RATIO_TOLERANCES["float32"]:
            asked["ratio_tolerance"] = None
        return super().restored(asked)

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if isinstance(self.entropy_coef, Schedule):
            yield "final_entropy_fraction", "entropy_coef is a schedule"
        elif not self.entropy_coef:
            yield "final_entropy_fraction", "entropy_coef is 0"
        if self.importance == "none":
            yield "importance_level", "importance is 'none'"
            yield "importance_cap", "importance is 'none'"
        if self.importance != "mask":
            yield "importance_floor", "importance is not 'mask'"
        if not self.replay_capacity:
            yield "updates_per_collection", "replay_capacity is 0"
        if not self.fresh:
            yield "ratio_tolerance", "what is learnt from is not what the policy itself has just said"

    @property
    def fresh(self) -> bool:
        """Whether what is learnt from is what the policy itself has just said."""
        return self.sync_every == 1 and not self.replay_capacity

    @property
    def starts_at_old(self) -> bool:
        """Whether ratios are to the policy before the update: what is learnt from is fresh, or weighed by itself."""
        return self.fresh or self.importance != "none"

    @property
    def aggregation(self) -> Aggregation:
        """How tokens are weighed."""
        return self.loss_aggregation or "token"

    def entropy_coef_at(self, progress: float) -> float:
        """Return the weight of the entropy bonus once the share ``progress`` of the budget is spent."""
        if isinstance(self.entropy_coef, Schedule):
            return self.entropy_coef.at(progress)
        return linear(self.entropy_coef, self.entropy_coef * self.final_entropy_fraction, progress)


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(OnPolicyConfig):
    """What algorithms on fresh episodes have that learn a critic."""

    gae_lambda: Share = 0.95
    """λ of generalised advantage estimation. Larger trusts the critic less: less bias, more variance; 0.9 to 1."""
    value_coef: NotNegative | Schedule = 0.5
    """Weight of the value loss. Matters where critic and policy share a trunk; 0.1 to 1."""
    separate_critic: bool = False
    """Give the critic a trunk of its own, so that its loss cannot disturb the policy. Costs a second model."""
    critic_warmup: Delay = 0
    """Agent tokens during which the critic alone learns, before the policy takes its first step: a policy that knows
    something already is not moved by a critic that knows nothing. One collection to a tenth of all tokens."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if not any(ends(self.value_coef)):
            yield "critic_warmup", "value_coef is 0"

    def delays(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that a budget must outlast, each with what follows where it does not."""
        yield from super().delays()
        yield "critic_warmup", "the policy takes no step"


@dataclass(frozen=True, kw_only=True)
class EntropyControlConfig(Config):
    """What keeps the entropy up where several steps are taken on a collection (Cui et al. 2025)."""

    entropy_control: Literal["none", "kl-cov", "clip-cov"] = "none"
    """What is done about the few tokens that entropy is lost at, those of the highest (log π − mean)·(A − mean) of a
    collection: nothing; a KL to the old policy on the highest; or no gradient for some of those between two bounds."""
    covariance_share: Share = 2e-4
    """Share of the tokens that this is done to, at least one where it is not 0. Larger holds the entropy higher; 2e-4
    to 2e-3."""
    covariance_kl: NotNegative = 1.0
    """Weight of the KL of "kl-cov". Larger holds these tokens closer to where they were; .5 to 2."""
    covariance_low: NotNegative = 1.0
    """The least covariance of tokens that "clip-cov" draws from; far above the mean, for advantages of variance 1."""
    covariance_high: Positive = 5.0
    """The largest covariance of tokens that "clip-cov" draws from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered = self.entropy_control != "clip-cov" or self.covariance_low < self.covariance_high
        self.require(ordered, "covariance_low", f"less than covariance_high, {self.covariance_high:g}")
        moves = self.entropy_control != "kl-cov" or not self.one_step
        self.require(
            moves,
            "entropy_control",
            "'none' or 'clip-cov' where epochs and minibatches are 1: the only step starts from the old policy, to "
            "which the KL then has no gradient",
        )

    @property
    def one_step(self) -> bool:
        """Whether the only step starts from the old policy, so that all ratios are 1."""
        return False

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.entropy_control == "none":
            yield "covariance_share", "entropy_control is 'none'"
        if self.entropy_control != "kl-cov":
            yield "covariance_kl", "entropy_control is not 'kl-cov'"
        if self.entropy_control != "clip-cov":
            yield "covariance_low", "entropy_control is not 'clip-cov'"
            yield "covariance_high", "entropy_control is not 'clip-cov'"


@dataclass(frozen=True, kw_only=True)
class PPOConfig(EntropyControlConfig, ActorCriticConfig):
    """Configuration of PPO."""

    epochs: Repeats = 4
    """Passes over each collection. More learns more from each token and drifts further from what said it; 1 to 10."""
    minibatches: Rows = 8
    """Steps of the optimiser a pass, each on a random share of the sequences. More learn more from each token, until
    a share is too small to point anywhere; 1 to 16."""
    clip: Positive | Schedule = 0.2
    """ε: a token's probability ratio earns nothing beyond 1 ± ε. Smaller is more careful; 0.1 to 0.3."""
    value_clip: Positive | None = None
    """How far a value may move in one update, in units of scaled rewards; None does not clip. Typical: 0.2."""
    target_kl: Positive | None = None
    """Stop the passes of an update once the KL from the old policy (a token) exceeds this; None never stops early.
    Typical: 0.01 to 0.05."""

    @property
    def one_step(self) -> bool:
        """Whether the only step starts from the old policy, so that all ratios are 1."""
        return self.epochs == self.minibatches == 1 and self.starts_at_old

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.epochs == self.minibatches == 1:
            for name in ("clip", "value_clip", "target_kl") if self.one_step else ("value_clip", "target_kl"):
                yield name, "epochs and minibatches are 1, so that the only step starts from the old policy"
        elif not any(ends(self.value_coef)):
            yield "value_clip", "value_coef is 0"


@dataclass(frozen=True, kw_only=True)
class A2CConfig(ActorCriticConfig):
    """Configuration of A2C: smaller collections and a larger step than PPO's, since each is used once."""

    final_learning_rate_fraction: Share = 1.0
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    entropy_coef: NotNegative | Schedule = 0.1
    """Weight of the entropy bonus at the start. With a smaller one a policy whose steps no clip holds back grows
    sure too early; 0.01 to 0.1."""
    rollout_tokens: Tokens = 48
    """Agent tokens a collection aims at, and so a step of the optimiser; larger is steadier and slower."""
