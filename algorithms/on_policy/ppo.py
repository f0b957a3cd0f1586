"""PPO: proximal policy optimisation on tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from ..configs import PPOConfig
from ..data import Batch
from ..parts import Loss, Step, clipped_surrogate, ratio_metrics, value_errors
from .actor_critic import ActorCritic
from .base import Targets
from .repeated import Stepped

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import PPOOverrides


ProximalConfigT = TypeVar("ProximalConfigT", bound=PPOConfig)


class Proximal(Stepped[ProximalConfigT], ActorCritic[ProximalConfigT]):
    """The clipped loss of PPO; see `PPO` and `NLPO`."""

    @property
    def clip(self) -> float:
        """ε at the present `progress`."""
        return self.scheduled(self.config.clip)

    def loss(self, part: Batch, prepared: Targets) -> Loss:
        """Σ w·[−min(ρA, clip(ρ)A) + c_v·½(V − R)² − c_H·H(π)] over the tokens of ``part``."""
        scores, targets = self.score(part, prepared), prepared.of(part)
        assert scores.values is not None and targets.returns is not None and targets.values is not None
        weights, config = targets.weights, self.config
        log_ratio = scores.log_probs - part.log_probs
        losses = clipped_surrogate(log_ratio, targets.advantages, self.clip)
        policy_loss = (weights * self.controlled(losses, log_ratio, targets)).sum()
        value_loss = (weights * value_errors(scores.values, targets.returns, targets.values, config.value_clip)).sum()
        entropy = (weights * scores.entropy).sum()
        total = policy_loss + self.value_coef * value_loss - self.entropy_coef * entropy
        return Loss(
            total + self.kl_loss(scores, targets),
            terms={"policy/loss": policy_loss, "policy/entropy": entropy, "value/loss": value_loss},
            tokens={"log_ratio": log_ratio, "value_change": scores.values - targets.values},
            named={
                "advantages": prepared.advantages,
                "returns": targets.returns,
                "log_ratio": log_ratio,
                "values": scores.values,
            },
        )

    def report(self, step: Step) -> dict[str, float]:
        """Return the metrics of a step: also how far the policy has moved, and how much was clipped."""
        clip = self.config.value_clip
        moved = step.tokens["value_change"].abs()
        return {
            **super().report(step),
            **ratio_metrics(step.tokens["log_ratio"], 1 - self.clip, 1 + self.clip),
            "value/clip_fraction": 0.0 if clip is None else float(moved.gt(clip).float().mean()),
        }


class PPO(Proximal[PPOConfig]):
    """Proximal policy optimisation (Schulman et al. 2017) on whole episodes of tokens.

    Loss of a minibatch: Σ w·[−min(ρA, clip(ρ)A) + c_v·½(V − R)² − c_H·H(π)], plus the KL term where the config asks
    for it. One teacher-forced pass a collection gives the old values; minibatches are whole episodes, so each is one
    pass too.
    """

    name: ClassVar[str] = "ppo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: PPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[PPOOverrides],
        ) -> None: ...
