"""What a reward model reads: whole episodes, each as one sequence, and which of its tokens the agent said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...envs import TokenGymError
from ..data import Episodes


@dataclass(frozen=True, eq=False)
class Sequences:
    """Episodes as E right-padded sequences.

    Attributes:
        tokens: int32 (E, L).
        lengths: int64 (E,).
        said: bool (E, L), true where the agent said the token.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    said: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def select(self, index: np.ndarray) -> Sequences:
        """Return some of them, as wide as the longest."""
        lengths = self.lengths[index]
        width = int(lengths.max(initial=1))
        return Sequences(self.tokens[index, :width], lengths, self.said[index, :width])


def sequences_of(episodes: Episodes) -> Sequences:
    """Return each episode as one sequence: all that was shown and said, with the token of the beginning once.

    Where every turn is a sequence of its own (context "turn"), they are put one after the other, as the transform
    `learned_reward` keeps them.
    """
    if episodes.num_sequences == len(episodes):
        lengths = episodes.lengths.astype(np.int64)
        return Sequences(episodes.tokens, lengths, episodes.agent_mask)
    first = np.zeros(episodes.num_sequences, bool)
    first[episodes.sequence_offsets[:-1]] = True
    counts = episodes.lengths - ~first
    lengths = np.bincount(episodes.episode_id, weights=counts, minlength=len(episodes)).astype(np.int64)
    columns = np.arange(episodes.tokens.shape[1])
    taken = (columns < episodes.lengths[:, None]) & (first[:, None] | (columns > 0))
    places = np.arange(int(lengths.max(initial=1))) < lengths[:, None]
    tokens = np.full(places.shape, episodes.pad, np.int32)
    said = np.zeros(places.shape, bool)
    tokens[places], said[places] = episodes.tokens[taken], episodes.agent_mask[taken]
    return Sequences(tokens, lengths, said)


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return lists of ids as int32 (m, L), padded with 0, and their lengths, int64 (m,)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    tokens = np.zeros((len(rows), int(lengths.max(initial=1))), np.int32)
    tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = [token for row in rows for token in row]
    return tokens, lengths


def checked_sequences(tokens: Any, lengths: Any, num_tokens: int, max_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences to be scored as int64 (B, L) and (B,), after a look at shapes and ranges.

    Raises:
        TokenGymError: they do not fit together, or not the model's vocabulary or context.
    """
    ids, counts = np.asarray(tokens), np.asarray(lengths).reshape(-1)
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or counts.shape != ids.shape[:1] or counts.dtype.kind not in "iu":
        raise TokenGymError(
            f"tokens are {ids.dtype} of shape {ids.shape} and lengths {counts.dtype} of shape {counts.shape}; expected "
            "whole numbers (B, L) and (B,)."
        )
    if len(counts) and not (1 <= int(counts.min()) and int(counts.max()) <= ids.shape[1]):
        raise TokenGymError(f"lengths lie within {counts.min()} … {counts.max()}; expected 1 … {ids.shape[1]}.")
    if len(counts) and int(counts.max()) > max_length:
        raise TokenGymError(
            f"a sequence of {int(counts.max())} tokens is longer than the {max_length} that the reward model reads: "
            "fit one on longer sequences, fit_reward_model(…, max_length=…), or shorten the task's context."
        )
    # What stands in the padding does not matter, and may be no id of the model's.
    ids = np.where(np.arange(ids.shape[1]) < counts[:, None], ids, 0).astype(np.int64)
    if ids.size and not (0 <= int(ids.min()) and int(ids.max()) < num_tokens):
        raise TokenGymError(
            f"there is a token outside 0 … {num_tokens - 1}, the reward model's ids: it is for another vocabulary."
        )
    return ids, counts.astype(np.int64)
