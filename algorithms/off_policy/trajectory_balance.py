"""Trajectory balance: the log-ratio to the reference is to follow reward over β, up to one number a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..configs import TrajectoryBalanceConfig
from ..data import Episodes
from ..parts import group_numbers, path_sums
from .paths import PathMethod, Paths, PathTargets

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import TrajectoryBalanceOverrides


class TrajectoryBalance(PathMethod[TrajectoryBalanceConfig]):
    """Trajectory balance with VarGrad's estimate of log Z (Bartoldson et al. 2025, TBA; Richter et al. 2020).

    Loss: the mean over episodes of ½ (log Ẑ + log π − log π_ref − R/β)², log Ẑ the group's mean of R/β − log π/π_ref
    without a gradient. On fresh groups of G its gradient is −(1 − 1/G)/β of that of E[R] − β·KL, and at the optimum the
    residual of every episode is 0, whoever said it. "gvpo" (Zhang et al. 2025) is the same times β².
    """

    name: ClassVar[str] = "trajectory-balance"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: TrajectoryBalanceConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[TrajectoryBalanceOverrides],
        ) -> None: ...

    def complete(self, targets: PathTargets, episodes: Episodes) -> PathTargets:
        """Estimate β·log Z of each group, for each of its episodes."""
        parts = targets.batch.parts(self.config.micro_batch_tokens, self.unit, final=True)
        with torch.no_grad():
            worth = torch.cat([self.worth(self.read(part, targets)) for part in parts])
        group = torch.as_tensor(group_numbers(episodes.starts), device=self.device)
        sums = worth.new_zeros(int(group[-1]) + 1).index_add(0, group, worth)
        log_z = (sums / torch.bincount(group))[group]
        metrics = {**targets.metrics, "path/value": float(log_z.mean()) * self.reward_scale}
        return replace(targets, given={"log_z": log_z}, metrics=metrics)

    def worth(self, paths: Paths) -> Tensor:
        """R − β log π/π_ref of each episode, (e,): what V is where the policy is optimal."""
        return path_sums(paths.rewards - self.scaled_kl_coef * paths.log_ratio, paths.grid, self.config.gamma)

    def residuals(self, paths: Paths, prepared: PathTargets) -> Tensor:
        """Log Ẑ + log π/π_ref − R/β of each episode, in the units of the preset."""
        residuals = prepared.given["log_z"][paths.episodes] - self.worth(paths)
        return residuals if self.config.preset == "gvpo" else residuals / self.scaled_kl_coef
