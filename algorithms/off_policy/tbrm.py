"""TBRM: one Bellman residual an episode, of its whole trajectory, with the logits as Q."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..configs import TBRMConfig
from ..parts import path_sums
from .paths import PathMethod, Paths, PathTargets

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import TBRMOverrides


class TBRM(PathMethod[TBRMConfig]):
    """Trajectory Bellman residual minimisation (Yuan et al. 2025).

    Loss: the mean over episodes of ½ (V_θ(s_1) + Σ_t β log π/π_ref − R)², with V_θ(s_1) = β(logsumexp ℓ − logsumexp
    ℓ_ref) of the prompt. It is path consistency on whole episodes alone.
    """

    name: ClassVar[str] = "tbrm"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: TBRMConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[TBRMOverrides],
        ) -> None: ...

    def residuals(self, paths: Paths, prepared: PathTargets) -> Tensor:
        """V_θ(s_1) + Σ β log π/π_ref − R of each episode; behind a truncated one V of its end, too."""
        gamma, grid = self.config.gamma, paths.grid
        earned = path_sums(paths.rewards - self.scaled_kl_coef * paths.log_ratio, grid, gamma)
        discounts = torch.pow(torch.as_tensor(gamma, dtype=earned.dtype, device=earned.device), grid.lengths)
        return paths.values[grid.step == 0] - earned - discounts * paths.final_values
