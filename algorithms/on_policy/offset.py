"""Offset: policy gradients on whole episodes whose baseline says what is learnt from; TOPR and AsymRE."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np

from ...agents import Scores
from ..configs import OffsetConfig
from ..data import Episodes
from ..parts import StepBaseline
from .reinforce import MonteCarlo

OffsetConfigT = TypeVar("OffsetConfigT", bound=OffsetConfig)


class Offset(MonteCarlo[OffsetConfigT]):
    """Measures the return of an episode from a baseline, and that from an offset."""

    @property
    def baseline(self) -> StepBaseline:
        """What a return is measured from, before the offset."""
        return self.config.baseline

    @property
    def credit(self) -> Literal["to_go", "episode"]:
        """All of the episode."""
        return "episode"

    def advantages(
        self, episodes: Episodes, rewards: np.ndarray, scores: Scores
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """The return of each episode less its baseline and the offset, for all of its tokens."""
        above, returns, metrics = super().advantages(episodes, rewards, scores)
        advantages = (above - self.config.offset).astype(above.dtype)
        first = episodes.flat.episode_offsets[:-1]
        share = float((advantages[first] > 0).mean())
        return advantages, returns, {**metrics, "policy/positive_fraction": share}
