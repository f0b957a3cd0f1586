"""Demonstrations: a dataset of episodes, checked, and which of them are learnt from and which are held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...envs import TokenGymError, Vocabulary
from ...envs.checking import shown
from ..data import EpisodeDataset, Episodes, columns_of, episodes_of, prompts_of


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """A dataset, and the two sides of its split.

    Attributes:
        dataset: all episodes.
        learnt: int64 (k,), which of them are learnt from.
        held_out: int64 (h,), which are looked at only.
    """

    dataset: EpisodeDataset
    learnt: np.ndarray
    held_out: np.ndarray


def as_dataset(given: Any, name: str) -> EpisodeDataset:
    """Return a dataset of episodes, or say what was expected."""
    if not isinstance(given, EpisodeDataset):
        raise TokenGymError(
            f"dataset is {shown(given)}; {name} learns from an EpisodeDataset: record one, or give the path of a file "
            "in config.data"
        )
    return given


def held_out_by_prompt(episodes: Episodes, share: float) -> np.ndarray:
    """Return which episodes are held out, bool (E,): those of a share of the different prompts.

    It depends on a hash of what an episode shows before the agent speaks, not on the order: equal prompts are on the
    same side, always, and more data moves few of the others.

    Raises:
        TokenGymError: there are too few different prompts for two sides.
    """
    if not share:
        return np.zeros(len(episodes), bool)
    tokens, lengths = prompts_of(episodes)
    texts = [row[:length].tobytes() for row, length in zip(tokens, lengths.tolist(), strict=True)]
    ranked = sorted(set(texts), key=lambda text: hashlib.blake2b(text, digest_size=16).digest())
    if len(ranked) < 2:
        raise TokenGymError(
            f"held_out is {share:g}, and all {len(episodes)} episodes begin alike: with one prompt none can be held "
            "out; leave it at 0"
        )
    held = set(ranked[: min(max(1, round(share * len(ranked))), len(ranked) - 1)])
    return np.array([text in held for text in texts])


def dataset_state(dataset: EpisodeDataset) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return a dataset as arrays that a checkpoint can hold, and JSON-able data."""
    columns = columns_of(dataset.episodes)
    columns["starts"] = columns["starts"].view(np.int64)
    return columns, {"about": dataset.about}


def dataset_from_state(tensors: dict[str, Any], told: dict[str, Any], vocabulary: Vocabulary) -> EpisodeDataset:
    """Return the dataset that `dataset_state` was given."""
    columns = {
        name: value.cpu().numpy() if isinstance(value, torch.Tensor) else value for name, value in tensors.items()
    }
    columns["starts"] = columns["starts"].view(np.uint64)
    episodes = episodes_of(columns, vocabulary.num_actions, vocabulary.size, vocabulary.pad)
    return EpisodeDataset(episodes, vocabulary, told["about"])
