"""Demonstrations: a dataset of episodes, checked, and which of them are learnt from and which are held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ...agents import Agent
from ...envs import Task, TokenGymError, Vocabulary
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


def read_dataset(path: Path, vocabulary: Vocabulary) -> EpisodeDataset:
    """Read one file of episodes, or all in a folder in the order of their names.

    Raises:
        TokenGymError: there is none, or one is broken or of another vocabulary.
    """
    if not path.is_dir():
        return EpisodeDataset.load(path, vocabulary)
    files = sorted(path.glob("*.safetensors"))
    if not files or (path / "manifest.json").exists():
        raise TokenGymError(
            f"{path} holds no files of episodes (*.safetensors as EpisodeDataset.save writes them); to learn from what "
            "a trained agent does, name its folder as `player`"
        )
    return EpisodeDataset.concat([EpisodeDataset.load(file, vocabulary) for file in files])


def fitting(
    dataset: EpisodeDataset, task: Task, agent: Agent, action_masks: bool, overlong: Literal["refuse", "drop"]
) -> EpisodeDataset:
    """Return a dataset that an agent can learn from, after looking whether it is one of a task's.

    With ``overlong`` "drop" episodes that do not fit the context are left out; how many stands in ``about["dropped"]``.

    Raises:
        TokenGymError: another vocabulary, a sequence that is too long, or no action masks where they are asked for.
    """
    dataset.require(task.vocabulary)
    episodes = dataset.episodes
    longest, most = int(episodes.lengths.max(initial=0)), min(task.max_length, agent.max_length)
    if longest > most:
        fits = np.ones(len(episodes), bool)
        fits[episodes.episode_id[episodes.lengths > most]] = False
        left_out = int((~fits).sum())
        if overlong == "refuse" or not fits.any():
            raise TokenGymError(
                f"{left_out} of {len(episodes)} episodes of the dataset are longer than {most} tokens (the longest has "
                f"{longest}), which is the context of {task.name!r} and the agent: give the task a larger max_length, "
                "or leave them out with overlong='drop'"
            )
        about = {**dataset.about, "dropped": dataset.about.get("dropped", 0) + left_out}
        dataset = EpisodeDataset(episodes.select(np.flatnonzero(fits)), dataset.vocabulary, about)
        episodes = dataset.episodes
    if action_masks and episodes.action_masks is None:
        raise TokenGymError(
            "action_masks is True, and the dataset holds no masks: record it with action_masks=True, or leave it out"
        )
    if not action_masks and episodes.action_masks is not None:
        dataset = EpisodeDataset(
            replace(episodes, action_masks=None, final_action_masks=None), dataset.vocabulary, dataset.about
        )
    return dataset


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
