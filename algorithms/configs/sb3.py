"""Configurations of Stable-Baselines3's and sb3-contrib's algorithms.

Fields have the names of those libraries and go to their constructors as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ...envs.checking import Range
from .base import Config, Delay, Interval, Norm, NotNegative, Positive, Rate, Repeats, Rows, Share, Tokens


@dataclass(frozen=True, kw_only=True)
class SB3Config(Config):
    """What all have."""

    num_envs: Rows = 8
    """Episodes that are played side by side. More decorrelate the data and cost updates a token; 4 to 64."""
    learning_rate: Rate = 1e-3
    """Step size, constant; 1e-4 to 3e-3 for small networks."""
    gamma: Share = 1.0
    """Discount a token. Below 1 the agent prefers rewards that come sooner; 0.95 to 1."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of the library's constructor."""
        return {name: value for name, value in self.to_dict().items() if name not in self._not_arguments}

    _not_arguments: ClassVar[tuple[str, ...]] = ("num_envs",)

    def policy_arguments(self) -> dict[str, Any]:
        """Return what the library's policy takes beside the network."""
        return {}

    @property
    def transitions(self) -> int:
        """How many transitions are held in memory, with two observations each."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SB3CollectingConfig(SB3Config):
    """What those have that learn from what they have just said."""

    n_steps: Tokens = 32
    """Tokens of each row between updates. Episodes are cut there and go on after the update; 5 to 2,048."""
    gae_lambda: Share = 0.95
    """Trace of generalised advantage estimation: 0 trusts the value, 1 the sampled return; 0.9 to 1."""

    @property
    def transitions(self) -> int:
        """Those of a collection; their observations are copied to be shuffled."""
        return self.n_steps * self.num_envs

    def __post_init__(self) -> None:
        super().__post_init__()
        held = 1 < self.transitions <= 10_000_000
        self.require(held, "n_steps", "n_steps * num_envs within 2 … 10,000,000 tokens an update")


@dataclass(frozen=True, kw_only=True)
class SB3OnPolicyConfig(SB3CollectingConfig):
    """What PPO and A2C have."""

    ent_coef: NotNegative = 0.01
    """Weight of the entropy in the loss. Larger explores longer; 0 to 0.05."""
    vf_coef: NotNegative = 0.5
    """Weight of the value loss; 0.1 to 1."""
    max_grad_norm: Norm = 0.5
    """Gradients with a larger global norm are scaled down to it; 0.5 to 10."""


@dataclass(frozen=True, kw_only=True)
class SB3PPOConfig(SB3OnPolicyConfig):
    """PPO of Stable-Baselines3."""

    learning_rate: Rate = 3e-3
    """Step size, constant; 3e-4 to 3e-3 for small networks."""
    batch_size: Tokens = 64
    """Tokens of a minibatch; it should divide ``n_steps * num_envs``."""
    n_epochs: Repeats = 4
    """Passes over the data of an update. More learn more from them and move further; 1 to 10."""
    clip_range: Positive = 0.2
    """How far the probability ratio may move before its gradient stops; 0.1 to 0.3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.batch_size > 1, "batch_size", "at least 2")
        divides = self.n_steps * self.num_envs % self.batch_size == 0
        self.require(divides, "batch_size", f"a divisor of n_steps * num_envs = {self.n_steps * self.num_envs}")


@dataclass(frozen=True, kw_only=True)
class SB3A2CConfig(SB3OnPolicyConfig):
    """A2C of Stable-Baselines3, with its RMSprop."""

    num_envs: Rows = 16
    """Episodes that are played side by side. More decorrelate the data and cost updates a token; 8 to 64."""
    learning_rate: Rate = 3e-3
    """Step size, constant; 7e-4 to 3e-3 for small networks."""
    n_steps: Tokens = 5
    """Tokens of each row between updates. Episodes are cut there and go on after the update; 5 to 64."""


@dataclass(frozen=True, kw_only=True)
class SB3DQNConfig(SB3Config):
    """DQN of Stable-Baselines3: one-step targets, the plain maximum, one coin of ε for all rows."""

    max_grad_norm: Norm = 10.0
    """Gradients with a larger global norm are scaled down to it; 1 to 10."""
    buffer_size: Tokens = 50_000
    """Transitions remembered, two observations each."""
    learning_starts: Delay = 1000
    """Tokens said at random before the first update."""
    batch_size: Tokens = 64
    """Transitions of an update; 32 to 256."""
    train_freq: Interval = 4
    """Steps of all rows between updates."""
    gradient_steps: Repeats = 4
    """Updates made then. More learn more from each token, until they overfit; 1 to 32."""
    tau: Annotated[float, Range(above=0, most=1)] = 1.0
    """How far the target network moves to the online one; 1 copies it."""
    target_update_interval: Interval = 500
    """Tokens between two updates of the target network."""
    exploration_fraction: Annotated[float, Range(above=0, most=1)] = 0.3
    """Share of the budget over which ε falls from 1 to `exploration_final_eps`."""
    exploration_final_eps: Share = 0.05
    """Share of random tokens from then on."""

    @property
    def transitions(self) -> int:
        """Those of the replay."""
        return self.buffer_size

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.buffer_size >= self.num_envs, "buffer_size", "at least num_envs")

    def delays(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that a budget must outlast, each with what follows where it does not."""
        yield from super().delays()
        yield "learning_starts", "nothing is learnt"


@dataclass(frozen=True, kw_only=True)
class SB3QRDQNConfig(SB3DQNConfig):
    """QR-DQN of sb3-contrib: DQN that learns quantiles of the return and follows their mean."""

    n_quantiles: Annotated[int, Range(least=1, most=10_000)] = 25
    """How many quantiles stand for a return's distribution. More resolve it finer and cost time; 10 to 200."""

    _not_arguments: ClassVar[tuple[str, ...]] = ("num_envs", "n_quantiles")

    def policy_arguments(self) -> dict[str, Any]:
        """Return the number of quantiles."""
        return {"n_quantiles": self.n_quantiles}


@dataclass(frozen=True, kw_only=True)
class SB3MaskablePPOConfig(SB3PPOConfig):
    """MaskablePPO of sb3-contrib: PPO whose policy is renormalised over the legal tokens, in play and in updates."""

    action_masks: bool = True
    """Whether only legal tokens are said, in play, updates and evaluation; without, it is PPO."""

    _not_arguments: ClassVar[tuple[str, ...]] = ("num_envs", "action_masks")


@dataclass(frozen=True, kw_only=True)
class SB3TRPOConfig(SB3CollectingConfig):
    """TRPO of sb3-contrib: the natural gradient, as far as a bound on the KL and a line search allow."""

    n_steps: Tokens = 64
    """Tokens of each row between updates. Episodes are cut there and go on after the update; 32 to 2,048."""
    learning_rate: Rate = 3e-3
    """Step size of the value, constant; the policy's is the line search's. 3e-4 to 3e-3 for small networks."""
    batch_size: Tokens = 64
    """Tokens of a minibatch of the value's; it should divide ``n_steps * num_envs``."""
    target_kl: Positive = 0.02
    """Bound on the KL of an update. Larger moves further on the same data; 0.005 to 0.05."""
    cg_max_steps: Repeats = 15
    """Steps of the conjugate gradient that solves for the natural gradient; 5 to 20."""
    cg_damping: NotNegative = 0.1
    """What is added to the Fisher matrix's diagonal. More is steadier and nearer the plain gradient; 0.01 to 0.3."""
    line_search_shrinking_factor: Annotated[float, Range(above=0, below=1)] = 0.8
    """What a step is multiplied by that breaks the bound or lowers the objective; 0.5 to 0.9."""
    line_search_max_iter: Repeats = 10
    """How often it is, before an update is left out; 5 to 15."""
    n_critic_updates: Repeats = 10
    """Passes of the value over the data of an update; 1 to 20."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.batch_size > 1, "batch_size", "at least 2")
        divides = self.n_steps * self.num_envs % self.batch_size == 0
        self.require(divides, "batch_size", f"a divisor of n_steps * num_envs = {self.n_steps * self.num_envs}")
