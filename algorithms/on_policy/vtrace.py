"""VTrace: an actor and a critic that learn from what an older policy said, with truncated weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...agents import Scores
from ..configs import VTraceConfig
from ..data import Episodes
from ..parts import vtrace
from .actor_critic import OneStep, critic_values, explained_variance

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import VTraceOverrides


class VTrace(OneStep[VTraceConfig]):
    """The V-trace actor-critic (Espeholt et al. 2018, IMPALA) on whole episodes.

    Loss: −Σ w·ρ_t·(r_t + γ·v_{t+1} − V_t)·log π(a|s) + c_v·Σ w·½(V − v)² − c_H·Σ w·H(π), where ρ_t is π/μ cut at ρ̄ and
    v the V-trace targets. Where π is what spoke it is A2C with λ = 1.
    """

    name: ClassVar[str] = "v-trace"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: VTraceConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[VTraceOverrides],
        ) -> None: ...

    @property
    def weighs_behaviour(self) -> bool:
        """Whatever drew the tokens, they are weighed against that."""
        return True

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """Advantages and targets of V-trace; see the base for shapes."""
        values, final = critic_values(scores)
        config, flat = self.config, episodes.flat
        log_ratio = scores.log_probs.detach().cpu().numpy() - flat.log_prob
        advantages, targets = vtrace(
            flat, rewards, values, final, log_ratio, config.gamma, config.rho_cap, config.trace_cap, config.gae_lambda
        )
        # On fresh data ρ̄ = 1 cuts the roundings above 1, half of all tokens, which says nothing of how old they are.
        beyond = log_ratio > np.log(config.rho_cap) + np.log1p(self.ratio_tolerance)
        return (
            advantages,
            targets,
            {
                "value/explained_variance": explained_variance(values, targets),
                "policy/cut_fraction": float(beyond.mean()),
            },
        )
