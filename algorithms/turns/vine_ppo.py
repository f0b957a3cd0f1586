"""VinePPO: PPO without a critic, whose values are mean returns of branches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from ...agents import Scores
from ..configs import VinePPOConfig
from ..data import Batch, Episodes
from ..on_policy import Repeated
from ..parts import branch_points, returns_to_go, segment_advantages, turn_length, turn_numbers

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import VinePPOOverrides


class VinePPO(Repeated[VinePPOConfig]):
    """VinePPO (Kazemnejad et al. 2024).

    Loss: Σ w·[−min(ρA, clip(ρ)A)], A the rewards until the next chosen state and its value, less the value of the last
    one, where a value is the mean return of K branches that the policy plays from there.
    """

    name: ClassVar[str] = "vine-ppo"
    requires: ClassVar[tuple[str, ...]] = ("save_state",)
    enters_states: ClassVar[bool] = True

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: VinePPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[VinePPOOverrides],
        ) -> None: ...

    @property
    def bounds(self) -> tuple[float, float]:
        """1 ± ε at the present `progress`."""
        clip = self.scheduled(self.config.clip)
        return 1 - clip, 1 + clip

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """What came between two states that were branched from, and how much more the second is worth."""
        flat, config = episodes.flat, self.config
        place = turn_numbers(flat, turn_length(self.task)) if config.branch_at == "turn" else flat.step
        points = branch_points(flat, place, config.branch_every)
        before = self.collector.num_tokens
        values, errors = self.values_at(episodes, points)
        advantages = segment_advantages(flat, rewards, points, values, config.gamma)
        return (
            advantages.astype(rewards.dtype),
            None,
            {
                "vine/points": float(len(points)),
                "vine/tokens": float(self.collector.num_tokens - before),
                "vine/value": float(values.mean()),
                "vine/standard_error": float(errors.mean()),
            },
        )

    def values_at(self, episodes: Episodes, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return float64 (P,), the mean returns of branches from the states before some tokens, and their errors.

        Args:
            episodes: what was collected.
            points: int (P,), the tokens, as places in ``episodes.flat``.
        """
        flat, count = episodes.flat, self.config.branches
        branches = self.collector.branch(self.behaviour, episodes, flat.episode[points], flat.step[points], count)
        penalties = self._kl_penalties(branches) if self.config.kl_in_reward else None
        returns = returns_to_go(branches.flat, self.config.gamma, self.learning_rewards(branches, penalties))
        found = returns[branches.flat.episode_offsets[:-1] + np.repeat(flat.step[points], count)].reshape(-1, count)
        errors = found.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.full(len(found), np.nan)
        return found.mean(axis=1), errors

    @torch.no_grad()
    def _kl_penalties(self, branches: Episodes) -> np.ndarray:
        """β times the KL estimate of each token of the branches, as their own episodes have it."""
        whole = Batch.from_episodes(branches, self.device)
        scores = self.assess(whole.parts(self.config.micro_batch_tokens, self.unit, final=True))
        return self.kl_controller.coef * self.kl_estimates(scores, whole).cpu().numpy()
