"""SFT: supervised fine-tuning on texts and dialogues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..configs import SFTConfig
from .cloning import Cloning

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ...agents import Agent
    from ...agents.specs import Dtype
    from ..configs import SFTOverrides


class SFT(Cloning[SFTConfig]):
    """Supervised fine-tuning: the mean negative log-likelihood of what the agent says in given texts and dialogues.

    The tokens of prompts, and of what others say in a dialogue, are read and never learnt to be said.
    """

    name: ClassVar[str] = "sft"

    if TYPE_CHECKING:

        def __init__(
            self,
            env: Any,
            agent: Any = "mlp-tiny",
            config: SFTConfig | None = None,
            *,
            dataset: Any = None,
            seed: int = 0,
            device: str | torch.device = "cpu",
            dtype: Dtype | None = None,
            reference: Agent | None = None,
            **overrides: Unpack[SFTOverrides],
        ) -> None: ...
