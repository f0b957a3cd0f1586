"""GiGPO: groups of episodes, and within them groups of visits of one state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...agents import Scores
from ..configs import GiGPOConfig
from ..data import Episodes
from ..on_policy import Grouped
from ..parts import group_numbers, keys_before, returns_to_go, step_baselines, visit_advantages

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import GiGPOOverrides


class GiGPO(Grouped[GiGPOConfig]):
    """Group-in-group policy optimisation (Feng et al. 2025).

    Loss: GRPO's, with A = A_episode + ω·A_state, where A_state is the return from a token on against those of the
    visits that the group paid the same state, and states are the same where what was to be seen is equal.
    """

    name: ClassVar[str] = "gigpo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: GiGPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[GiGPOOverrides],
        ) -> None: ...

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """The episode's advantage, and ω times that of the token among the visits of its state."""
        of_episodes, returns, seen = super().advantages(episodes, rewards, scores)
        weight, flat, rule = self.config.step_weight, episodes.flat, self.config.rule
        if not weight:
            return of_episodes, returns, seen
        group = group_numbers(episodes.starts)
        to_go = returns_to_go(flat, self.config.gamma, rewards)
        # A state that no other episode visited: what the others earned from the start on knows nothing of this one.
        others = step_baselines(to_go[flat.episode_offsets[:-1]], group, "leave_one_out")
        leave_out, divide = rule.baseline == "leave_one_out", rule.scale == "std"
        states = keys_before(episodes)
        among, shared = visit_advantages(to_go, states, flat.episode, group, leave_out, divide, others)
        advantages = (of_episodes + weight * among).astype(rewards.dtype)
        return advantages, returns, {**seen, "group/shared_state_fraction": shared}
