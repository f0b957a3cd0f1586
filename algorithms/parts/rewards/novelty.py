"""Novelty: how often a token was said in a state before, and what saying it where it was rare is paid."""

from __future__ import annotations

import numpy as np

from ...data import Episodes

Keys = np.ndarray
"""uint64 (N,), one of each of the agent's tokens: equal where the same token was said after the same tokens."""


class VisitCounts:
    """How often the agent said a token in a state, over everything that it learnt from.

    A state is what the agent sees before it speaks: the whole episode, or the observation of its turn. Each pair of a
    state and a token is known by 64 bits, so that a million pairs share one with a chance of 3e-8; the counts are those
    of the pairs that occurred, in two sorted arrays of 8 bytes a pair each.
    """

    def __init__(self) -> None:
        self.keys = np.zeros(0, np.uint64)
        self.counts = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """The number of different pairs of a state and a token."""
        return len(self.keys)

    def add(self, episodes: Episodes) -> None:
        """Count the tokens of freshly collected episodes."""
        keys, counts = np.unique(keys_of(episodes), return_counts=True)
        merged, place = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        totals = np.zeros(len(merged), np.int64)
        np.add.at(totals, place, np.concatenate([self.counts, counts]))
        self.keys, self.counts = merged, totals

    def of(self, episodes: Episodes) -> np.ndarray:
        """Return int64 (N,), how often each of the agent's tokens was said in its state; 0 where it never was."""
        return self._of(keys_of(episodes))

    def after(self, tokens: np.ndarray, lengths: np.ndarray, num_actions: int) -> np.ndarray:
        """Return int64 (m, A), how often each token was said after int32 (m, L) tokens of lengths (m,)."""
        return self._of(keys_after(tokens, lengths, num_actions))

    def _of(self, keys: Keys) -> np.ndarray:
        if not len(self):
            return np.zeros(keys.shape, np.int64)
        place = np.searchsorted(self.keys, keys).clip(max=len(self) - 1)
        return np.where(self.keys[place] == keys, self.counts[place], 0)

    def bonuses(self, episodes: Episodes) -> np.ndarray:
        """Return float64 (N,), 1/√n for a token that was said n times in its state, itself included.

        That is the bonus of Strehl and Littman (2008, MBIE-EB), which Tang et al. (2017) brought to hashed states. A
        token that was never counted is paid as at its first time.
        """
        return 1.0 / np.sqrt(np.maximum(self.of(episodes), 1))

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Return what `load_state_arrays` needs. Keys are kept as int64, which every file format has."""
        return {"keys": self.keys.view(np.int64), "counts": self.counts}

    def load_state_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from saved counts."""
        self.keys = np.ascontiguousarray(arrays["keys"], np.int64).view(np.uint64)
        self.counts = np.asarray(arrays["counts"], np.int64)


def keys_of(episodes: Episodes) -> Keys:
    """Return a key of each of the agent's tokens with everything that it saw before saying it.

    A prefix x₀ … x_t has the sum over i of mix(x_i) · mix(i) modulo 2^64, so that all prefixes of a sequence are one
    running sum.
    """
    return _sums(episodes.tokens)[episodes.flat.row, episodes.flat.column]


def keys_before(episodes: Episodes) -> Keys:
    """Return a key of what was to be seen before each of the agent's tokens, uint64 (N,): equal where it is equal.

    That is the observation and what was said since, in context "turn", and all that was shown and said, in context
    "episode".
    """
    return _sums(episodes.tokens)[episodes.flat.row, episodes.flat.column - 1]


def keys_after(tokens: np.ndarray, lengths: np.ndarray, num_actions: int) -> Keys:
    """Return uint64 (m, A), the key of each action after int32 (m, L) tokens of lengths (m,), at least 1."""
    before = np.take_along_axis(_sums(tokens), lengths[:, None] - 1, axis=1)
    return before + _mixed(np.arange(num_actions, dtype=np.uint64)) * _places(lengths)[:, None]


def _places(places: np.ndarray) -> np.ndarray:
    return _mixed(places.astype(np.uint64)) | np.uint64(1)


def _sums(tokens: np.ndarray) -> np.ndarray:
    """Return uint64 (B, L), the key of every prefix."""
    return np.cumsum(_mixed(tokens.astype(np.uint64)) * _places(np.arange(tokens.shape[1])), axis=1, dtype=np.uint64)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Return 64 well-mixed bits of each number, by the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
