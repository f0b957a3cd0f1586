"""Repeated: policy gradients that go through a collection in several steps, and the steps alone, for PPO."""

from __future__ import annotations

from typing import TypeVar

from ..configs import PPOConfig, RepeatedConfig
from ..parts import Ratio
from .base import OnPolicy
from .policy_gradient import PolicyGradient

SteppedConfigT = TypeVar("SteppedConfigT", bound="PPOConfig | RepeatedConfig")
RepeatedConfigT = TypeVar("RepeatedConfigT", bound=RepeatedConfig)


class Stepped(OnPolicy[SteppedConfigT]):
    """Takes ``epochs`` × ``minibatches`` steps on a collection, or fewer where the policy has moved far enough."""

    @property
    def epochs(self) -> int:
        """How often an update goes through its episodes."""
        return self.config.epochs

    @property
    def minibatches(self) -> int:
        """In how many steps it does."""
        return self.config.minibatches

    def enough(self, metrics: dict[str, float]) -> bool:
        """Whether the policy has moved as far as ``target_kl`` allows."""
        return self.config.target_kl is not None and metrics["policy/approx_kl"] > self.config.target_kl


class Repeated(Stepped[RepeatedConfigT], PolicyGradient[RepeatedConfigT]):
    """A policy gradient in several steps, whose ratios weigh each token."""

    @property
    def ratio(self) -> Ratio:
        """How the policy is weighed against the one that spoke: each token's ratio."""
        return "token"
