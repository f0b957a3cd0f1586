"""A2C: advantage actor-critic, one step a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...agents.sampling import entropy, log_softmax
from ..configs import A2CConfig, AlgorithmConfig
from ..data import Batch, Episodes
from ..parts import Loss, value_errors
from .base import OnPolicy

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ..configs import A2COverrides


class A2C(OnPolicy[A2CConfig]):
    """Advantage actor-critic (Mnih et al. 2016) on whole episodes.

    Loss: −Σ w·A·log π(a|s) + c_v·Σ w·½(V − R)² − c_H·Σ w·H(π), plus the KL term where the config asks for it, with
    one pass, one gradient and one step a collection. It is PPO with one epoch and one minibatch.
    """

    name: ClassVar[str] = "a2c"
    Config: ClassVar[type[AlgorithmConfig]] = A2CConfig

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: A2CConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            reference: Agent | None = None,
            **overrides: Unpack[A2COverrides],
        ) -> None: ...

    def update(self, batch: Episodes) -> dict[str, float]:
        """Take one step on the collection; metrics as documented on the page of A2C."""
        whole = Batch.from_episodes(batch, self.device)
        evaluation = whole.evaluate(self.agent, ("policy", "value"), final=True)
        targets = self.assess(batch, whole, evaluation)

        assert evaluation.logits is not None and evaluation.values is not None
        distribution = log_softmax(evaluation.logits, whole.masks)
        log_probs = distribution.gather(-1, whole.actions[:, None]).squeeze(-1)
        policy_loss = -(targets.weights * targets.advantages * log_probs).sum()
        value_loss = (targets.weights * value_errors(evaluation.values, targets.returns, targets.values)).sum()
        mean_entropy = (targets.weights * entropy(distribution)).sum()
        kl_loss = self.kl_loss(log_probs, targets.reference, targets.weights)
        loss = policy_loss + self.config.value_coef * value_loss - self.entropy_coef * mean_entropy + kl_loss
        named = {"advantages": targets.advantages, "returns": targets.returns, "log_probs": log_probs}
        norm = self.optimise([Loss(loss, named={**named, "values": evaluation.values})]).grad_norm
        return targets.metrics | {
            "policy/loss": policy_loss.item(),
            "policy/entropy": mean_entropy.item(),
            "value/loss": value_loss.item(),
            "optim/grad_norm": norm,
            "optim/learning_rate": self.learning_rate,
            "optim/entropy_coef": self.entropy_coef,
        }
