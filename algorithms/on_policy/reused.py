"""Reused: who collects for an on-policy method, and which of the collected episodes it learns from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from ...agents import AgentPolicy, LaggedPolicy, Policy, Sampler
from ...envs import TokenGymError
from ..configs import OnPolicyConfig
from ..data import EpisodeReplay, Episodes
from ..parts import derive_seed
from ..rewarded import Rewarded
from ..runs import take

OnPolicyConfigT = TypeVar("OnPolicyConfigT", bound=OnPolicyConfig)


class Reused(Rewarded[OnPolicyConfigT]):
    """Learns from fresh episodes; or from those of a policy that lags, or from remembered ones, as the config says."""

    enters_states: ClassVar[bool] = False
    """Whether states of what is learnt from are entered again, for which what their episodes drew must be known."""

    def make_parts(self) -> None:
        """Build the replay, too, where there is one.

        Raises:
            TokenGymError: who collects is to lag, and is somebody of the algorithm's own.
        """
        config = self.config
        super().make_parts()
        if config.sync_every > 1 and not isinstance(self.behaviour, LaggedPolicy):
            raise TokenGymError(
                f"sync_every is {config.sync_every}; expected 1: {self.name} collects with a policy of its own, of "
                "which no copy lags."
            )
        self.replay = (
            EpisodeReplay(
                config.replay_capacity,
                pad=self.task.vocabulary.pad,
                num_actions=self.task.vocabulary.num_actions if config.action_masks else None,
                seed=derive_seed(self.seed, "replay"),
                numbers=self.collector.numbers.name,
                streams=self.enters_states and config.group_size > 1,  # one alone draws from its start
            )
            if config.replay_capacity
            else None
        )

    # Who collects ----------------------------------------------------------------------------------------------------

    def make_behaviour(self, sampler: Sampler) -> Policy:
        """Build who collects: the agent, or a copy of it that is brought up to date every ``sync_every`` updates."""
        return (LaggedPolicy if self.config.sync_every > 1 else AgentPolicy)(self.agent, sampler)

    @property
    def draws_itself(self) -> bool:
        """Whether what is learnt from was drawn by the policy that learns, so that ratios to it start at 1."""
        return self.config.fresh and self.behaviour.on_policy

    def let_behaviour_follow(self) -> None:
        """Bring the copy that collects up to date, where it is time for it; called at the end of an update."""
        behaviour, every = self.behaviour, self.config.sync_every
        if every > 1 and isinstance(behaviour, LaggedPolicy) and (self.num_updates + 1) % every == 0:
            behaviour.catch_up(self.agent)

    # What is learnt from ---------------------------------------------------------------------------------------------

    def drawn(self, collected: Episodes) -> Iterator[Episodes]:
        """Yield what an update learns from, one batch after the other: what was collected, or draws of the replay."""
        if self.replay is None:
            yield collected
            return
        self.observe_returns(collected)
        self.replay.add(collected)
        groups = max(len(collected) // self.config.group_size, 1)
        for _ in range(self.config.updates_per_collection):
            yield self.replay.sample_groups(groups, self.config.group_size)

    # Saving ----------------------------------------------------------------------------------------------------------

    def shared_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The replay, too."""
        tensors, data = super().shared_state()
        if self.replay is not None:
            tensors |= {f"replay/{name}": array for name, array in self.replay.state_arrays().items()}
        return tensors, data

    def load_shared_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `shared_state` returned."""
        super().load_shared_state(tensors, data)
        if self.replay is not None:
            held = take(tensors, "replay/")
            self.replay.load_state_arrays({name: np.asarray(value.cpu()) for name, value in held.items()})
