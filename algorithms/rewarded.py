"""Rewarded: what algorithms that learn from rewards share: their scale, penalties, and the KL to a reference."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from ..agents import Agent
from .configs import AlgorithmConfig, Schedule, make_potential, telling_failure, value_at
from .data import Episodes
from .making import make_reference
from .online import Online
from .parts import (
    KLBudget,
    KLController,
    Reference,
    RunningStd,
    VisitCounts,
    checked_potentials,
    length_penalties,
    missing_end_penalties,
    potential_shaping,
    returns_to_go,
)

RewardedConfigT = TypeVar("RewardedConfigT", bound=AlgorithmConfig)


class Rewarded(Online[RewardedConfigT], ABC):
    """Plays episodes and learns from their rewards; see `OnPolicy` and `OffPolicy`."""

    Config: ClassVar[type[Any]] = AlgorithmConfig

    def make_parts(self) -> None:
        """Build the scale of rewards, the coefficient of the KL and its budget, too."""
        self.kl_controller = KLController(value_at(self.config.kl_coef, 0.0), *self.config.kl_steering)
        self.kl_budget = KLBudget(self.config.kl_limit)
        self.return_scale = RunningStd()
        self.visits = VisitCounts() if self.config.counts_visits else None
        name = self.config.potentials
        self._potential = None if name is None else make_potential(name, self.task)
        super().make_parts()

    def build_reference(self, given: Agent | None) -> Reference | None:
        """What the KL is measured to: the given agent, or what ``config.kl_reference`` says where there is a KL."""
        return make_reference(given, self.agent, self.config)

    def potentials(self, episodes: Episodes) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Return potentials Φ that shape the rewards, or None: a hook, see `potential_shaping`.

        By default those that ``config.potentials`` names.

        Args:
            episodes: whole episodes with N agent tokens.

        Returns:
            float (N,) before each token, and float (E,) in the final states of truncated episodes, or None for 0.
        """
        if self._potential is None:
            return None
        assert self.config.potentials is not None
        with telling_failure(self.config.potentials, "given episodes"):
            found = self._potential(episodes)
        return checked_potentials(found, episodes, self.config.potentials)

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
        """Take freshly collected episodes into the counts of visits and the running scale of the returns-to-go."""
        rewards = self.clipped_rewards(episodes)
        if self.visits is not None:
            self.visits.add(episodes)
            rewards = rewards + self.count_bonuses(episodes)
        self.return_scale.update(returns_to_go(episodes.flat, self.config.gamma, rewards))

    def count_bonuses(self, episodes: Episodes) -> np.ndarray | float:
        """Return float64 (N,), what the tokens are paid for being rare, as things stand now, or 0."""
        if self.visits is None:
            return 0.0
        return self.scheduled(self.config.count_bonus) * self.visits.bonuses(episodes)

    def clipped_rewards(self, episodes: Episodes) -> np.ndarray:
        """Return the task's rewards (N,), clipped to ± ``config.reward_clip``."""
        reward, clip = episodes.flat.reward, self.config.reward_clip
        return reward if clip is None else reward.clip(-clip, clip)

    def learning_rewards(self, episodes: Episodes, penalties: np.ndarray | None = None) -> np.ndarray:
        """Return float (N,), what the update learns from.

        The task's rewards, clipped, and the bonus of rare tokens, less the missing-end and the length penalty, shaped
        by `potentials`, less the penalties given, all divided by `reward_scale`.

        Args:
            episodes: whole episodes with N agent tokens.
            penalties: float (N,), of each token, in the units of the task's rewards, such as β times the KL estimate.
        """
        config, flat = self.config, episodes.flat
        rewards = self.clipped_rewards(episodes).astype(np.float64) + self.count_bonuses(episodes)
        if config.missing_eos_penalty:
            assert self.task.vocabulary.eos is not None
            rewards -= missing_end_penalties(flat, self.task.vocabulary.eos, config.missing_eos_penalty)
        if config.length_penalty:
            rewards -= length_penalties(flat, config.length_penalty, config.length_free)
        if (shaping := self.potentials(episodes)) is not None:
            rewards += potential_shaping(flat, shaping[0], config.gamma, shaping[1])
        if penalties is not None:
            rewards -= penalties
        return (rewards / self.reward_scale).astype(episodes.rewards.dtype)

    # Learning and saving ---------------------------------------------------------------------------------------------

    def finished(self) -> str | None:
        """Say that the budget of KL is spent, where it is."""
        if self.kl_budget.exceeded:
            return f"kl_budget is spent: {self.kl_budget.spent:.4g} nats an episode of {self.kl_budget.limit:g}"
        return super().finished()

    def received(self, batch: Any) -> dict[str, float]:
        """Note what was collected, and let β follow its schedule."""
        metrics = super().received(batch)
        if isinstance(self.config.kl_coef, Schedule):
            self.kl_controller.coef = self.scheduled(self.config.kl_coef)
        return metrics

    def shared_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The scale of returns, the coefficient of the KL and what of its budget is spent, too."""
        tensors, data = super().shared_state()
        if self.visits is not None:
            tensors |= {f"visits/{name}": array for name, array in self.visits.state_arrays().items()}
        own = {"return_scale": self.return_scale.state(), "kl_coef": self.kl_controller.coef}
        return tensors, {**own, "kl_spent": self.kl_budget.spent, **data}

    def load_shared_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `shared_state` returned."""
        super().load_shared_state(tensors, data)
        self.return_scale.load_state(data["return_scale"])
        if self.visits is not None:
            held = {name: np.asarray(tensors[f"visits/{name}"].cpu()) for name in self.visits.state_arrays()}
            self.visits.load_state_arrays(held)
        self.kl_controller.coef = data["kl_coef"]
        self.kl_budget.spent = data.get("kl_spent")
