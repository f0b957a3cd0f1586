"""A*-PO: the reference's own samples say what a prompt is worth, and the policy is regressed on what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..configs import APOConfig
from ..data import Episodes
from ..parts import path_sums, sampled_soft_values
from .paths import Paths, PathTargets
from .reference_samples import ReferenceSampled

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import APOOverrides


class APO(ReferenceSampled[APOConfig]):
    """Policy optimisation by optimal advantage regression (Brantley et al. 2025, A*-PO).

    Loss: the mean over episodes of ½ (β₂ log π/π_ref − (R − V̂*))², V̂* = β₁ log mean e^(R/β₁) of N episodes that the
    reference says from the same start. They are asked of the environment, and count.
    """

    name: ClassVar[str] = "apo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: APOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[APOOverrides],
        ) -> None: ...

    def complete(self, targets: PathTargets, episodes: Episodes) -> PathTargets:
        """Value the starts by what the reference earns from them."""
        beta = self.config.value_beta or self.kl_controller.coef
        samples = self.samples_of(episodes.starts)
        values = np.array([sampled_soft_values(samples[start], beta) for start in episodes.starts.tolist()])
        metrics = {**targets.metrics, "path/value": float(values.mean())}
        scaled = torch.as_tensor(values / self.reward_scale, dtype=targets.rewards.dtype, device=self.device)
        return replace(targets, given={"values": scaled}, metrics=metrics)

    def residuals(self, paths: Paths, prepared: PathTargets) -> Tensor:
        """V̂* + β₂ log π/π_ref − R of each episode."""
        paid = paths.rewards - self.scaled_kl_coef * paths.log_ratio
        return prepared.given["values"][paths.episodes] - path_sums(paid, paths.grid, self.config.gamma)
