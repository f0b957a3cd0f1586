"""The part of configurations that says whether all of a model is learnt, or low-rank adapters around its layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from ...agents.specs import LoRA
from ...envs.checking import Range
from .base import Config, Positive

Rank = Annotated[int, Range(least=1, most=65_536)]
"""How many numbers lie between the two matrices of an adapter."""


@dataclass(frozen=True, kw_only=True)
class LoRAConfig(Config):
    """What of the agent is learnt."""

    lora_rank: Rank | None = None
    """Learn low-rank adapters (LoRA) of this rank around the layers of a transformer, and no weight of its own; heads
    that are added to it are learnt whole. Bounds memory; 1 to 64. None learns everything. Needs tokengym[peft]."""
    lora_alpha: Positive = 32.0
    """What adapters add is multiplied by this over the rank: the same step size then suits all ranks."""
    lora_targets: Literal["all", "attention"] = "all"
    """The layers that get adapters: all linear ones of the model, or those of its attention."""

    @property
    def lora(self) -> LoRA | None:
        """What adapters the agent is built with, if any."""
        if self.lora_rank is None:
            return None
        return LoRA(rank=self.lora_rank, alpha=self.lora_alpha, targets=self.lora_targets)

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.lora_rank is None:
            yield "lora_alpha", "lora_rank is None"
            yield "lora_targets", "lora_rank is None"
