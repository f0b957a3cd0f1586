"""What was preferred to what: pairs and ranks, as indices over a dataset's episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...envs import TokenGymError
from .episodes import Episodes
from .ring import ranges


class PreferencePairs:
    """Pairs of episodes of which one is better; `check` holds that the two of a pair answer one prompt.

    Args:
        better: int (P,), the index of the better episode.
        worse: int (P,), that of the worse.
        weight: (P,), how much a pair counts, above 0; None for 1 each.
        margin: (P,), by how much the better one is better, at least 0, for losses that ask; None where nobody said.

    Attributes:
        better, worse: as given, int64.
        weight: float64 (P,).
        margin: float64 (P,), or None.

    Raises:
        TokenGymError: they do not fit together, an episode is paired with itself, a weight is not above 0, or a margin
            is below.
    """

    def __init__(
        self,
        better: npt.ArrayLike,
        worse: npt.ArrayLike,
        weight: npt.ArrayLike | None = None,
        margin: npt.ArrayLike | None = None,
    ) -> None:
        self.better, self.worse = _indices("better", better), _indices("worse", worse)
        if self.better.shape != self.worse.shape:
            raise TokenGymError(
                f"better has {len(self.better)} indices and worse {len(self.worse)}; expected one of each a pair."
            )
        if (self.better == self.worse).any():
            place = int(np.flatnonzero(self.better == self.worse)[0])
            raise TokenGymError(f"Pair {place} is episode {int(self.better[place])} twice; expected two episodes.")
        self.weight = self._numbers("weight", np.ones(len(self.better)) if weight is None else weight)
        if not (self.weight > 0).all():
            raise TokenGymError(
                "Weights of pairs must be finite numbers above 0; leave a pair out that is not to count."
            )
        self.margin = None if margin is None else self._numbers("margin", margin)
        if self.margin is not None and not (self.margin >= 0).all():
            raise TokenGymError("Margins of pairs must be finite numbers of at least 0: by how much the better is so.")

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.better)

    def __getitem__(self, index: Any) -> PreferencePairs:
        """Some of the pairs, by a slice or an array."""
        margin = None if self.margin is None else self.margin[index]
        return PreferencePairs(self.better[index], self.worse[index], self.weight[index], margin)

    @staticmethod
    def concat(parts: Sequence[PreferencePairs]) -> PreferencePairs:
        """Join pairs over the same episodes; margins stay where all parts have some."""
        none = np.empty(0, np.int64)
        margins = [part.margin for part in parts if part.margin is not None]
        return PreferencePairs(
            np.concatenate([none, *(part.better for part in parts)]),
            np.concatenate([none, *(part.worse for part in parts)]),
            np.concatenate([np.empty(0), *(part.weight for part in parts)]),
            np.concatenate(margins) if margins and len(margins) == len(parts) else None,
        )

    def _numbers(self, name: str, given: npt.ArrayLike) -> np.ndarray:
        """Return float64 (P,), one a pair; what is not finite, in float32 too, is NaN, which no comparison passes."""
        values = np.asarray(given)
        if values.shape != self.better.shape or (values.size and values.dtype.kind not in "iuf"):
            raise TokenGymError(f"{name} is {values.dtype} of shape {values.shape}; expected a number a pair.")
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(np.float32))
        return np.where(finite, values, np.nan).astype(np.float64)

    def check(self, episodes: Episodes) -> None:
        """Raise `TokenGymError` unless all indices are episodes', and the two of each pair begin alike.

        Up to the first token of the agent's they must be equal, so that what differs is the agent's; prompts may differ
        from pair to pair.
        """
        check_indices(np.concatenate([self.better, self.worse]), episodes)
        tokens, lengths = prompts_of(episodes)
        wrong = (lengths[self.better] != lengths[self.worse]) | (tokens[self.better] != tokens[self.worse]).any(axis=1)
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise TokenGymError(
                f"The episodes {int(self.better[place])} and {int(self.worse[place])} of pair {place} answer different "
                "prompts; expected pairs that are equal up to the agent's first token."
            )


class Ranks:
    """Groups of episodes that answer one prompt, each from the best to the worst.

    Args:
        order: int (K,), indices of episodes, group after group.
        sizes: int (G,), how many of them each group has, at least 2.
        places: int (K,), the place of each, from 0 within a group and not falling; equal ones are tied. None where
            none are.

    Attributes:
        order, sizes, places: as given, int64.

    Raises:
        TokenGymError: they do not fit together, or an episode stands twice in a group.
    """

    def __init__(self, order: npt.ArrayLike, sizes: npt.ArrayLike, places: npt.ArrayLike | None = None) -> None:
        self.order, self.sizes = _indices("order", order), _indices("sizes", sizes)
        if (self.sizes < 2).any() or self.sizes.sum() != len(self.order):
            raise TokenGymError(
                f"sizes add up to {int(self.sizes.sum())} for {len(self.order)} indices in order; expected groups of "
                "at least 2 that cover it."
            )
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        begins = np.cumsum(self.sizes) - self.sizes
        untied = np.arange(len(self.order)) - begins[group]
        self.places = untied if places is None else _indices("places", places)
        fits = self.places.shape == self.order.shape
        if not fits or self.places[begins].any() or (np.diff(self.places)[np.diff(group) == 0] < 0).any():
            raise TokenGymError("places must begin with 0 in each group and not fall within it, one an episode.")
        if len(np.unique(np.stack([group, self.order]), axis=1).T) < len(self.order):
            raise TokenGymError("An episode stands twice in one group; expected each once.")

    def __len__(self) -> int:
        """The number of groups, G."""
        return len(self.sizes)

    def __getitem__(self, index: Any) -> Ranks:
        """Some of the groups, by a slice or an array."""
        groups = np.arange(len(self))[index]
        members = ranges(np.cumsum(self.sizes)[groups] - self.sizes[groups], self.sizes[groups])
        return Ranks(self.order[members], self.sizes[groups], self.places[members])

    @classmethod
    def by_return(cls, episodes: Episodes) -> Ranks:
        """Rank the episodes of each group of equal starts by their returns; equal returns are tied.

        Raises:
            TokenGymError: no start is shared.
        """
        _, group, counts = np.unique(episodes.starts, return_inverse=True, return_counts=True)
        shared = counts[group] > 1
        if not shared.any():
            raise TokenGymError("No two episodes share a start; collect groups (group_size) to rank within.")
        order = np.lexsort((-episodes.returns, group))
        order = order[shared[order]]
        begins = np.concatenate([[True], np.diff(group[order]) != 0])
        lower = np.cumsum(begins | (np.diff(episodes.returns[order], prepend=np.inf) < 0))
        sizes = counts[counts > 1]
        return cls(order, sizes, lower - np.repeat(lower[begins], sizes))

    def pairs(self) -> PreferencePairs:
        """Return all pairs (better, worse) within groups that are not tied, each group weighing 1 in all."""
        ends = np.cumsum(self.sizes)
        better, worse, weight = [], [], []
        for end, size in zip(ends.tolist(), self.sizes.tolist(), strict=True):
            first, second = np.triu_indices(size, 1)
            members, places = self.order[end - size : end], self.places[end - size : end]
            untied = places[first] < places[second]
            first, second = first[untied], second[untied]
            better.append(members[first])
            worse.append(members[second])
            weight.append(np.full(len(first), 1 / max(len(first), 1)))
        none = np.empty(0, np.int64)
        return PreferencePairs(
            np.concatenate([none, *better]), np.concatenate([none, *worse]), np.concatenate([none, *weight])
        )

    def check(self, episodes: Episodes) -> None:
        """Raise `TokenGymError` unless all indices are episodes', and those of a group answer one prompt."""
        if len(self):
            first = np.repeat(self.order[np.cumsum(self.sizes) - self.sizes], self.sizes)
            others = first != self.order
            PreferencePairs(first[others], self.order[others]).check(episodes)


def prompts_of(episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """Return int32 (E, L) what each episode shows before the agent's first token, padded, and int64 (E,) its length.

    Where the agent says nothing in an episode, all of its first sequence counts.
    """
    first = episodes.sequence_offsets[:-1]
    said = episodes.agent_mask[first]
    lengths = np.where(said.any(axis=1), said.argmax(axis=1), episodes.lengths[first]).astype(np.int64)
    inside = np.arange(episodes.tokens.shape[1]) < lengths[:, None]
    return np.where(inside, episodes.tokens[first], episodes.pad), lengths


def check_indices(indices: np.ndarray, episodes: Episodes) -> None:
    """Raise `TokenGymError` where an index is no episode's."""
    wrong = indices[indices >= len(episodes)]
    if len(wrong):
        raise TokenGymError(f"There is no episode {int(wrong[0])}; expected indices within 0 … {len(episodes) - 1}.")


def _indices(name: str, given: Any) -> np.ndarray:
    """Return int64 (K,) of at least 0."""
    values = np.asarray(given)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise TokenGymError(f"{name} is {values.dtype} of shape {values.shape}; expected a list of integers.")
    if values.size and int(values.min()) < 0:
        raise TokenGymError(f"{name} has the negative index {int(values.min())}; expected at least 0.")
    return values.astype(np.int64)
