"""A2C: advantage actor-critic, one step a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import A2CConfig
from ..data import Batch
from ..parts import Loss, value_errors
from .actor_critic import ActorCritic
from .base import Targets

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import A2COverrides


class A2C(ActorCritic[A2CConfig]):
    """Advantage actor-critic (Mnih et al. 2016) on whole episodes.

    Loss: −Σ w·A·log π(a|s) + c_v·Σ w·½(V − R)² − c_H·Σ w·H(π), plus the KL term where the config asks for it, with
    one pass, one gradient and one step a collection. It is PPO with one epoch and one minibatch.
    """

    name: ClassVar[str] = "a2c"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: A2CConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[A2COverrides],
        ) -> None: ...

    def loss(self, part: Batch, prepared: Targets) -> Loss:
        """Σ w·[−A·log π + c_v·½(V − R)² − c_H·H(π)] over the tokens of ``part``."""
        scores, targets = self.score(part, prepared), prepared.of(part)
        assert scores.values is not None and targets.returns is not None and targets.values is not None
        weights = targets.weights
        policy_loss = -(weights * targets.advantages * scores.log_probs).sum()
        value_loss = (weights * value_errors(scores.values, targets.returns, targets.values)).sum()
        entropy = (weights * scores.entropy).sum()
        total = policy_loss + self.value_coef * value_loss - self.entropy_coef * entropy
        return Loss(
            total + self.kl_loss(scores, targets),
            terms={"policy/loss": policy_loss, "policy/entropy": entropy, "value/loss": value_loss},
            named={
                "advantages": prepared.advantages,
                "returns": targets.returns,
                "log_probs": scores.log_probs,
                "values": scores.values,
            },
        )
