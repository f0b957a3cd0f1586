"""REINFORCE++: PPO's clip with the whole batch for a critic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import ReinforcePPConfig
from .reinforce import MonteCarlo
from .repeated import Repeated

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import ReinforcePPOverrides


class ReinforcePP(Repeated[ReinforcePPConfig], MonteCarlo[ReinforcePPConfig]):
    """REINFORCE++ (Hu 2025): no critic and no groups.

    The KL is taken off each token's reward, the returns-to-go are normalised over the whole collection, and
    Σ w·[−min(ρA, clip(ρ)A)] is descended in several steps.
    """

    name: ClassVar[str] = "reinforce-pp"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: ReinforcePPConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[ReinforcePPOverrides],
        ) -> None: ...

    @property
    def bounds(self) -> tuple[float, float]:
        """1 ± ε at the present `progress`."""
        clip = self.scheduled(self.config.clip)
        return 1 - clip, 1 + clip
