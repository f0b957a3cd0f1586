"""Online: what algorithms that play episodes share: the collector, and who acts while collecting."""

from __future__ import annotations

import warnings
from abc import ABC
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..agents import AgentPolicy, Policy, Sampler
from .base import Algorithm
from .collecting import Collector
from .configs import OnlineConfig
from .data import Episodes, episode_metrics
from .parts import derive_seed, tied
from .runs import take

OnlineConfigT = TypeVar("OnlineConfigT", bound=OnlineConfig)


class Online(Algorithm[OnlineConfigT], ABC):
    """Learns from episodes that it plays; see `OnPolicy` and `OffPolicy` for more, and `Algorithm` for the rest.

    Hooks beside those of `Algorithm`: `make_behaviour` (who acts while collecting) and `next_batch`, which collects.
    The budget, and what schedules run over, are agent tokens asked of environments.
    """

    Config: ClassVar[type[Any]] = OnlineConfig
    warned_of_ties: bool = False

    def make_parts(self) -> None:
        """Build the collector and who acts."""
        super().make_parts()
        config = self.config
        self.collector = Collector(
            self.task,
            num_rows=config.num_rows,
            seed=derive_seed(self.seed, "starts"),
            group_size=config.group_size,
            action_masks=config.action_masks,
            token_rewards=config.token_rewards,
            numbers="float64" if self.agent.dtype == torch.float64 else "float32",
        )
        self.behaviour = self.make_behaviour(Sampler(derive_seed(self.seed, "rollout")))
        self._counted = (0, 0)

    # Hooks -----------------------------------------------------------------------------------------------------------

    def make_behaviour(self, sampler: Sampler) -> Policy:
        """Build who acts while collecting; by default tokens are drawn from the agent's own distribution."""
        return AgentPolicy(self.agent, sampler)

    def collect(self) -> Episodes:
        """Play whole episodes, about ``config.rollout_tokens`` agent tokens in all."""
        return self.collector.collect(self.behaviour, num_tokens=self.config.rollout_tokens)

    def next_batch(self) -> Any:
        """Return what the next update learns from; by default freshly collected episodes."""
        return self.collect()

    # Learning --------------------------------------------------------------------------------------------------------

    def received(self, batch: Any) -> dict[str, float]:
        """Count what was collected, show it to the callbacks, and return its metrics."""
        if self.count_collected() and isinstance(batch, Episodes):
            self.callbacks.on_episodes(self, batch)
            return episode_metrics(batch, self.task.columns)
        return {}

    def count_collected(self) -> int:
        """Add what the collector has counted since the last look to the counters; return the number of tokens.

        It counts whoever asks it for tokens: the collection before an update, branches and further samples within one.
        """
        tokens, episodes = self.collector.num_tokens, self.collector.num_episodes
        new = tokens - self._counted[0]
        self.num_timesteps += new
        self.num_episodes += episodes - self._counted[1]
        self._counted = (tokens, episodes)
        return new

    def warn_where_tied(self, episodes: Episodes, group: np.ndarray, meaning: str) -> None:
        """Warn, once, where in all groups of a collection all returns are equal.

        Args:
            episodes: E of them.
            group: int (E,), what is compared with what.
            meaning: what follows for this algorithm, to stand behind "so".
        """
        if self.warned_of_ties or not tied(episodes.returns, group).all():
            return
        self.warned_of_ties = True
        low, high = float(np.min(episodes.returns)), float(np.max(episodes.returns))
        warnings.warn(
            f"{self.name}: within every one of the collected groups all returns are equal (they are {low:g} to "
            f"{high:g}), so {meaning}. Either the policy cannot get better or worse any more, or the task is too hard "
            "or too easy for it: look at group/zero_std_fraction, and take larger groups or another mix of prompts.",
            RuntimeWarning,
            stacklevel=2,
        )

    # Saving ----------------------------------------------------------------------------------------------------------

    def shared_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The queue of starts and the generators of who acts."""
        tensors, data = super().shared_state()
        for part, (own, told) in (("collector", self.collector.state()), ("behaviour", self.behaviour.state())):
            tensors |= {f"{part}/{name}": value for name, value in own.items()}
            data[part] = told
        return tensors, data

    def load_shared_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `shared_state` returned, by this or an earlier version."""
        super().load_shared_state(tensors, data)
        self.collector.load_state(take(tensors, "collector/"), data["collector"])
        # Before behaviours were policies, their generator was kept with the collector.
        own = take(tensors, "behaviour/") or take(tensors, "collector/")
        self.behaviour.load_state(own, data.get("behaviour", {}))
