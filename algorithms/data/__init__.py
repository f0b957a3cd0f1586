"""What is learnt from: episodes, batches of them, and the replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .batch import Batch, Unit, cut_by_tokens
    from .episodes import Episodes, FlatTokens, episode_metrics
    from .replay import EpisodeReplay, ReplaySample

__all__ = [
    "Batch",
    "EpisodeReplay",
    "Episodes",
    "FlatTokens",
    "ReplaySample",
    "Unit",
    "cut_by_tokens",
    "episode_metrics",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Batch": "batch",
        "EpisodeReplay": "replay",
        "Episodes": "episodes",
        "FlatTokens": "episodes",
        "ReplaySample": "replay",
        "Unit": "batch",
        "cut_by_tokens": "batch",
        "episode_metrics": "episodes",
    },
)
