"""Every group of episodes that can be drawn, as a multiset with its probability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations_with_replacement

import numpy as np

from ...envs import TokenGymError
from ...envs.checking import Count, Seed, checked


@dataclass(frozen=True, eq=False)
class Groups:
    """Draws of independent episodes from one start, those that differ in their order alone being one.

    Attributes:
        members: int64 (M, G), numbers of episodes, ascending in a row where all are listed.
        probabilities: float64 (M,), theirs, or the weights of what was drawn; they sum to 1.
        strata: int64 (M,), of drawn groups: the number of the first episode; None where all are listed.
    """

    members: np.ndarray
    probabilities: np.ndarray
    strata: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.members)


def number_of_groups(episodes: int, size: int) -> int:
    """How many multisets of a size there are; 16 episodes have 3,876 of 4."""
    return math.comb(episodes + size - 1, size)


@checked
def all_groups(
    probabilities: np.ndarray, size: Count, starts: np.ndarray | None = None, *, max_groups: Count = 2_000_000
) -> Groups:
    """List every group of a size, in closed form: the multinomial's weights.

    Args:
        probabilities: float64 (E,) of all episodes, which sum to 1.
        size: how many episodes are in a group.
        starts: (E,), how each episode begins; a group's episodes begin alike. None: all alike.
        max_groups: the most to list.

    Raises:
        TokenGymError: there are more than ``max_groups``.
    """
    probabilities = np.asarray(probabilities, np.float64)
    begins = np.zeros(len(probabilities)) if starts is None else np.asarray(starts)
    listed = [np.flatnonzero((begins == start) & (probabilities > 0)) for start in np.unique(begins)]
    count = sum(number_of_groups(len(episodes), size) for episodes in listed)
    if count > max_groups:
        fits = size
        while fits > 1 and sum(number_of_groups(len(episodes), fits) for episodes in listed) > max_groups:
            fits -= 1
        raise TokenGymError(
            f"{len(probabilities)} episodes have {count:,} groups of {size}, more than {max_groups:,}: take groups of "
            f"{fits} or a smaller task."
        )
    parts = [_of_one_start(episodes, probabilities, size) for episodes in listed if len(episodes)]
    return Groups(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


@checked
def drawn_groups(probabilities: np.ndarray, size: Count, draws: Count, seed: Seed = 0) -> Groups:
    """Draw groups where there are too many to list: each episode is the first of its own share of them.

    Args:
        probabilities: float64 (E,) of all episodes, all of which begin alike; they sum to 1.
        size: G.
        draws: about how many groups; each episode that can occur is the first of at least two.
        seed: of the other members.
    """
    probabilities = np.asarray(probabilities, np.float64)
    possible = np.flatnonzero(probabilities > 0)
    counts = np.maximum(2, np.round(draws * probabilities[possible]).astype(np.int64))
    first = np.repeat(possible, counts)
    random = np.random.default_rng(seed)
    others = random.choice(len(probabilities), (len(first), size - 1), p=probabilities / probabilities.sum())
    weights = np.repeat(probabilities[possible] / counts, counts)
    return Groups(np.column_stack([first, others]), weights / weights.sum(), first)


def _of_one_start(episodes: np.ndarray, probabilities: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    chosen, orders = _multisets(len(episodes), size)
    begun = probabilities[episodes].sum()
    each = (probabilities[episodes] / begun)[chosen].prod(axis=1)
    return episodes[chosen], begun * orders * each


@lru_cache(maxsize=16)
def _multisets(kinds: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All multisets, int64 (M, size), and in how many orders each can be drawn, float64 (M,)."""
    count = number_of_groups(kinds, size)
    chosen = np.fromiter(
        chain.from_iterable(combinations_with_replacement(range(kinds), size)), np.int64, count * size
    ).reshape(count, size)
    # The product of the factorials of how often each occurs: along a sorted row, of the places in each run of equals.
    place, repeats = np.ones(count), np.ones(count)
    for column in range(1, size):
        place = np.where(chosen[:, column] == chosen[:, column - 1], place + 1, 1.0)
        repeats *= place
    return chosen, math.factorial(size) / repeats
