"""Path consistency learning: every stretch of every episode is to be worth what the logits say of its first state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..configs import PathConsistencyConfig
from ..data import Episodes
from ..parts import path_returns
from .paths import PathMethod, Paths, PathTargets
from .reading import Reading
from .slow_copy import SlowCopy

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import PathConsistencyOverrides


class PathConsistency(PathMethod[PathConsistencyConfig]):
    """Path consistency learning (Nachum et al. 2017, PCL; for text Guo et al. 2021, SQL), on all suffixes.

    Loss: the mean over tokens of ½ (V(s_t) + β Σ_{i≥t} log π/π_ref − Σ_{i≥t} r)². V is the policy's own, β(logsumexp ℓ
    − logsumexp ℓ_ref), so that Q = β(ℓ − ℓ_ref) and one set of logits is policy and values at once; or a value head.
    """

    name: ClassVar[str] = "path-consistency"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: PathConsistencyConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[PathConsistencyOverrides],
        ) -> None: ...

    def setup(self) -> None:
        """Build the replay, and the slow copy where there is one."""
        super().setup()
        self.slow = SlowCopy(self.agent) if self.config.bootstrap == "target" else None

    def required_heads(self) -> tuple[str, ...]:
        """The policy, and a value head where the configuration asks for one."""
        return ("policy", "value") if self.config.values == "head" else ("policy",)

    def agent_options(self) -> dict[str, Any]:
        """Give the value head a trunk of its own where the configuration asks for it."""
        return {"separate_critic": self.config.separate_critic}

    @property
    def whole(self) -> bool:
        """Whether residuals are of whole episodes."""
        return self.config.paths == "whole"

    def complete(self, targets: PathTargets, episodes: Episodes) -> PathTargets:
        """Ask the slow copy for its values, where it values the ends of stretches."""
        if self.slow is None:
            return targets
        seen: list[Paths] = []
        with torch.no_grad():
            for part in targets.batch.parts(self.config.micro_batch_tokens, self.unit, final=True):
                seen.append(self.read(part, targets, Reading(self.slow.agent, self.required_heads(), part)))
        given = {
            "slow_values": torch.cat([paths.values for paths in seen]),
            "slow_final_values": torch.cat([paths.final_values for paths in seen]),
        }
        return replace(targets, given=given)

    def residuals(self, paths: Paths, prepared: PathTargets) -> Tensor:
        """V(s_t) less the soft return of the stretch from t on: of every token, or of the first of each episode."""
        paid = paths.rewards - self.scaled_kl_coef * paths.log_ratio
        values, final = paths.values, paths.final_values
        if self.slow is not None:
            values = prepared.given["slow_values"][paths.tokens].to(paid.dtype)
            final = prepared.given["slow_final_values"][paths.episodes].to(paid.dtype)
        returns = path_returns(paid, paths.grid, self.config.gamma, values, final, self.config.path_length)
        residuals = paths.values - returns
        return residuals[paths.grid.step == 0] if self.whole else residuals

    def after_step(self) -> None:
        """Move the slow copy."""
        self.move_target(self.config.target_polyak)

    def move_target(self, share: float) -> None:
        """Move the slow copy's weights to the agent's by ``share`` of the way, if there is one."""
        if self.slow is not None:
            self.slow.follow(self.parameters, share)

    def extra_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the slow copy, too."""
        arrays, data = super().extra_state()
        return arrays if self.slow is None else arrays | self.slow.state(), data

    def load_extra_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `extra_state` returned."""
        super().load_extra_state(tensors, data)
        if self.slow is not None:
            self.slow.load_state(tensors)
