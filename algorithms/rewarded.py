"""Rewarded: what algorithms that learn from rewards share: their scale, penalties, and the KL to a reference."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from ..agents import Agent
from .configs import AlgorithmConfig, Schedule, value_at
from .data import Episodes
from .making import make_reference
from .online import Online
from .parts import KLController, Reference, RunningStd, returns_to_go

RewardedConfigT = TypeVar("RewardedConfigT", bound=AlgorithmConfig)


class Rewarded(Online[RewardedConfigT], ABC):
    """Plays episodes and learns from their rewards; see `OnPolicy` and `OffPolicy`."""

    Config: ClassVar[type[Any]] = AlgorithmConfig

    def make_parts(self) -> None:
        """Build the scale of rewards and the coefficient of the KL, too."""
        self.kl_controller = KLController(value_at(self.config.kl_coef, 0.0), *self.config.kl_steering)
        self.return_scale = RunningStd()
        super().make_parts()

    def build_reference(self, given: Agent | None) -> Reference | None:
        """What the KL is measured to: the given agent, or what ``config.kl_reference`` says where there is a KL."""
        return make_reference(given, self.agent, self.config)

    # Shared parts of updates -----------------------------------------------------------------------------------------

    @property
    def reward_scale(self) -> float:
        """What rewards, and with them every coefficient in units of reward, are divided by."""
        return self.return_scale.scale if self.config.reward_scaling else 1.0

    @property
    def scaled_kl_coef(self) -> float:
        """β in units of the scaled reward, in which values and losses are."""
        return self.kl_controller.coef / self.reward_scale

    def observe_returns(self, episodes: Episodes) -> None:
        """Take freshly collected episodes into the running scale of the returns-to-go."""
        self.return_scale.update(returns_to_go(episodes.flat, self.config.gamma, self.clipped_rewards(episodes)))

    def clipped_rewards(self, episodes: Episodes) -> np.ndarray:
        """Return the task's rewards (N,), clipped to ± ``config.reward_clip``."""
        reward, clip = episodes.flat.reward, self.config.reward_clip
        return reward if clip is None else reward.clip(-clip, clip)

    def learning_rewards(self, episodes: Episodes, penalties: np.ndarray | None = None) -> np.ndarray:
        """Return float (N,), what the update learns from.

        The task's rewards, clipped, less the missing-end penalty, less the penalties, all divided by `reward_scale`.

        Args:
            episodes: whole episodes with N agent tokens.
            penalties: float (N,), of each token, in the units of the task's rewards, such as β times the KL estimate.
        """
        rewards = self.clipped_rewards(episodes).astype(np.float64)
        if self.config.missing_eos_penalty:
            assert self.task.vocabulary.eos is not None
            last = episodes.flat.is_last
            rewards -= self.config.missing_eos_penalty * (last & (episodes.flat.action != self.task.vocabulary.eos))
        if penalties is not None:
            rewards -= penalties
        return (rewards / self.reward_scale).astype(episodes.rewards.dtype)

    # Learning and saving ---------------------------------------------------------------------------------------------

    def received(self, batch: Any) -> dict[str, float]:
        """Note what was collected, and let β follow its schedule."""
        metrics = super().received(batch)
        if isinstance(self.config.kl_coef, Schedule):
            self.kl_controller.coef = self.scheduled(self.config.kl_coef)
        return metrics

    def shared_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The scale of returns and the coefficient of the KL, too."""
        tensors, data = super().shared_state()
        return tensors, {"return_scale": self.return_scale.state(), "kl_coef": self.kl_controller.coef, **data}

    def load_shared_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `shared_state` returned."""
        super().load_shared_state(tensors, data)
        self.return_scale.load_state(data["return_scale"])
        self.kl_controller.coef = data["kl_coef"]
