"""OnPolicy: what algorithms that learn from fresh episodes with a critic share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import Evaluation
from ...agents.sampling import entropy, log_softmax
from ...envs import TokenGymError
from ..base import Algorithm
from ..configs import AlgorithmConfig, OnPolicyConfig
from ..data import Batch, Episodes
from ..parts import NEGLIGIBLE, divergence, gae, kl_estimate, linear, token_weights, whiten


@dataclass(frozen=True, eq=False)
class Targets:
    """What the tokens of a collection are to be learnt towards; tensors over its N agent tokens.

    Attributes:
        advantages: float32 (N,).
        returns: float32 (N,), the targets of the critic.
        values: float32 (N,), the critic before each token when the collection was assessed.
        weights: float32 (N,), see `token_weights`.
        reference: float32 (N,), log-probability of each token under the reference, or None.
        metrics: what was seen on the way.
    """

    advantages: Tensor
    returns: Tensor
    values: Tensor
    weights: Tensor
    reference: Tensor | None
    metrics: dict[str, float]


OnPolicyConfigT = TypeVar("OnPolicyConfigT", bound=OnPolicyConfig)


class OnPolicy(Algorithm[OnPolicyConfigT]):
    """An actor and a critic that learn from fresh episodes: see `PPO` and `A2C`."""

    Config: ClassVar[type[AlgorithmConfig]] = OnPolicyConfig
    heads: ClassVar[tuple[str, ...]] = ("policy", "value")

    def agent_options(self) -> dict[str, Any]:
        """A critic with a trunk of its own, where the config asks for it."""
        return {"separate_critic": self.config.separate_critic}

    @property
    def entropy_coef(self) -> float:
        """The weight of the entropy bonus at the present `progress`."""
        coef = self.config.entropy_coef
        return linear(coef, coef * self.config.final_entropy_fraction, self.progress)

    def assess(self, episodes: Episodes, batch: Batch, evaluation: Evaluation) -> Targets:
        """Turn one evaluation of a collection, final states included, into advantages and targets.

        Nothing of the result carries a gradient.

        Raises:
            TokenGymError: the policy is not the one that said the tokens (the ratio is not 1).
        """
        assert evaluation.logits is not None and evaluation.values is not None and evaluation.final is not None
        assert evaluation.final.values is not None
        config, flat = self.config, episodes.flat
        log_probs = log_softmax(evaluation.logits.detach(), batch.masks)
        chosen = log_probs.gather(-1, batch.actions[:, None]).squeeze(-1)
        metrics = {
            "objective/score": float(episodes.returns.mean()),
            "objective/entropy": float(entropy(log_probs).mean()),
            "policy/initial_ratio_error": self.check_ratio(chosen - batch.log_probs),
        }
        reference, log_ratio = None, None
        if self.reference is not None:
            reference_log_probs = self.reference.log_probabilities(batch)
            kl = float(divergence(log_probs, reference_log_probs).sum()) / len(episodes)
            reference = reference_log_probs.gather(-1, batch.actions[:, None]).squeeze(-1)
            log_ratio = (chosen - reference).cpu().numpy()
            metrics |= {"objective/kl": kl, "objective/kl_coef": self.kl_controller.coef}
        self.observe_returns(episodes)
        rewards = self.learning_rewards(episodes, log_ratio)
        metrics["objective/reward"] = float(rewards.sum()) * self.reward_scale / len(episodes)
        metrics["objective/reward_scale"] = self.reward_scale
        if "objective/kl" in metrics:
            self.kl_controller.update(metrics["objective/kl"], len(episodes))
        if config.whiten_rewards:
            rewards = whiten(rewards, keep_mean=True)
        values = evaluation.values.detach().float()
        final_values = evaluation.final.values.detach().float().cpu().numpy()
        advantages, returns = gae(flat, rewards, values.cpu().numpy(), final_values, config.gamma, config.gae_lambda)
        metrics["value/explained_variance"] = explained_variance(values.cpu().numpy(), returns)
        if not config.kl_coef if config.whiten_advantages is None else config.whiten_advantages:
            advantages = whiten(advantages)

        lengths = torch.as_tensor(episodes.episode_lengths, device=self.device)
        episode = torch.as_tensor(flat.episode, device=self.device)
        max_tokens = self.task.max_episode_tokens
        return Targets(
            advantages=torch.as_tensor(advantages, device=self.device),
            returns=torch.as_tensor(returns, device=self.device),
            values=values,
            weights=token_weights(config.loss_aggregation, lengths, episode, max_tokens),
            reference=reference,
            metrics=metrics,
        )

    def check_ratio(self, log_ratio: Tensor) -> float:
        """Return max |π/π_old − 1| before the first step.

        Raises:
            TokenGymError: it is above the tolerance.
        """
        error = float(torch.expm1(log_ratio).abs().max())
        if not error <= self.config.ratio_tolerance:
            raise TokenGymError(
                f"Before the first step the ratio of new to old probability is off by {error:.3g}; expected 1 within "
                f"{self.config.ratio_tolerance:g}. Decoding and the teacher-forced pass disagree: look for dropout, "
                "half precision or masks, or raise ratio_tolerance if the precision explains it."
            )
        return error

    def kl_loss(self, log_probs: Tensor, reference: Tensor | None, weights: Tensor) -> Tensor | float:
        """β times the KL estimate as a term of the loss, in units of scaled rewards; 0 where β acts in the reward."""
        if reference is None or self.config.kl_in != "loss":
            return 0.0
        estimates = kl_estimate(log_probs - reference, self.config.kl_estimator)
        return self.scaled_kl_coef * (weights * estimates).sum()


def explained_variance(predictions: np.ndarray, targets: np.ndarray) -> float:
    """1 − Var(targets − predictions)/Var(targets): 1 is a perfect critic, 0 a constant one; NaN for equal targets."""
    targets, predictions = np.asarray(targets, np.float64), np.asarray(predictions, np.float64)
    deviation = float(np.std(targets))
    if deviation <= NEGLIGIBLE * float(np.abs(targets).max(initial=0.0)):
        return float("nan")
    return 1 - (float(np.std(targets - predictions)) / deviation) ** 2
