"""What is learnt from: episodes, batches of them, comparisons, and the replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .batch import Batch, Unit, cut_by_tokens
    from .comparisons import PreferenceDataset, prompt_numbers
    from .dataset import EpisodeDataset, EpisodeOrder
    from .encoding import Encoded, OverlongError, Said, TextEncoder, episodes_from
    from .episode_file import BrokenDatasetError, columns_of, episodes_of
    from .episodes import Episodes, FlatTokens, episode_metrics
    from .given_data import fitting, masked_as_asked, read_dataset, require_episodes, require_finite_rewards
    from .json_lines import number_of, read_lines, renamed, said_of, write_lines
    from .minari_data import check_minari_id, from_minari, to_minari
    from .preference_lines import read_preferences, write_preferences
    from .preferences import PreferencePairs, Ranks, prompts_of
    from .replay import EpisodeReplay, ReplaySample
    from .ring import Ring, ranges

__all__ = [
    "Batch",
    "BrokenDatasetError",
    "Encoded",
    "EpisodeDataset",
    "EpisodeOrder",
    "EpisodeReplay",
    "Episodes",
    "FlatTokens",
    "OverlongError",
    "PreferenceDataset",
    "PreferencePairs",
    "Ranks",
    "ReplaySample",
    "Ring",
    "Said",
    "TextEncoder",
    "Unit",
    "check_minari_id",
    "columns_of",
    "cut_by_tokens",
    "episode_metrics",
    "episodes_from",
    "episodes_of",
    "fitting",
    "from_minari",
    "masked_as_asked",
    "number_of",
    "prompt_numbers",
    "prompts_of",
    "ranges",
    "read_dataset",
    "read_lines",
    "read_preferences",
    "renamed",
    "require_episodes",
    "require_finite_rewards",
    "said_of",
    "to_minari",
    "write_lines",
    "write_preferences",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Batch": "batch",
        "BrokenDatasetError": "episode_file",
        "Encoded": "encoding",
        "EpisodeDataset": "dataset",
        "EpisodeOrder": "dataset",
        "EpisodeReplay": "replay",
        "Episodes": "episodes",
        "FlatTokens": "episodes",
        "OverlongError": "encoding",
        "PreferenceDataset": "comparisons",
        "PreferencePairs": "preferences",
        "Ranks": "preferences",
        "ReplaySample": "replay",
        "Ring": "ring",
        "Said": "encoding",
        "TextEncoder": "encoding",
        "Unit": "batch",
        "check_minari_id": "minari_data",
        "columns_of": "episode_file",
        "cut_by_tokens": "batch",
        "episode_metrics": "episodes",
        "episodes_from": "encoding",
        "episodes_of": "episode_file",
        "fitting": "given_data",
        "from_minari": "minari_data",
        "masked_as_asked": "given_data",
        "number_of": "json_lines",
        "prompt_numbers": "comparisons",
        "prompts_of": "preferences",
        "ranges": "ring",
        "read_dataset": "given_data",
        "read_lines": "json_lines",
        "read_preferences": "preference_lines",
        "renamed": "json_lines",
        "require_episodes": "given_data",
        "require_finite_rewards": "given_data",
        "said_of": "json_lines",
        "to_minari": "minari_data",
        "write_lines": "json_lines",
        "write_preferences": "preference_lines",
    },
)
