"""A*-PO: the reference's own samples say what a prompt is worth, and the policy is regressed on what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...agents import AgentPolicy, Policy, RandomPlayer, Sampler
from ..configs import APOConfig
from ..data import Episodes
from ..parts import AgentReference, derive_seed, path_sums, returns_to_go, sampled_soft_values
from .paths import PathMethod, Paths, PathTargets

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import APOOverrides


class APO(PathMethod[APOConfig]):
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

    def setup(self) -> None:
        """Build who speaks for the reference."""
        super().setup()
        seed = derive_seed(self.seed, "reference samples")
        self.reference_policy: Policy = (
            AgentPolicy(self.reference.agent, Sampler(seed))
            if isinstance(self.reference, AgentReference)
            else RandomPlayer(self.task.vocabulary, seed)
        )
        self.start_values: dict[int, float] = {}

    def update(self, batch: Episodes) -> dict[str, float]:
        """Value the starts of a collection anew, then learn from it."""
        self.start_values = {}
        return super().update(batch)

    def complete(self, targets: PathTargets, episodes: Episodes) -> PathTargets:
        """Value the starts by what the reference earns from them; each once."""
        missing = [start for start in np.unique(episodes.starts).tolist() if start not in self.start_values]
        if missing:
            values = self.values_of(np.array(missing, np.uint64))
            self.start_values |= dict(zip(missing, values.tolist(), strict=True))
        values = np.array([self.start_values[start] for start in episodes.starts.tolist()])
        metrics = {**targets.metrics, "path/value": float(values.mean())}
        scaled = torch.as_tensor(values / self.reward_scale, dtype=targets.rewards.dtype, device=self.device)
        return replace(targets, given={"values": scaled}, metrics=metrics)

    def values_of(self, starts: np.ndarray) -> np.ndarray:
        """Return V̂* of starts, float64 (m,), in the task's units, from fresh episodes of the reference."""
        count = self.config.reference_samples
        said = self.collector.collect_from(self.reference_policy, starts, count)
        flat = said.flat
        returns = returns_to_go(flat, self.config.gamma, self.learning_rewards(said))[flat.episode_offsets[:-1]]
        beta = self.config.value_beta or self.kl_controller.coef
        return sampled_soft_values(returns.reshape(-1, count) * self.reward_scale, beta)

    def residuals(self, paths: Paths, prepared: PathTargets) -> Tensor:
        """V̂* + β₂ log π/π_ref − R of each episode."""
        paid = paths.rewards - self.scaled_kl_coef * paths.log_ratio
        return prepared.given["values"][paths.episodes] - path_sums(paid, paths.grid, self.config.gamma)

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the generator of who speaks for the reference, too."""
        arrays, data = super().extra_state()
        own, told = self.reference_policy.state()
        return arrays | {f"reference_policy.{name}": value for name, value in own.items()}, {**data, "reference": told}

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        super().load_extra_state(tensors, data)
        start = "reference_policy."
        own = {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
        self.reference_policy.load_state(own, data["reference"])
