"""ActorCritic: on-policy algorithms whose advantages come from a critic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import numpy as np

from ...agents import Scores
from ...agents.sampling import wide
from ..configs import ActorCriticConfig
from ..data import Batch, Episodes
from ..parts import NEGLIGIBLE, Loss, gae, value_errors
from .base import OnPolicy, Targets

ActorCriticConfigT = TypeVar("ActorCriticConfigT", bound=ActorCriticConfig)


class ActorCritic(OnPolicy[ActorCriticConfigT]):
    """A policy and a value head; advantages by GAE (Schulman et al. 2016). See `PPO` and `A2C`."""

    heads: ClassVar[tuple[str, ...]] = ("policy", "value")

    def agent_options(self) -> dict[str, Any]:
        """A critic with a trunk of its own, where the config asks for it."""
        return {"separate_critic": self.config.separate_critic}

    @property
    def value_coef(self) -> float:
        """The weight of the value loss at the present `progress`."""
        return self.scheduled(self.config.value_coef)

    @property
    def warming_up(self) -> bool:
        """Whether all tokens so far are of those during which the critic alone learns."""
        return 0 < self.config.critic_warmup >= self.num_timesteps

    def update(self, batch: Episodes) -> dict[str, float]:
        """Learn from fresh episodes; while the critic warms up, without a step of the policy's."""
        if not self.warming_up:
            return super().update(batch)
        with self._policy_held():
            return super().update(batch)

    @contextmanager
    def _policy_held(self) -> Iterator[None]:
        """Let no gradient reach what the policy is made of: its head, and the trunk that it may share."""
        modules = [self.agent.trunk, self.agent.readouts["policy"]]
        held = [one for module in modules for one in module.parameters() if one.requires_grad]
        for parameter in held:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in held:
                parameter.requires_grad_(True)

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """Generalised advantage estimation from the critic's values; see the base for shapes."""
        values, final = critic_values(scores)
        config = self.config
        advantages, returns = gae(episodes.flat, rewards, values, final, config.gamma, config.gae_lambda)
        return advantages, returns, {"value/explained_variance": explained_variance(values, returns)}


class OneStep(ActorCritic[ActorCriticConfigT]):
    """An actor and a critic that take one step a collection; see `A2C` and `VTrace`."""

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


def critic_values(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """What the critic says before each token, (N,), and in the final state of each episode."""
    assert scores.values is not None and scores.final is not None and scores.final.values is not None
    return wide(scores.values.detach()).cpu().numpy(), wide(scores.final.values.detach()).cpu().numpy()


def explained_variance(predictions: np.ndarray, targets: np.ndarray) -> float:
    """1 − Var(targets − predictions)/Var(targets): 1 is a perfect critic, 0 a constant one; NaN for equal targets."""
    targets, predictions = np.asarray(targets, np.float64), np.asarray(predictions, np.float64)
    deviation = float(np.std(targets))
    if deviation <= NEGLIGIBLE * float(np.abs(targets).max(initial=0.0)):
        return float("nan")
    return 1 - (float(np.std(targets - predictions)) / deviation) ** 2
