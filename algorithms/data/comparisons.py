"""Datasets of comparisons: episodes, and which of them were preferred to which."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ...envs import TokenGymError, Vocabulary
from ...envs.checking import Range, Seed, checked
from .dataset import EpisodeDataset, header_of, vocabulary_of
from .episode_file import Columns, columns_of, episodes_of, guarded, read_file, write_file
from .episodes import Episodes
from .preferences import PreferencePairs, Ranks, prompts_of

FORMAT = "tokengym preferences 1"

HeldOut = Annotated[float, Range(above=0, most=0.9)]
"""The part of the prompts, or of the pairs, that is held out."""


class PreferenceDataset:
    """Pairs of episodes of which one was preferred, under one vocabulary.

        labelled = label_episodes(episodes, task.vocabulary, SimulatedLabeller(flips=0.1), 500)
        train, held_out = labelled.split(0.1)
        train.save("train.safetensors")

    Args:
        episodes: what was compared; both of a pair answer one prompt, and prompts may differ between pairs.
        vocabulary: whose ids the tokens are.
        pairs: which of them is better than which.
        ranks: the rankings that the pairs come from, or None where there are only pairs.
        about: JSON data that is kept with them, such as where they come from.

    Attributes:
        episodes, vocabulary, pairs, ranks, about: as given.

    Raises:
        TokenGymError: the episodes are of another vocabulary, there is no pair, or a pair answers two prompts.
    """

    @checked
    def __init__(
        self,
        episodes: Episodes,
        vocabulary: Vocabulary,
        pairs: PreferencePairs,
        ranks: Ranks | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.dataset = EpisodeDataset(episodes, vocabulary, about)
        self.pairs = pairs
        self.ranks = ranks
        if not len(pairs):
            raise TokenGymError("There is no pair; expected at least one episode that was preferred to another.")
        pairs.check(episodes)
        if ranks is not None:
            ranks.check(episodes)

    @classmethod
    @checked
    def of_ranks(
        cls, episodes: Episodes, vocabulary: Vocabulary, ranks: Ranks, about: Mapping[str, Any] | None = None
    ) -> PreferenceDataset:
        """Return the dataset of rankings, and of all pairs in them that are not tied, each ranking weighing 1 in all.

        Raises:
            TokenGymError: all are tied, or as the constructor.
        """
        return cls(episodes, vocabulary, ranks.pairs(), ranks, about)

    @property
    def episodes(self) -> Episodes:
        """What was compared."""
        return self.dataset.episodes

    @property
    def vocabulary(self) -> Vocabulary:
        """Whose ids the tokens are."""
        return self.dataset.vocabulary

    @property
    def about(self) -> dict[str, Any]:
        """What is told about it."""
        return self.dataset.about

    @cached_property
    def prompts(self) -> np.ndarray:
        """int64 (E,), the number of each episode's prompt; equal prompts have equal numbers."""
        return prompt_numbers(self.episodes)

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.pairs)

    def __repr__(self) -> str:
        ranked = "" if self.ranks is None else f", {len(self.ranks)} rankings"
        return f"PreferenceDataset({len(self)} pairs of {len(self.episodes)} episodes{ranked}, {self.vocabulary!r})"

    @checked
    def require(self, vocabulary: Vocabulary, name: str = "the dataset") -> None:
        """Raise `TokenGymError`, saying what differs, unless this is the dataset's vocabulary."""
        self.dataset.require(vocabulary, name)

    def select(self, indices: Sequence[int] | np.ndarray | slice) -> PreferenceDataset:
        """Return the dataset of some pairs, in the given order, with their episodes alone and without rankings.

        Args:
            indices: of pairs, int (K,); bool (P,); or a slice.

        Raises:
            TokenGymError: an index lies outside, or none is given.
        """
        try:
            places = np.arange(len(self))[indices]
        except IndexError:
            raise TokenGymError(
                f"Cannot select the pairs {str(indices)[:60]}; expected indices within 0 … {len(self) - 1}."
            ) from None
        if not places.size:
            raise TokenGymError("None of the pairs is selected; expected at least one.")
        return self._part(self.pairs[np.atleast_1d(places)], None)

    @checked
    def split(
        self, held_out: HeldOut = 0.1, seed: Seed = 0, by: Literal["prompt", "pair"] = "prompt"
    ) -> tuple[PreferenceDataset, PreferenceDataset]:
        """Return what to learn from and what is held out.

        By prompt, which prompts are held out depends on hashes of their tokens, not on their order: adding prompts
        moves few of the others. By pair, the two orders of a pair stay together, and the sides share prompts and
        perhaps episodes.

        Args:
            held_out: the part of the prompts, or of the pairs, that is held out; at least one.
            seed: which of the possible splits it is.
            by: what is held out.

        Returns:
            Two datasets; rankings stay where the split is by prompt.

        Raises:
            TokenGymError: there is only one.
        """
        if by == "prompt":
            unit = self.prompts[self.pairs.better]
        else:
            ends = np.stack([self.pairs.better, self.pairs.worse], axis=1)
            unit = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
        units = np.unique(unit)
        if len(units) < 2:
            advice = 'split by="pair", or collect more prompts' if by == "prompt" else "label more pairs"
            raise TokenGymError(f"There is only one {by}, so that none can be held out: {advice}.")
        ranked = self._hash_order(units, seed) if by == "prompt" else np.random.default_rng(seed).permutation(units)
        chosen = ranked[: min(max(1, round(held_out * len(units))), len(units) - 1)]
        away = np.isin(unit, chosen)
        sides = []
        for side in (~away, away):
            ranks = None
            if self.ranks is not None and by == "prompt":
                heads = self.ranks.order[np.cumsum(self.ranks.sizes) - self.ranks.sizes]
                there = np.isin(self.prompts[heads], unit[side])
                ranks = self.ranks[there] if there.any() else None
            sides.append(self._part(self.pairs[side], ranks))
        return sides[0], sides[1]

    @staticmethod
    @checked
    def concat(datasets: Iterable[PreferenceDataset]) -> PreferenceDataset:
        """Join datasets of one vocabulary; what is told about the first stays, and rankings where all have some.

        Raises:
            TokenGymError: none is given, they are of several vocabularies, or only some carry action masks.
        """
        parts = list(datasets)
        joined = EpisodeDataset.concat([part.dataset for part in parts])
        first = np.cumsum([0] + [len(part.episodes) for part in parts])
        pairs = PreferencePairs.concat(
            [
                PreferencePairs(part.pairs.better + by, part.pairs.worse + by, part.pairs.weight, part.pairs.margin)
                for part, by in zip(parts, first.tolist(), strict=False)
            ]
        )
        ranks = [part.ranks for part in parts if part.ranks is not None]
        joined_ranks = None
        if len(ranks) == len(parts):
            joined_ranks = Ranks(
                np.concatenate([rank.order + by for rank, by in zip(ranks, first.tolist(), strict=False)]),
                np.concatenate([rank.sizes for rank in ranks]),
                np.concatenate([rank.places for rank in ranks]),
            )
        return PreferenceDataset(joined.episodes, joined.vocabulary, pairs, joined_ranks, joined.about)

    @checked
    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file, columns and a JSON header; there whole or not at all.

        Raises:
            TokenGymError: the file cannot be written, or ``about`` is no JSON data.
        """
        columns: Columns = columns_of(self.episodes)
        for name in ("better", "worse", "weight", "margin"):
            if (values := getattr(self.pairs, name)) is not None:
                columns[f"pairs/{name}"] = values
        if self.ranks is not None:
            columns |= {f"ranks/{name}": getattr(self.ranks, name) for name in ("order", "sizes", "places")}
        write_file(Path(path), columns, {**header_of(self.vocabulary), "about": self.about}, FORMAT)

    @classmethod
    @checked
    def load(cls, path: str | Path, vocabulary: Vocabulary | None = None) -> PreferenceDataset:
        """Read a dataset back.

        Args:
            path: what `save` wrote.
            vocabulary: that of the task or agent that is to learn from it; None takes the dataset's word.

        Raises:
            BrokenDatasetError: the file is cut short, altered, or no dataset of comparisons.
            TokenGymError: there is none, or it is of another vocabulary.
        """
        path = Path(path)
        columns, header = read_file(path, FORMAT)

        def rebuild() -> PreferenceDataset:
            known = vocabulary_of(header)
            parts: dict[str, Columns] = {"pairs": {}, "ranks": {}, "": {}}
            for name, values in columns.items():
                room, _, rest = name.rpartition("/")
                parts[room if room in parts else ""][rest if room in parts else name] = values
            ranks = Ranks(**parts["ranks"]) if parts["ranks"] else None
            episodes = episodes_of(parts[""], known.num_actions, known.size, known.pad)
            return cls(episodes, known, PreferencePairs(**parts["pairs"]), ranks, header["about"])

        dataset = guarded(path, rebuild)
        if vocabulary is not None:
            dataset.require(vocabulary, str(path))
        return dataset

    def _part(self, pairs: PreferencePairs, ranks: Ranks | None) -> PreferenceDataset:
        """Return the dataset of some pairs and rankings, with the episodes that they name."""
        named = [pairs.better, pairs.worse, *([] if ranks is None else [ranks.order])]
        kept, place = np.unique(np.concatenate(named), return_inverse=True)
        better, worse, order = np.split(place.reshape(-1), [len(pairs), 2 * len(pairs)])
        return PreferenceDataset(
            self.episodes.select(kept),
            self.vocabulary,
            PreferencePairs(better, worse, pairs.weight, pairs.margin),
            None if ranks is None else Ranks(order, ranks.sizes, ranks.places),
            self.about,
        )

    def _hash_order(self, prompts: np.ndarray, seed: int) -> np.ndarray:
        """Return prompts by number, in the order of the hashes of their tokens."""
        tokens, lengths = prompts_of(self.episodes)
        salt = seed.to_bytes(16, "little")
        hashes = []
        for number in prompts.tolist():
            episode = int(np.argmax(self.prompts == number))
            shown = tokens[episode, : lengths[episode]].astype("<i4").tobytes()
            hashes.append(hashlib.blake2b(shown, digest_size=16, salt=salt).digest())
        return prompts[sorted(range(len(hashes)), key=hashes.__getitem__)]


def prompt_numbers(episodes: Episodes) -> np.ndarray:
    """Return int64 (E,), a number for what each episode shows before the agent's first token, equal where that is."""
    tokens, lengths = prompts_of(episodes)
    told = np.concatenate([lengths[:, None], tokens.astype(np.int64)], axis=1)
    return np.unique(told, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
