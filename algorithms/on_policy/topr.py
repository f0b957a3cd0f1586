"""TOPR: what was good is said more often whoever said it, what was bad less often as far as it is still said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ...agents import Scores
from ..configs import TOPRConfig
from ..data import Batch
from ..parts import Ratio, tapered_surrogate
from .base import Targets
from .offset import Offset

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import TOPROverrides


class TOPR(Offset[TOPRConfig]):
    """Tapered off-policy REINFORCE (Le Roux et al. 2025).

    Loss: −Σ w·α·A·log π, where A is the episode's return less its baseline, and α is 1 where A ≥ 0, else
    sg(min(π/μ, 1)) of the whole episode, μ what said it. Good episodes are cloned by their worth; bad ones stop
    counting once the policy has given them up.
    """

    name: ClassVar[str] = "topr"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: TOPRConfig | None = None,
            *,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[TOPROverrides],
        ) -> None: ...

    @property
    def weighs_behaviour(self) -> bool:
        """Whatever drew the tokens, they are weighed against that."""
        return True

    @property
    def ratio(self) -> Ratio:
        """That of whole episodes."""
        return "sequence"

    def surrogate(self, scores: Scores, part: Batch, targets: Targets) -> Tensor:
        """−α·A·log π of each token, (n,)."""
        episode = part.episodes[part.rows]
        return tapered_surrogate(scores.log_probs, part.log_probs, targets.advantages, episode)
