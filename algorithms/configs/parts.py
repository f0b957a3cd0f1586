"""The parts that configurations are composed of, by inheritance, so that none has a field that does nothing.

Whatever learns from gradients has a `LearningConfig`; what plays episodes adds a
`RolloutConfig`; what learns from rewards a `RewardConfig`; what stays close to a reference a `KLConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ...agents.specs import LinearKernel
from .base import (
    Config,
    Delay,
    Interval,
    Norm,
    NotNegative,
    Positive,
    Rate,
    Rows,
    Share,
    Temperature,
    Tokens,
)
from .lora import LoRAConfig
from .potentials import check_potential
from .schedule import Schedule, ends, linear


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig(Config):
    """How gradients are computed and followed."""

    learning_rate: Rate | Schedule | None = None
    """Step size of Adam at the start. None takes what the agent's kind of model wants: 2e-3 for mlp, 3e-3 for gru,
    1e-3 for transformers from scratch, 1e-5 for pretrained ones. Larger learns faster, up to a point."""
    final_learning_rate_fraction: Share = 0.05
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    adam_eps: Positive = 1e-5
    """Added to Adam's denominator. Larger means smaller steps where gradients are tiny; 1e-8 to 1e-5."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay (AdamW). Larger keeps the weights smaller; 0 to 0.1."""
    max_grad_norm: Norm = 1.0
    """Gradients with a larger global norm are scaled down to it. Smaller is safer and slower; 0.5 to 10."""
    micro_batch_tokens: Tokens | None = None
    """Tokens, padding included, that the model reads at once in an update; a step adds up the gradients of as many
    passes as that takes. Bounds memory and changes nothing else; None reads a whole minibatch."""
    gradient_checkpointing: bool = False
    """Keep only what goes into each layer of a transformer and compute the rest again on the way back. Bounds memory
    further, changes nothing else, and makes updates about a third slower."""
    linear_kernel: LinearKernel = "blas"
    """What multiplies by the weights of a gpt2 or llama in float32 on a CPU. Changes nothing but last digits and time:
    where PyTorch's BLAS does not know the processor well (AMD's), oneDNN takes about half as long for many tokens."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if isinstance(self.learning_rate, Schedule):
            yield "final_learning_rate_fraction", "learning_rate is a schedule"

    def learning_rate_at(self, progress: float, usual: float) -> float:
        """Return the learning rate once the share ``progress`` of the budget is spent.

        Args:
            progress: 0 … 1.
            usual: what suits the agent, for a `learning_rate` of None.
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.at(progress)
        rate = usual if self.learning_rate is None else self.learning_rate
        return linear(rate, rate * self.final_learning_rate_fraction, progress)


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(Config):
    """How the agent speaks, wherever it does."""

    temperature: Temperature = 1.0
    """Divides the logits of policy and reference wherever probabilities are computed; larger explores more."""
    action_masks: bool = False
    """Restrict behaviour and learning to the tokens that the task calls legal."""


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(Config):
    """How episodes are collected."""

    rollout_tokens: Tokens = 512
    """Agent tokens a collection aims at. Episodes are always whole, so the number collected only comes near it."""
    num_rows: Rows = 64
    """Episodes that are played side by side. More is faster a token, until memory or caches run out."""
    group_size: Rows = 1
    """Episodes that share a start. Above 1 they can be compared with one another; 4 to 16."""
    token_rewards: bool = True
    """Credit per-token rewards that a task knows only at the end of a turn to the tokens that earned them."""


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Config):
    """What is made of the rewards of the task before anything is learnt from them."""

    gamma: Share = 1.0
    """Discount a token. Below 1 the agent prefers rewards that come sooner; 0.95 to 1."""
    reward_clip: Positive | None = None
    """Clip each token's reward to ± this, in the task's own units, before penalties, KL and scaling; None does not.
    Tames rare large rewards, and with them changes what is optimal. Atari's DQN takes 1."""
    reward_scaling: bool = True
    """Divide rewards by a running standard deviation of the return-to-go, so that one learning rate fits many tasks."""
    missing_eos_penalty: NotNegative = 0.0
    """Taken off the last reward of an episode that does not end with the vocabulary's end token; 0 to 1."""
    length_penalty: NotNegative = 0.0
    """Taken off the reward of every token beyond an episode's first `length_free`, in the task's own units; 0 to .1."""
    length_free: Delay = 0
    """Tokens an episode that `length_penalty` leaves alone."""
    count_bonus: NotNegative | Schedule = 0.0
    """Paid besides for saying a token, divided by √n where it was said n times in its state, in the task's own units.
    Leads to what was never tried where rewards are rare, and fades there; never part of an evaluation. 0.01 to 1."""
    potentials: str | None = None
    """Shape rewards by γ·Φ(next) − Φ(now), which changes no best policy: "optimal" (Φ = V* of a task that can be solved
    exactly), a name given to `register_potential`, or "module:function", which makes Φ of a task. None shapes
    nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.potentials is not None:
            check_potential(self.potentials)

    @property
    def counts_visits(self) -> bool:
        """Whether what was said where is counted."""
        return any(ends(self.count_bonus))

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if not self.length_penalty:
            yield "length_free", "length_penalty is 0"


@dataclass(frozen=True, kw_only=True)
class KLConfig(Config):
    """The KL to a reference policy, with a coefficient that is fixed or follows a schedule."""

    kl_coef: NotNegative | Schedule = 0.0
    """Weight β of the KL to the reference policy. Larger stays closer to it; 0 (off) to 0.2."""
    kl_reference: Literal["initial", "uniform"] = "initial"
    """The reference: the agent as it was at the start, or the uniform policy. A `reference` agent overrides it."""

    @property
    def has_kl(self) -> bool:
        """Whether the KL to a reference weighs anything."""
        return any(ends(self.kl_coef))

    @property
    def measures_kl(self) -> bool:
        """Whether there is a reference at all, be it for watching the KL alone."""
        return self.has_kl or self.kl_limit is not None

    @property
    def kl_limit(self) -> float | None:
        """The KL an episode at which training ends, or None."""
        return None

    @property
    def kl_steering(self) -> tuple[float | None, int]:
        """The KL an episode that β is steered to, or None, and the episodes over which it reacts."""
        return None, 1

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if not self.measures_kl:
            yield "kl_reference", "kl_coef is 0"


@dataclass(frozen=True, kw_only=True)
class AdaptiveKLConfig(KLConfig):
    """A KL whose coefficient can be steered to a target."""

    kl_target: Positive | None = None
    """KL an episode that an adaptive β steers to (Ziegler et al. 2019); None keeps β fixed. Typical: 6."""
    kl_horizon: Interval = 10_000
    """Episodes over which the adaptive β reacts. Smaller reacts faster and overshoots more."""
    kl_budget: Positive | None = None
    """KL an episode, in nats, at which training ends, with or without a β; None never ends it. Episodes
    that show a larger one are not learnt from. Pressure of optimisation is often stated in √KL; 1 to 50."""

    def __post_init__(self) -> None:
        super().__post_init__()
        free = self.kl_target is None or not isinstance(self.kl_coef, Schedule)
        self.require(free, "kl_target", "None: kl_coef is a schedule, give a number where it starts instead")

    @property
    def kl_steering(self) -> tuple[float | None, int]:
        """The KL an episode that β is steered to, or None, and the episodes over which it reacts."""
        return self.kl_target, self.kl_horizon

    @property
    def kl_limit(self) -> float | None:
        """The KL an episode at which training ends, or None."""
        return self.kl_budget

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if not self.has_kl:
            yield "kl_target", "kl_coef is 0"
        if self.kl_target is None:
            yield "kl_horizon", "kl_target is None"


@dataclass(frozen=True, kw_only=True)
class SampledKLConfig(AdaptiveKLConfig):
    """A KL that is estimated from the tokens that were said."""

    kl_in: Literal["reward", "loss", "both"] = "reward"
    """Where β acts: as a penalty in the rewards, as a term of the loss, or as both, which is the whole gradient of what
    the estimator comes to on average."""
    kl_estimator: Literal["k1", "k2", "k3", "exact"] = "k1"
    """Estimate a token: k1 = log-ratio, k2 = its half square, k3 = low variance, never negative; or "exact", the KL of
    the whole distribution in each state. The KL-regularised optimum is the fixed point of k1 in the reward, of k2 of
    the sequence in the loss, and of k3 and "exact" in both."""
    kl_level: Literal["token", "sequence"] = "token"
    """Estimate from each token's log-ratio, or from the sum over the whole episode as one number. In a loss k2 of the
    sequence has the gradient of the KL; k2 of the tokens takes the states as they come, and balances elsewhere."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tokens = self.kl_level == "token" or self.kl_estimator != "exact"
        self.require(tokens, "kl_level", "'token' with kl_estimator='exact', which is a KL of each state")

    @property
    def kl_in_reward(self) -> bool:
        """Whether the KL is taken off the rewards."""
        return self.has_kl and self.kl_in != "loss"

    @property
    def kl_in_loss(self) -> bool:
        """Whether the KL is a term of the loss."""
        return self.has_kl and self.kl_in != "reward"

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if not self.has_kl:
            yield "kl_in", "kl_coef is 0"
            yield "kl_estimator", "kl_coef is 0"
            yield "kl_level", "kl_coef is 0"


@dataclass(frozen=True, kw_only=True)
class LearningConfig(PolicyConfig, LoRAConfig, OptimiserConfig):
    """What every algorithm has."""


@dataclass(frozen=True, kw_only=True)
class OnlineConfig(RolloutConfig, LearningConfig):
    """What every algorithm that plays episodes has."""


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig(KLConfig, RewardConfig, OnlineConfig):
    """What every algorithm has that plays episodes and learns from their rewards."""
