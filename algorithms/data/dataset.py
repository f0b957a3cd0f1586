"""Datasets of episodes: recorded once, kept in one file, read in batches as often as needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...envs import TokenGymError, Vocabulary
from ...envs.checking import Count, Seed, checked
from .episode_file import columns_of, episodes_of, guarded, read_file, write_file
from .episodes import Episodes


class EpisodeDataset:
    """Whole episodes under one vocabulary.

        dataset = EpisodeDataset(algorithm.collect(), algorithm.task.vocabulary, about={"env": "tokengym/Copy-v0"})
        dataset.save("copy.safetensors")
        good = EpisodeDataset.load("copy.safetensors", algorithm.task.vocabulary).filter(lambda e: e.returns > 0)

    Args:
        episodes: the episodes.
        vocabulary: whose ids the tokens are.
        about: JSON data that is kept with them, such as where they come from.

    Attributes:
        episodes, vocabulary, about: as given.
    """

    @checked
    def __init__(self, episodes: Episodes, vocabulary: Vocabulary, about: Mapping[str, Any] | None = None) -> None:
        self.episodes = episodes
        self.vocabulary = vocabulary
        self.about = dict(about or {})
        shown = episodes.tokens[np.arange(episodes.tokens.shape[1]) < episodes.lengths[:, None]]
        _check_ids("a token", shown, vocabulary.size)
        _check_ids("a token of the agent's", episodes.flat.action, vocabulary.num_actions)
        for masks in (episodes.action_masks, episodes.final_action_masks):
            if masks is not None and masks.num_actions != vocabulary.num_actions:
                raise TokenGymError(
                    f"The action masks are over {masks.num_actions} tokens; the vocabulary's agent says "
                    f"{vocabulary.num_actions}."
                )

    def __len__(self) -> int:
        """The number of episodes."""
        return len(self.episodes)

    def __repr__(self) -> str:
        return f"EpisodeDataset({len(self)} episodes, {self.episodes.num_tokens} tokens, {self.vocabulary!r})"

    @checked
    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file, columns and a JSON header; there whole or not at all.

        Raises:
            TokenGymError: the file cannot be written, or ``about`` is no JSON data.
        """
        write_file(
            Path(path),
            columns_of(self.episodes),
            {**header_of(self.vocabulary), "about": self.about},
        )

    @classmethod
    @checked
    def load(cls, path: str | Path, vocabulary: Vocabulary | None = None) -> EpisodeDataset:
        """Read a dataset back.

        Args:
            path: what `save` wrote.
            vocabulary: that of the task or agent that is to learn from it; None takes the dataset's word.

        Raises:
            BrokenDatasetError: the file is cut short, altered, or no dataset.
            TokenGymError: there is none, or it is of another vocabulary.
        """
        path = Path(path)
        columns, header = read_file(path)

        def rebuild() -> EpisodeDataset:
            known = vocabulary_of(header)
            return cls(episodes_of(columns, known.num_actions, known.size, known.pad), known, header["about"])

        dataset = guarded(path, rebuild)
        if vocabulary is not None:
            dataset.require(vocabulary, str(path))
        return dataset

    @checked
    def require(self, vocabulary: Vocabulary, name: str = "the dataset") -> None:
        """Raise `TokenGymError`, saying what differs, unless this is the dataset's vocabulary."""
        if fingerprint(vocabulary) != fingerprint(self.vocabulary):
            raise TokenGymError(
                f"{name} is of another vocabulary: {_difference(self.vocabulary, vocabulary)}. Learn from it with the "
                "task or tokenizer that it was recorded with, or record a dataset with this one."
            )

    @checked
    def select(self, indices: Sequence[int] | np.ndarray) -> EpisodeDataset:
        """Return the dataset of some episodes, in the given order; an index may occur more than once."""
        return EpisodeDataset(self.episodes.select(indices), self.vocabulary, self.about)

    @checked
    def filter(self, keep: Callable[[Episodes], Any] | np.ndarray) -> EpisodeDataset:
        """Return the dataset of the episodes to keep.

        Args:
            keep: bool (E,), or what returns it for the episodes: ``lambda episodes: episodes.returns > 0``.

        Raises:
            TokenGymError: it is of another shape or type, or no episode is left.
        """
        chosen = np.asarray(keep(self.episodes) if callable(keep) else keep)
        if chosen.dtype != bool or chosen.shape != (len(self),):
            raise TokenGymError(
                f"keep gives {chosen.dtype} of shape {chosen.shape}; expected bool ({len(self)},), one an episode."
            )
        if not chosen.any():
            raise TokenGymError(f"None of the {len(self)} episodes is kept; a dataset needs at least one.")
        return self.select(np.flatnonzero(chosen))

    @staticmethod
    @checked
    def concat(datasets: Iterable[EpisodeDataset]) -> EpisodeDataset:
        """Join datasets of one vocabulary; what is told about the first stays.

        Raises:
            TokenGymError: none is given, they are of several vocabularies, or only some carry action masks.
        """
        parts = list(datasets)
        if not parts:
            raise TokenGymError("Cannot join an empty list of datasets; give at least one.")
        for place, part in enumerate(parts[1:], 2):
            part.require(parts[0].vocabulary, f"dataset {place} of {len(parts)}")
        return EpisodeDataset(Episodes.concat([part.episodes for part in parts]), parts[0].vocabulary, parts[0].about)


class EpisodeOrder:
    """In which order a dataset's episodes are drawn: shuffled anew in every pass, each once a pass.

    Draws are keyed by seed and pass, so that the number of episodes drawn is all that a checkpoint must hold.

    Args:
        num_episodes: how many episodes there are.
        seed: of the shuffles.

    Attributes:
        drawn: how many have been drawn; set it to go on from there.
    """

    @checked
    def __init__(self, num_episodes: Count, seed: Seed = 0) -> None:
        self.num_episodes = num_episodes
        self.seed = seed
        self.drawn = 0

    @checked
    def next(self, count: Count) -> np.ndarray:
        """Draw the next ``count`` episodes, int64 (count,); a batch at the end of a pass goes on into the next."""
        places = self.drawn + np.arange(count)
        self.drawn += count
        passes = places // self.num_episodes
        drawn = np.empty(count, np.int64)
        for number in np.unique(passes).tolist():
            here = passes == number
            drawn[here] = self._order(number)[places[here] % self.num_episodes]
        return drawn

    def _order(self, number: int) -> np.ndarray:
        return np.random.default_rng([self.seed, number]).permutation(self.num_episodes)


def header_of(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what the header of a file says of the vocabulary; `vocabulary_of` reads it."""
    return {"vocabulary": asdict(vocabulary), "fingerprint": fingerprint(vocabulary)}


def vocabulary_of(header: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that a file's header holds.

    Raises:
        ValueError: it is not the one that the file was written with.
    """
    known = Vocabulary(**header["vocabulary"])
    if header["fingerprint"] != fingerprint(known):
        raise ValueError("its vocabulary is not the one that it was written with")
    return known


def fingerprint(vocabulary: Vocabulary) -> str:
    """Return a hash of all that ids mean under a vocabulary: names, who may say them, and the special ones."""
    told = [list(vocabulary.tokens), vocabulary.num_actions, vocabulary.bos, vocabulary.pad, vocabulary.eos]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _check_ids(what: str, ids: np.ndarray, size: int) -> None:
    if len(ids) and not (0 <= int(ids.min()) and int(ids.max()) < size):
        raise TokenGymError(
            f"The episodes have {what} outside 0 … {size - 1}: give the vocabulary under which they were played."
        )


def _difference(theirs: Vocabulary, ours: Vocabulary) -> str:
    """Say the first thing in which a dataset's vocabulary differs from what is asked of it."""
    if theirs.size != ours.size:
        return f"it has {theirs.size} tokens, not {ours.size}"
    for place, (its, wanted) in enumerate(zip(theirs.tokens, ours.tokens, strict=True)):
        if its != wanted:
            return f"its token {place} is {its!r}, not {wanted!r}"
    for name in ("num_actions", "bos", "pad", "eos"):
        if getattr(theirs, name) != getattr(ours, name):
            return f"its {name} is {getattr(theirs, name)}, not {getattr(ours, name)}"
    return "they differ"
