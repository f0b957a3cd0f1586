"""Datasets that a task and an agent are to learn from: read, and looked at whether they can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ...agents import Agent
from ...envs import Task, TokenGymError, Vocabulary
from .dataset import EpisodeDataset


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
