"""Configurations of the algorithms that play, keep the best of what they said, and learn to say that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from ...envs.checking import Range
from .base import Interval, Repeats, Rows, Tokens
from .parts import OnlineConfig


@dataclass(frozen=True, kw_only=True)
class SelectionConfig(OnlineConfig):
    """What algorithms have that learn from the best of their own samples."""

    rollout_tokens: Tokens = 256
    """Agent tokens a collection aims at. More find better samples before the policy follows them; 128 to 10,000."""
    group_size: Rows = 8
    """Episodes that share a start, K of "the best of K". More are better teachers and cost more tokens; 4 to 32."""
    best_share: Annotated[float, Range(above=0, most=1)] = 0.125
    """Share of the episodes that is learnt from, those of the highest return, at least one of each group. Smaller
    improves faster and loses diversity sooner; .1 to .3."""
    best_within: Literal["group", "collection"] = "group"
    """Compare episodes that share a start, so that all prompts teach alike, or all of a collection."""
    loss_aggregation: Literal["token", "sequence"] = "token"
    """How tokens are weighed: all alike, or all episodes alike (favours short ones)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = self.best_within == "collection" or self.group_size > 1
        self.require(whole, "group_size", "at least 2, or best_within 'collection': of one there is no best")

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "token_rewards", "whole episodes are compared by their returns"


@dataclass(frozen=True, kw_only=True)
class RAFTConfig(SelectionConfig):
    """Configuration of RAFT."""

    epochs: Repeats = 4
    """Passes over what was kept of a collection. More learn more from each token and lose diversity sooner; 1 to 8."""
    minibatches: Rows = 1
    """Steps of the optimiser a pass, each on a random share of what was kept; 1 to 8."""


@dataclass(frozen=True, kw_only=True)
class ExpertIterationConfig(SelectionConfig):
    """Configuration of expert iteration."""

    memory_episodes: Interval = 128
    """The newest kept episodes that are learnt from. More forget less and follow the policy more slowly; 64 to
    10,000."""
    batch_episodes: Rows = 32
    """Episodes of a step, drawn from the memory; 16 to 128."""
    updates_per_collection: Repeats = 4
    """Steps after each collection. More learn more from each token, until they overfit to it; 1 to 16."""
    least_return: Annotated[float, Range(least=-1_000_000, most=1_000_000)] | None = None
    """Keep the episodes with at least this return, such as the right answers, instead of a share of them."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        if self.least_return is not None:
            yield "best_share", "least_return is given"
            yield "best_within", "least_return is given"
