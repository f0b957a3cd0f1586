"""AsymRE: REINFORCE on whatever data, measured from a little below the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import AsymREConfig
from .offset import Offset

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import AsymREOverrides


class AsymRE(Offset[AsymREConfig]):
    """Asymmetric REINFORCE (Arnal et al. 2025).

    Loss: −Σ w·(R − r̄ − δ)·log π, R the return of the episode, r̄ the mean of its group, without a ratio. On fresh data
    δ changes nothing in expectation; on older data a δ below 0 keeps everything that was said in sight.
    """

    name: ClassVar[str] = "asymre"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: AsymREConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[AsymREOverrides],
        ) -> None: ...
