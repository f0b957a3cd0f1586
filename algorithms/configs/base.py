"""Configurations: frozen, keyword-only dataclasses in which every field says what it does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...envs.errors import TokenGymError, unknown_name

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class Config:
    """A configuration: checks its values, names the nearest field for a wrong one, and becomes a dict and back."""

    def require(self, condition: bool, name: str, expected: str) -> None:
        """Raise a `TokenGymError` that names the field, its value and what was expected, unless ``condition``."""
        if not condition:
            raise TokenGymError(f"{name} is {getattr(self, name)!r}; expected {expected}.")

    def replace(self, **overrides: Any) -> Self:
        """Return a copy with some fields changed.

        Raises:
            TokenGymError: a name is not a field (the nearest are listed), or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in overrides:
            if name not in known:
                raise unknown_name(f"{type(self).__name__} field", name, known)
        try:
            return dataclasses.replace(self, **overrides)
        except TypeError as error:
            raise TokenGymError(f"{type(self).__name__} cannot take {overrides!r}: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-able dict; ``Config().replace(**config.to_dict())`` equals ``config``."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig(Config):
    """What every algorithm has: the optimiser, the collection of episodes, rewards, and the KL to a reference."""

    learning_rate: float = 1e-3
    """Step size of Adam at the start. Models trained from scratch want 3e-4 to 3e-3, pretrained ones 1e-6 to 1e-5."""
    final_learning_rate_fraction: float = 0.05
    """The learning rate falls linearly to this fraction of itself at `total_timesteps`; 1 keeps it constant."""
    adam_eps: float = 1e-5
    """Added to Adam's denominator. Larger means smaller steps where gradients are tiny; 1e-8 to 1e-5."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW). Larger keeps the weights smaller; 0 to 0.1."""
    max_grad_norm: float = 1.0
    """Gradients with a larger global norm are scaled down to it. Smaller is safer and slower; 0.5 to 10."""

    gamma: float = 1.0
    """Discount a token. Below 1 the agent prefers rewards that come sooner; 0.95 to 1."""
    temperature: float = 1.0
    """Divides the logits of policy and reference wherever probabilities are computed; larger explores more."""

    rollout_tokens: int = 512
    """Agent tokens a collection aims at. Episodes are always whole, so the number collected only comes near it."""
    num_rows: int = 64
    """Episodes that are played side by side. More is faster a token, until memory or caches run out."""
    group_size: int = 1
    """Episodes that share a start. Above 1 they can be compared with one another; 4 to 16."""

    reward_scaling: bool = True
    """Divide rewards by a running standard deviation of the return-to-go, so that one learning rate fits many tasks."""
    missing_eos_penalty: float = 0.0
    """Taken off the last reward of an episode that does not end with the vocabulary's end token; 0 to 1."""
    token_rewards: bool = True
    """Credit per-token rewards that a task knows only at the end of a turn to the tokens that earned them."""
    action_masks: bool = False
    """Restrict behaviour and learning to the tokens that the task calls legal."""

    kl_coef: float = 0.0
    """Weight β of the KL to the reference policy. Larger stays closer to it; 0 (off) to 0.2."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where β acts: as a penalty in each token's reward, or as a term of the loss."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """Estimate a token: k1 = log-ratio, k2 = its half square, k3 = low variance, never negative. In a loss only k2
    has the gradient of the KL; in the reward only k1 has the KL-regularised optimum."""
    kl_target: float | None = None
    """KL an episode that an adaptive β steers to (Ziegler et al. 2019); None keeps β fixed. Typical: 6."""
    kl_horizon: int = 10_000
    """Episodes over which the adaptive β reacts. Smaller reacts faster and overshoots more."""
    kl_reference: Literal["initial", "uniform"] = "initial"
    """The reference: the agent as it was at the start, or the uniform policy. A `reference` agent overrides it."""

    def __post_init__(self) -> None:
        self.require(self.learning_rate > 0, "learning_rate", "a number above 0")
        self.require(0 <= self.final_learning_rate_fraction <= 1, "final_learning_rate_fraction", "within 0 … 1")
        self.require(self.adam_eps > 0, "adam_eps", "a number above 0")
        self.require(self.weight_decay >= 0, "weight_decay", "a number of at least 0")
        self.require(self.max_grad_norm > 0, "max_grad_norm", "a number above 0 (float('inf') turns clipping off)")
        self.require(0 <= self.gamma <= 1, "gamma", "within 0 … 1")
        self.require(self.temperature > 0, "temperature", "a number above 0")
        self.require(self.rollout_tokens >= 1, "rollout_tokens", "at least 1")
        self.require(self.num_rows >= 1, "num_rows", "at least 1")
        self.require(self.group_size >= 1, "group_size", "at least 1")
        self.require(self.missing_eos_penalty >= 0, "missing_eos_penalty", "a number of at least 0")
        self.require(self.kl_coef >= 0, "kl_coef", "a number of at least 0")
        self.require(self.kl_in in ("reward", "loss"), "kl_in", "'reward' or 'loss'")
        self.require(self.kl_estimator in ("k1", "k2", "k3"), "kl_estimator", "'k1', 'k2' or 'k3'")
        self.require(self.kl_target is None or self.kl_target > 0, "kl_target", "None or a number above 0")
        self.require(self.kl_horizon >= 1, "kl_horizon", "at least 1")
        self.require(self.kl_reference in ("initial", "uniform"), "kl_reference", "'initial' or 'uniform'")
