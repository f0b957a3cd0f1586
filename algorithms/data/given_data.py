"""Datasets that a task and an agent are to learn from: read, and looked at whether they can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ...agents import Agent
from ...envs import Task, TokenGymError, Vocabulary
from ...envs.checking import shown
from .dataset import EpisodeDataset
from .episodes import Episodes


def read_dataset(path: Path, vocabulary: Vocabulary) -> EpisodeDataset:
    """Read one file of episodes, or all in a folder in the order of their names.

    Raises:
        TokenGymError: there is none, or one is broken or of another vocabulary.
    """
    if str(path).startswith("minari:"):
        raise TokenGymError(
            f"{path} is a dataset of Minari's, which the task is needed to read: give dataset=from_minari("
            f"{str(path).removeprefix('minari:')!r}, task) in Python, or save that as a .safetensors file"
        )
    if path.suffix in (".json", ".jsonl"):
        raise TokenGymError(
            f"{path} is meant as texts, by its name; expected a file of episodes (*.safetensors, as tokengym record "
            "and EpisodeDataset.save write them): read_texts(path, task).save(…) makes one of texts"
        )
    if not path.is_dir():
        return EpisodeDataset.load(path, vocabulary)
    files = sorted(path.glob("*.safetensors"))
    if not files or (path / "manifest.json").exists():
        raise TokenGymError(
            f"{path} holds no files of episodes (*.safetensors as EpisodeDataset.save writes them); to learn from what "
            "a trained agent does, name its folder as `player`"
        )
    return EpisodeDataset.concat([EpisodeDataset.load(file, vocabulary) for file in files])


def require_finite_rewards(episodes: Episodes) -> None:
    """Raise a `TokenGymError` where a reward of recorded episodes is not finite; names the first."""
    rewards = episodes.flat.reward
    broken = np.flatnonzero(~np.isfinite(rewards))
    if len(broken):
        raise TokenGymError(
            f"the dataset holds a reward that is {rewards[broken[0]]} (token {broken[0]} of {len(rewards)}); "
            "values are learnt from finite ones: record it again, or leave those episodes out "
            "(EpisodeDataset.filter)"
        )


def masked_as_asked(episodes: Episodes, action_masks: bool) -> Episodes:
    """Return episodes with their masks where a learner asks for some, and without where it knows none.

    Raises:
        TokenGymError: there are none, or a token was said that the masks beside it forbid. Its log-probability would
            be that of the impossible, and the loss of its batch as large as numbers go.
    """
    masks, said = episodes.action_masks, episodes.flat.action
    if not action_masks:
        return episodes if masks is None else replace(episodes, action_masks=None, final_action_masks=None)
    if masks is None:
        raise TokenGymError(
            "action_masks is True, and the episodes hold no masks: record them with action_masks=True, or leave it out"
        )
    allowed = masks.allows(torch.from_numpy(said).to(masks.bits.device)).cpu().numpy()
    broken = np.flatnonzero(~allowed)
    if len(broken):
        raise TokenGymError(
            f"the episodes hold {len(broken)} of {len(allowed)} tokens that their own action masks forbid (the first "
            f"is token {broken[0]}, which says {said[broken[0]]}): record them again, or learn without "
            "action_masks"
        )
    return episodes


def require_episodes(episodes: Any, task: Task, agent: Agent) -> None:
    """Look whether what was given besides a dataset's file are episodes of a task, which an agent can read.

    Raises:
        TokenGymError: no episodes, a token that the task has not, a sequence that is too long, an episode in which
            nothing is said, or a reward that is not finite.
    """
    if not isinstance(episodes, Episodes):
        raise TokenGymError(
            f"episodes is {shown(episodes)}; expected Episodes: what `record` or `collect` gives, or the `episodes` of "
            "an EpisodeDataset"
        )
    vocabulary, most = task.vocabulary, min(task.max_length, agent.max_length)
    largest, said = int(episodes.tokens.max(initial=0)), int(episodes.flat.action.max(initial=0))
    if largest >= vocabulary.size or said >= vocabulary.num_actions:
        raise TokenGymError(
            f"the episodes are of another vocabulary: they show token {largest} and say {said}, and {task.name!r} "
            f"has {vocabulary.size}, of which {vocabulary.num_actions} are said: record them on this task"
        )
    longest = int(episodes.lengths.max(initial=0))
    if longest > most:
        raise TokenGymError(
            f"the episodes have up to {longest} tokens, and the context of {task.name!r} and the agent holds {most}: "
            "give the task a larger max_length, or leave the longer ones out (Episodes.select)"
        )
    silent = np.flatnonzero(episodes.episode_lengths < 1)
    if len(silent):
        raise TokenGymError(
            f"in {len(silent)} of {len(episodes)} episodes the agent says nothing (the first is episode {silent[0]}); "
            "expected at least one token in each: leave those out (Episodes.select)"
        )
    require_finite_rewards(episodes)


def fitting(
    dataset: EpisodeDataset, task: Task, agent: Agent, action_masks: bool, overlong: Literal["refuse", "drop"]
) -> EpisodeDataset:
    """Return a dataset that an agent can learn from, after looking whether it is one of a task's.

    With ``overlong`` "drop" episodes that do not fit the context are left out; how many stands in ``about["dropped"]``.

    Raises:
        TokenGymError: another vocabulary, a sequence that is too long, or no action masks where they are asked for, or
            such as forbid what was said.
    """
    dataset.require(task.vocabulary)
    episodes = dataset.episodes
    longest, most = int(episodes.lengths.max(initial=0)), min(task.max_length, agent.max_length)
    if longest > most:
        fits = np.ones(len(episodes), bool)
        fits[episodes.episode_id[episodes.lengths > most]] = False
        left_out = int((~fits).sum())
        if overlong == "refuse" or not fits.any():
            drop = ", or leave them out with overlong='drop'" if fits.any() else "; there are no others"
            raise TokenGymError(
                f"{left_out} of {len(episodes)} episodes of the dataset are longer than {most} tokens (the longest has "
                f"{longest}), which is the context of {task.name!r} and the agent: give the task a larger max_length"
                f"{drop}"
            )
        about = {**dataset.about, "dropped": dataset.about.get("dropped", 0) + left_out}
        dataset = EpisodeDataset(episodes.select(np.flatnonzero(fits)), dataset.vocabulary, about)
        episodes = dataset.episodes
    masked = masked_as_asked(episodes, action_masks)
    if masked is not episodes:
        dataset = EpisodeDataset(masked, dataset.vocabulary, dataset.about)
    return dataset
