"""Repeated: policy gradients that go through a collection in several steps."""

from __future__ import annotations

from typing import TypeVar

from ..configs import RepeatedConfig
from ..parts import Ratio
from .policy_gradient import PolicyGradient

RepeatedConfigT = TypeVar("RepeatedConfigT", bound=RepeatedConfig)


class Repeated(PolicyGradient[RepeatedConfigT]):
    """Takes ``epochs`` × ``minibatches`` steps on a collection, or fewer where the policy has moved far enough."""

    @property
    def ratio(self) -> Ratio:
        """How the policy is weighed against the one that spoke: each token's ratio."""
        return "token"

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
