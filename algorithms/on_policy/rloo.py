"""RLOO: each of a group is compared with the mean of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..configs import RLOOConfig
from ..parts import StepBaseline
from .reinforce import MonteCarlo

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import RLOOOverrides


class RLOO(MonteCarlo[RLOOConfig]):
    """REINFORCE leave-one-out (Ahmadian et al. 2024, "Back to Basics").

    Loss: −Σ w·A·log π(a|s), A the return of the episode less the mean return of the others from its start; one step a
    collection. The expected gradient is that of the return, whatever the size of groups.
    """

    name: ClassVar[str] = "rloo"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: RLOOConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[RLOOOverrides],
        ) -> None: ...

    @property
    def baseline(self) -> StepBaseline:
        """The mean of the others."""
        return "leave_one_out"

    @property
    def credit(self) -> Literal["to_go", "turn", "episode"]:
        """All of the episode: groups compare whole episodes."""
        return "episode"
