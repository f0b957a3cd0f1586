"""QRPO: the reward's quantile among the reference's own, whose partition function is known, is regressed on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..configs import QRPOConfig
from ..data import Episodes
from ..parts import path_sums, ranked_aims
from .paths import Paths, PathTargets
from .reference_samples import ReferenceSampled

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import QRPOOverrides


class QRPO(ReferenceSampled[QRPOConfig]):
    """Quantile reward policy optimisation (Matrenok et al. 2025, QRPO).

    Loss: the mean over episodes of ½ (q − β log Z − β log π/π_ref)², where q is the share of N episodes that the
    reference says from the same start and that earn at most as much. Of continuous rewards q is uniform under the
    reference, so that Z = β (e^(1/β) − 1) is known. They are asked of the environment, and count.
    """

    name: ClassVar[str] = "qrpo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: QRPOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[QRPOOverrides],
        ) -> None: ...

    def complete(self, targets: PathTargets, episodes: Episodes) -> PathTargets:
        """Rank the episodes among the reference's, and take off what the partition function makes of it."""
        samples = self.samples_of(episodes.starts)
        returns, beta = self.returns_of(episodes), self.kl_controller.coef
        quantiles, aims = ranked_aims(returns, episodes.starts, samples, beta, self.config.partition)
        metrics = {**targets.metrics, "path/quantile": float(quantiles.mean())}
        given = {"aims": torch.as_tensor(aims, dtype=targets.rewards.dtype, device=self.device)}
        return replace(targets, given=given, metrics=metrics)

    def residuals(self, paths: Paths, prepared: PathTargets) -> Tensor:
        """β log π/π_ref − (q − β log Z) of each episode."""
        said = path_sums(paths.log_ratio, paths.grid, 1.0)
        return self.kl_controller.coef * said - prepared.given["aims"][paths.episodes]
