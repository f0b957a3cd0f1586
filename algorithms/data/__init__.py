"""What is learnt from: episodes, batches of them, and the replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .batch import Batch, Unit, cut_by_tokens
    from .dataset import EpisodeDataset, EpisodeOrder
    from .episode_file import BrokenDatasetError, columns_of, episodes_of
    from .episodes import Episodes, FlatTokens, episode_metrics
    from .preferences import PreferencePairs, Ranks
    from .replay import EpisodeReplay, ReplaySample
    from .ring import Ring

__all__ = [
    "Batch",
    "BrokenDatasetError",
    "EpisodeDataset",
    "EpisodeOrder",
    "EpisodeReplay",
    "Episodes",
    "FlatTokens",
    "PreferencePairs",
    "Ranks",
    "ReplaySample",
    "Ring",
    "Unit",
    "columns_of",
    "cut_by_tokens",
    "episode_metrics",
    "episodes_of",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Batch": "batch",
        "BrokenDatasetError": "episode_file",
        "EpisodeDataset": "dataset",
        "EpisodeOrder": "dataset",
        "EpisodeReplay": "replay",
        "Episodes": "episodes",
        "FlatTokens": "episodes",
        "PreferencePairs": "preferences",
        "Ranks": "preferences",
        "ReplaySample": "replay",
        "Ring": "ring",
        "Unit": "batch",
        "columns_of": "episode_file",
        "cut_by_tokens": "batch",
        "episode_metrics": "episodes",
        "episodes_of": "episode_file",
    },
)
