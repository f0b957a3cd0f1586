"""Configurations of the algorithms that learn from a dataset and play nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ...envs.checking import Range
from .base import Interval, Rows, Share
from .parts import LearningConfig


@dataclass(frozen=True, kw_only=True)
class OfflineConfig(LearningConfig):
    """What algorithms on a dataset have; their budget and their schedules are in updates."""

    budget: ClassVar[Literal["tokens", "updates"]] = "updates"

    data: str | None = None
    """Path of what is learnt from; None where it is given in Python, or made as the other fields say."""


@dataclass(frozen=True, kw_only=True)
class EpisodesConfig(OfflineConfig):
    """What algorithms have that learn from recorded episodes."""

    player: str = "expert"
    """Who is recorded where there is no `data`: "expert" (the task's own, or the optimal one where it has none),
    "optimal" (solved exactly), "random", or the folder of a run or a checkpoint."""
    demonstrations: Annotated[int, Range(least=1, most=10_000_000)] = 512
    """Episodes that are recorded. More cover more of what may come; 100 to 10,000."""
    batch_episodes: Rows = 32
    """Episodes of an update. More give steadier and costlier updates; 8 to 128."""
    overlong: Literal["refuse", "drop"] = "refuse"
    """What becomes of data that are longer than the context: an error, or left out."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.data is not None:
            yield "player", "data is given"
            yield "demonstrations", "data is given"


@dataclass(frozen=True, kw_only=True)
class CloningConfig(EpisodesConfig):
    """What algorithms have that say what others said."""

    loss_aggregation: Literal["token", "sequence"] = "token"
    """How tokens are weighed: all alike, or all episodes alike (favours short ones)."""
    held_out: Share = 0.0
    """Share of the different prompts whose episodes are kept from learning; what the agent makes of them is logged."""
    held_out_every: Interval = 50
    """Updates between two looks at what is held out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.held_out < 1, "held_out", "below 1, so that something is left to learn from")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if not self.held_out:
            yield "held_out_every", "held_out is 0"


@dataclass(frozen=True, kw_only=True)
class SFTConfig(CloningConfig):
    """Configuration of supervised fine-tuning."""


@dataclass(frozen=True, kw_only=True)
class BCConfig(CloningConfig):
    """Configuration of behaviour cloning."""


@dataclass(frozen=True, kw_only=True)
class FilteredBCConfig(CloningConfig):
    """Configuration of filtered behaviour cloning."""

    best_share: Annotated[float, Range(above=0, most=1)] = 0.1
    """Share of the episodes that is learnt from, those of the highest return. Smaller is better data and less of it;
    .05 to .5."""
    least_return: Annotated[float, Range(least=-1_000_000, most=1_000_000)] | None = None
    """Learn from the episodes with at least this return, instead of a share of them."""
    player: str = "random"
    """Who is recorded where there is no `data`: "expert" (the task's own, or the optimal one where it has none),
    "optimal" (solved exactly), "random", or the folder of a run or a checkpoint."""
    demonstrations: Annotated[int, Range(least=1, most=10_000_000)] = 4096
    """Episodes that are recorded, and then filtered. More hold more good ones; 1,000 to 100,000."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.least_return is not None:
            yield "best_share", "least_return is given"
