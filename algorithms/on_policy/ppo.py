"""PPO: proximal policy optimisation on tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ...agents.sampling import entropy, log_softmax
from ..configs import AlgorithmConfig, PPOConfig
from ..data import Batch, Episodes
from ..parts import Loss, bounded_exp, clipped_surrogate, exp_excess, value_errors
from .base import OnPolicy, Targets

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ..configs import PPOOverrides


class PPO(OnPolicy[PPOConfig]):
    """Proximal policy optimisation (Schulman et al. 2017) on whole episodes of tokens.

    Loss of a minibatch: Σ w·[−min(ρA, clip(ρ)A) + c_v·½(V − R)² − c_H·H(π)], plus the KL term where the config asks
    for it. One teacher-forced pass a collection gives the old values; minibatches are whole sequences, so each is one
    pass too.
    """

    name: ClassVar[str] = "ppo"
    Config: ClassVar[type[AlgorithmConfig]] = PPOConfig

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: PPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            reference: Agent | None = None,
            **overrides: Unpack[PPOOverrides],
        ) -> None: ...

    def update(self, batch: Episodes) -> dict[str, float]:
        """Run the epochs over the collection; metrics as documented on the page of PPO."""
        whole = Batch.from_episodes(batch, self.device)
        with torch.no_grad():
            evaluation = whole.evaluate(self.agent, ("policy", "value"), final=True)
        targets = self.assess(batch, whole, evaluation)

        steps: list[dict[str, float]] = []
        for _ in range(self.config.epochs):
            parts = list(whole.minibatches(self.config.minibatches, self.generator))
            for part in parts:
                steps.append(self.step(part, targets, scale=len(parts)))
                if self.config.target_kl is not None and steps[-1]["policy/approx_kl"] > self.config.target_kl:
                    break
            else:
                continue
            break
        means = {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}
        means["policy/ratio_max"] = max(step["policy/ratio_max"] for step in steps)
        return (
            targets.metrics
            | means
            | {
                "optim/steps": float(len(steps)),
                "optim/learning_rate": self.learning_rate,
                "optim/entropy_coef": self.entropy_coef,
            }
        )

    def step(self, batch: Batch, targets: Targets, scale: int) -> dict[str, float]:
        """Take one step on a minibatch.

        Args:
            batch: some sequences of the collection.
            targets: of the whole collection.
            scale: the number of minibatches; makes the loss an unbiased estimate of the collection's.
        """
        evaluation = batch.evaluate(self.agent, ("policy", "value"))
        assert evaluation.logits is not None and evaluation.values is not None
        index = batch.index
        weights = targets.weights[index] * scale
        old_values = targets.values[index]
        reference = None if targets.reference is None else targets.reference[index]
        distribution = log_softmax(evaluation.logits, batch.masks)
        log_probs = distribution.gather(-1, batch.actions[:, None]).squeeze(-1)
        log_ratio = log_probs - batch.log_probs

        surrogate = clipped_surrogate(log_ratio, targets.advantages[index], self.config.clip)
        errors = value_errors(evaluation.values, targets.returns[index], old_values, self.config.value_clip)
        policy_loss = (weights * surrogate).sum()
        value_loss = (weights * errors).sum()
        mean_entropy = (weights * entropy(distribution)).sum()
        kl_loss = self.kl_loss(log_probs, reference, weights)
        loss = policy_loss + self.config.value_coef * value_loss - self.entropy_coef * mean_entropy + kl_loss
        named = {"advantages": targets.advantages, "returns": targets.returns, "log_ratio": log_ratio}
        norm = self.optimise([Loss(loss, named={**named, "values": evaluation.values})]).grad_norm

        with torch.no_grad():
            ratio = bounded_exp(log_ratio)
            clip = self.config.value_clip
            clipped_values = 0.0 if clip is None else (evaluation.values - old_values).abs().gt(clip).float().mean()
            return {
                "policy/loss": policy_loss.item(),
                "policy/entropy": mean_entropy.item(),
                "policy/approx_kl": float(exp_excess(log_ratio).mean()),
                "policy/clip_fraction": float((ratio - 1).abs().gt(self.config.clip).float().mean()),
                "policy/ratio_mean": float(ratio.mean()),
                "policy/ratio_max": float(ratio.max()),
                "value/loss": value_loss.item(),
                "value/clip_fraction": float(clipped_values),
                "optim/grad_norm": norm,
            }
