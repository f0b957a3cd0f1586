"""Configurations of the algorithms that learn from comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from ...envs.checking import Range
from .base import Interval, NotNegative, Positive, Rows
from .labels import LabelConfig, LabellerConfig
from .offline import OfflineConfig
from .parts import OnlineConfig, PolicyConfig

PairLossName = Literal["dpo", "cdpo", "ipo", "simpo", "kto", "orpo"]
"""What can be made of a better and a worse completion; see `PAIR_LOSS_KINDS`."""


@dataclass(frozen=True)
class PairLossKind:
    """What a loss of pairs needs.

    Attributes:
        beta: β as its paper has it.
        has_reference: whether it compares with a reference policy.
        options: the fields of `PairLossConfig` that it alone reads.
    """

    beta: float
    has_reference: bool = True
    options: tuple[str, ...] = ()


PAIR_LOSS_KINDS: Mapping[PairLossName, PairLossKind] = {
    "dpo": PairLossKind(0.1),
    "cdpo": PairLossKind(0.1, options=("label_smoothing",)),
    "ipo": PairLossKind(0.1),
    "simpo": PairLossKind(2.5, has_reference=False, options=("target_margin",)),
    "kto": PairLossKind(0.1, options=("better_weight", "worse_weight")),
    "orpo": PairLossKind(0.1, has_reference=False),
}
"""The losses by name; their formulas, which need torch, are in `parts.PAIR_LOSSES`."""


@dataclass(frozen=True, kw_only=True)
class PairLossConfig(PolicyConfig):
    """What is made of a better and a worse completion."""

    loss: PairLossName = "dpo"
    """DPO, DPO with labels that may be wrong (cdpo), IPO, SimPO, KTO or ORPO; the page has the formulas."""
    beta: Positive | None = None
    """β of the loss, λ of ORPO; None takes the paper's: 0.1, and 2.5 for SimPO. Larger stays closer to the reference,
    where there is one: with Bradley-Terry labels of temperature τ, DPO ends where a KL of weight β·τ would."""
    label_smoothing: Annotated[float, Range(above=0, most=0.49)] = 0.1
    """The share of labels that "cdpo" takes to be wrong. Larger moves less, however sure the data seem; 0.05 to 0.4."""
    target_margin: NotNegative = 1.375
    """γ of "simpo": by how much the better completion is to lead. Larger tells them further apart; 0 to 2."""
    better_weight: Positive = 1.0
    """λ of desirable completions of "kto"."""
    worse_weight: Positive = 1.0
    """λ of undesirable completions of "kto". Larger avoids more than it seeks; 1 to 1.5."""
    kl_reference: Literal["initial", "uniform"] = "initial"
    """The reference: the agent as it was at the start, or the uniform policy. A `reference` agent overrides it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        guessed = self.loss == "kto" and self.action_masks
        self.require(not guessed, "action_masks", "False with the loss 'kto', which mixes prompts and completions")

    @property
    def chosen_beta(self) -> float:
        """β, the paper's where none is given."""
        return PAIR_LOSS_KINDS[self.loss].beta if self.beta is None else self.beta

    @property
    def has_reference(self) -> bool:
        """Whether the loss compares with a reference policy."""
        return PAIR_LOSS_KINDS[self.loss].has_reference

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        for name in dict.fromkeys(option for kind in PAIR_LOSS_KINDS.values() for option in kind.options):
            if name not in PAIR_LOSS_KINDS[self.loss].options:
                yield name, f"loss is {self.loss!r}"
        if not self.has_reference:
            yield "kl_reference", f"loss is {self.loss!r}"


@dataclass(frozen=True, kw_only=True)
class PreferencesConfig(LabelConfig, OfflineConfig):
    """What learns from a fixed set of comparisons: of a file, or of samples that a simulated labeller judges.

    Without `data`, the initial policy answers the task's prompts, and answers to one prompt are compared by the task's
    reward; the fields of the labeller say how many of them, and how well.
    """

    overlong: Literal["refuse", "drop"] = "refuse"
    """What becomes of comparisons in `data` that are longer than the context: an error, or left out."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.data is not None:
            for name in ("labels", "label_temperature", "label_flips", "length_preference"):
                yield name, "data is given, whose labels are there already"
        else:
            yield "overlong", "data is None, and the task's own episodes fit"


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PairLossConfig, PreferencesConfig):
    """Configuration of DPO and of the losses beside it."""

    batch_pairs: Rows = 64
    """Pairs a step of the optimiser. More give steadier and costlier steps; 16 to 256."""


@dataclass(frozen=True, kw_only=True)
class RRHFConfig(PreferencesConfig):
    """Configuration of RRHF."""

    batch_rankings: Rows = 16
    """Rankings a step of the optimiser. More give steadier and costlier steps; 8 to 64."""
    ranking_size: Annotated[int, Range(least=2, most=64)] = 4
    """Samples of each ranking, where there is no `data`. A ranking of k costs k(k − 1)/2 of the `labels`."""
    nll_coef: NotNegative = 1.0
    """Weight of the likelihood of the best completion of each ranking. 0 keeps the order alone; 0.1 to 1."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.data is not None:
            yield "ranking_size", "data is given, whose rankings are there already"


@dataclass(frozen=True, kw_only=True)
class OnlineDPOConfig(PairLossConfig, LabellerConfig, OnlineConfig):
    """Configuration of online DPO."""

    labels: Interval | None = None
    """How many comparisons may be bought; learning ends when they are. None buys as long as tokens last."""
    group_size: Annotated[int, Range(least=2, most=65_536)] = 2
    """Answers to each prompt, an even number; each two that follow one another are compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.group_size % 2 == 0, "group_size", "an even number, since answers are compared two by two")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "token_rewards", "whole answers are compared"
