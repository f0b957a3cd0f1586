"""Repeated: policy gradients that go through a collection in several steps, and the steps alone, for PPO."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from ..configs import PPOConfig, RepeatedConfig
from ..parts import Ratio, between, highest, kl_estimate, token_covariances
from .base import OnPolicy, Targets
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

    def watched(self, log_probs: Tensor, advantages: Tensor) -> Tensor | None:
        """The tokens that the config's entropy control picks by the covariance of log π and A over the collection."""
        config = self.config
        if config.entropy_control == "none" or not config.covariance_share:
            return None
        covariances = token_covariances(log_probs, advantages)
        if config.entropy_control == "kl-cov":
            return highest(covariances, config.covariance_share)
        bounds = config.covariance_low, config.covariance_high
        return between(covariances, *bounds, config.covariance_share, self.generator)

    def controlled(self, losses: Tensor, log_ratio: Tensor, targets: Targets) -> Tensor:
        """KL-Cov: losses + c·(ρ − 1 − log ρ) at the tokens watched; Clip-Cov: no loss at them."""
        if targets.watched is None:
            return losses
        if self.config.entropy_control == "clip-cov":
            return losses.masked_fill(targets.watched, 0.0)
        # Of KL(π_old ‖ π), since π_old said the tokens.
        estimates = kl_estimate(-log_ratio, "k3")
        return losses + self.config.covariance_kl * estimates.masked_fill(~targets.watched, 0.0)


class Repeated(Stepped[RepeatedConfigT], PolicyGradient[RepeatedConfigT]):
    """A policy gradient in several steps, whose ratios weigh each token."""

    @property
    def ratio(self) -> Ratio:
        """How the policy is weighed against the one that spoke: each token's ratio."""
        return "token"
