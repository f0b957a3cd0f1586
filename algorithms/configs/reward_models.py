"""How reward models are fitted to comparisons; read and checked without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from ...envs.checking import Range
from .base import NotNegative, Repeats, Rows, Share
from .lora import LoRAConfig
from .parts import OptimiserConfig

Combine = Literal["mean", "worst", "variance"]
"""What an ensemble makes of its members' scores."""

Members = Annotated[int, Range(least=1, most=64)]


@dataclass(frozen=True, kw_only=True)
class RewardModelConfig(LoRAConfig, OptimiserConfig):
    """A Bradley–Terry model of comparisons: P(better) = σ(s_better − s_worse)."""

    members: Members = 1
    """Models that are fitted, each from weights and an order of the pairs of its own; above 1 they are an ensemble."""
    combine: Combine = "mean"
    """What an ensemble scores: its members' mean, the worst of them, or mean − k·variance. The latter two distrust what
    the members disagree about."""
    variance_coef: NotNegative = 1.0
    """k of mean − k·variance. Larger distrusts more; 0.1 to 1 for scores of the order of 1."""
    bootstrap: bool = False
    """Whether each member draws as many pairs as there are with replacement, and so never sees about a third of them.
    Members differ more, and each is fitted to less."""
    epochs: Repeats = 20
    """Passes over the pairs, at most. More fits closer, until what is fitted is the noise of the labels."""
    validation: Share = 0.1
    """Share of the pairs kept apart to choose when to stop, of prompts of their own where there are ten or more. 0 fits
    all pairs for all epochs."""
    patience: Repeats = 3
    """Passes without a smaller loss on the pairs kept apart after which fitting stops; the best weights are kept."""
    batch_pairs: Rows = 64
    """Pairs a step of the optimiser."""
    label_smoothing: Annotated[float, Range(least=0, below=0.5)] = 0.0
    """ε of the share of labels taken to be the wrong way round (cDPO's loss): 0 to 0.25. The scores' differences then
    are those of the labels without the flips, if ε is their share."""
    margin: NotNegative = 0.0
    """How far the better must be ahead: this times the pair's own margin, which is 1 where the pairs have none
    (Touvron et al. 2023). Larger spreads the scores."""
    centring: NotNegative = 0.01
    """Weight of (s_better + s_worse)², which keeps scores near 0 without changing which is larger; 0 to 0.1."""
    process: bool = False
    """Score every token of the agent's, and an episode by their sum: a dense reward (Christiano et al. 2017)."""
    normalise: Literal["mean", "both", "none"] = "mean"
    """What is made of the scores of the fitted pairs' completions: mean 0, or mean 0 and variance 1, or nothing. With
    their own mean the differences stay log-odds of the labels; members of an ensemble need it to be comparable."""

    def __post_init__(self) -> None:
        super().__post_init__()
        comparable = self.members == 1 or self.process or self.normalise != "none"
        self.require(comparable, "normalise", "'mean' or 'both': members each have a zero of their own")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.members == 1:
            yield "combine", "members is 1"
            yield "bootstrap", "members is 1"
        if self.combine != "variance":
            yield "variance_coef", f"combine is {self.combine!r}"
        if not self.validation:
            yield "patience", "validation is 0"
        if self.process:
            yield "normalise", "process is True, and the sum of a shift is a bonus for length"
