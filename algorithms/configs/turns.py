"""Configurations of methods that know more of a state than one episode tells: by branches, visits, other policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .base import Positive, Repeats, Rows, Tokens
from .groups import RepeatedConfig
from .schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class VinePPOConfig(RepeatedConfig):
    """Configuration of VinePPO."""

    rollout_tokens: Tokens = 128
    """Agent tokens a collection aims at, without those of the branches, which count for the budget beside them."""
    branches: Rows = 9
    """K: how often a state is played on from, whose mean return is its value. More vary less and cost more; 3 to 9."""
    branch_at: Literal["token", "turn"] = "token"
    """Which states are played on from: those before tokens, or those before turns."""
    branch_every: Repeats = 1
    """Every so many tokens or turns of an episode, from its first on. Fewer states cost less, and all tokens between
    two of them share what came until the next; with 1 each token has its own."""
    clip: Positive | Schedule = 0.2
    """ε: a token's probability ratio earns nothing beyond 1 ± ε. Smaller is more careful; 0.1 to 0.3."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that do nothing beside the others."""
        yield from super().idle()
        yield "whiten_rewards", "values are returns of branches, in the units that rewards have"
        if self.one_step:
            yield "clip", "epochs and minibatches are 1, so that the only step starts from the old policy"
