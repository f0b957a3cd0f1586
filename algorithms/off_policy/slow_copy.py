"""The slow copy of an agent, or target network: what values are learnt against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...agents import Agent
from ...agents.build import convert
from ...agents.devices import is_half
from ..runs import take


class SlowCopy:
    """A frozen copy of an agent that moves towards it step by step.

    Args:
        agent: what is copied; only what it learns ever moves.

    Attributes:
        agent: the copy.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent.clone_frozen()
        if is_half(agent.dtype) and agent.lora is None:  # which a slow copy's small steps would be lost in
            convert(self.agent, torch.float32)
        both = zip(agent.parameters(), self.agent.parameters(), strict=True)
        self._moving = [slow for fast, slow in both if fast.requires_grad]

    @torch.no_grad()
    def follow(self, parameters: Sequence[Tensor], share: float) -> None:
        """Move towards the agent's learnt parameters by ``share`` of the way (Polyak averaging)."""
        for slow, fast in zip(self._moving, parameters, strict=True):
            slow.lerp_(fast.to(slow.dtype), share)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {f"target.{name}": tensor for name, tensor in self.agent.state_dict().items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `state` returned, out of all that a checkpoint holds."""
        self.agent.load_state_dict(take(tensors, "target."))
