"""BC: behaviour cloning, of a player that is recorded or of recorded episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import BCConfig
from .cloning import Cloning

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import BCOverrides


class BC(Cloning[BCConfig]):
    """Behaviour cloning (Pomerleau 1988): the mean negative log-likelihood of a player's tokens."""

    name: ClassVar[str] = "bc"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: BCConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[BCOverrides],
        ) -> None: ...
