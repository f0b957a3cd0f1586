"""Which pairs are worth a label: any, those on which models disagree, or those of the newest episodes."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...envs import TokenGymError
from ...envs.checking import Count, Seed, checked
from ..data import Episodes, prompt_numbers, ranges

How = Literal["random", "disagreement", "recent"]
"""Any pairs, those on whose order models disagree most, or those of the newest episodes."""

_POOL = 8
"""Among how many times the pairs asked for those of the largest disagreement are looked for."""
_ENUMERATED = 200_000
"""Up to how many pairs are written down and shuffled, in place of being drawn until enough are different."""


@checked
def choose_pairs(
    episodes: Episodes,
    count: Count,
    how: How = "random",
    seed: Seed = 0,
    scores: npt.ArrayLike | None = None,
    recent: Count | None = None,
    without: npt.ArrayLike | None = None,
    at_most: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose pairs of episodes to compare: both answer one prompt, with different tokens, and no pair comes twice.

    Args:
        episodes: whose they are.
        count: how many pairs.
        how: "random" draws them evenly from all there are. "disagreement" takes, of a pool of eight times as many
            random ones, those on which the members of an ensemble differ most: the standard deviation of their
            probabilities that the first is better. "recent" draws from the newest episodes alone.
        seed: of the draws.
        scores: (K, E), what each of K ≥ 2 models gives each episode; for "disagreement".
        recent: how many of the last episodes are the newest; for "recent".
        without: (2, Q), pairs that are not to be asked again, in either order.
        at_most: whether to give fewer where there are fewer, and not to refuse.

    Returns:
        Two int64 arrays (count,): the episodes that are shown first and second.

    Raises:
        TokenGymError: there are fewer pairs than asked for, or what a way of choosing needs is missing or not its own.
    """
    generator = np.random.default_rng(seed)
    for name, given, needed in (("scores", scores, "disagreement"), ("recent", recent, "recent")):
        if (given is None) == (how == needed):
            raise TokenGymError(
                f"{name} is {'missing' if given is None else 'given'} for how={how!r}; it belongs to how={needed!r}."
            )
    known = np.empty((2, 0), np.int64) if without is None else np.asarray(without, np.int64)
    if known.ndim != 2 or len(known) != 2:
        raise TokenGymError(f"without has the shape {known.shape}; expected two rows, the one and the other of a pair.")
    first = max(0, len(episodes) - recent) if recent is not None else 0
    wanted = count * _POOL if how == "disagreement" else count
    pool = _draw(episodes, np.arange(first, len(episodes)), wanted, generator, known)
    if len(pool) < count and not at_most:
        raise TokenGymError(
            f"There are {len(pool)} pairs of different answers to one prompt, and {count} are asked for; collect more "
            "episodes a prompt (group_size), or ask for fewer labels."
        )
    pairs = pool
    if how == "disagreement":
        members = _checked_scores(scores, len(episodes))
        differences = members[:, pool[:, 0]] - members[:, pool[:, 1]]
        spread = (0.5 * (1 + np.tanh(differences / 2))).std(axis=0)
        pairs = pool[np.argsort(-spread, kind="stable")[:count]]
    return pairs[:, 0], pairs[:, 1]


def choose_groups(episodes: Episodes, count: int, size: int, seed: int = 0) -> np.ndarray:
    """Choose groups of episodes to rank, int64 (count, size): of one prompt, all answers different, each in one group.

    Raises:
        TokenGymError: there are fewer.
    """
    generator = np.random.default_rng(seed)
    prompts, answers = prompt_numbers(episodes), _answers(episodes)
    order = generator.permutation(len(episodes))
    order = order[np.argsort(prompts[order], kind="stable")]
    groups: list[list[int]] = []
    for prompt in np.split(order, np.flatnonzero(np.diff(prompts[order])) + 1):
        filling: list[tuple[set[int], list[int]]] = []
        for episode in prompt.tolist():  # into the first group that has no equal answer
            group = next((one for one in filling if int(answers[episode]) not in one[0]), None)
            if group is None:
                filling.append(group := (set(), []))
            group[0].add(int(answers[episode]))
            group[1].append(episode)
            if len(group[1]) == size:
                groups.append(group[1])
                filling.remove(group)
    if len(groups) < count:
        raise TokenGymError(
            f"There are {len(groups)} groups of {size} different answers to one prompt among {len(episodes)} episodes, "
            f"and {count} are asked for; collect more episodes a prompt, or ask for fewer."
        )
    return np.array(groups, np.int64)[generator.permutation(len(groups))[:count]]


def _draw(
    episodes: Episodes, among: np.ndarray, count: int, generator: np.random.Generator, without: np.ndarray
) -> np.ndarray:
    """Return up to int64 (count, 2), pairs of one prompt and different answers, drawn evenly without repeating one.

    Args:
        episodes: whose they are.
        among: the episodes that may be in a pair.
        count: how many pairs, if there are so many.
        generator: of the draws.
        without: (2, Q), pairs that are not given, in either order.
    """
    prompts, answers = prompt_numbers(episodes)[among], _answers(episodes)[among]
    order = np.lexsort((answers, prompts))
    among, prompts, answers = among[order], prompts[order], answers[order]
    # Whatever lies between the end of its equals and that of its prompt, an episode can be compared with.
    begins, ends = np.searchsorted(prompts, prompts), np.searchsorted(prompts, prompts, "right")
    apart = np.append(np.flatnonzero(np.diff(answers)) + 1, len(answers))
    behind = apart[np.searchsorted(apart, np.arange(len(answers)), "right")]
    total = int((ends - behind).sum())
    barred = _keys(np.sort(without.T, axis=1), len(episodes))
    every = total <= _ENUMERATED or 2 * (count + len(barred)) > total
    found = np.empty((0, 2), np.int64)
    if every:
        pairs = np.stack([np.repeat(np.arange(len(among)), ends - behind), ranges(behind, ends - behind)], axis=1)
        found = np.sort(among[pairs], axis=1)
        found = found[~np.isin(_keys(found, len(episodes)), barred)]
        found = found[generator.permutation(len(found))]
    sizes = (ends - begins).astype(np.float64)
    while not every and len(found) < count:
        one = generator.choice(len(among), size=2 * count, p=(sizes - 1) / (sizes - 1).sum())
        other = begins[one] + (one - begins[one] + 1 + generator.integers(ends[one] - begins[one] - 1)) % (
            ends[one] - begins[one]
        )
        drawn = np.sort(among[np.stack([one, other], axis=1)[answers[one] != answers[other]]], axis=1)
        drawn = np.concatenate([found, drawn[~np.isin(_keys(drawn, len(episodes)), barred)]])
        found = drawn[np.sort(np.unique(_keys(drawn, len(episodes)), return_index=True)[1])]
    turned = generator.random(len(found[:count])) < 0.5  # who is shown first tells nothing
    return np.where(turned[:, None], found[:count, ::-1], found[:count])


def _keys(pairs: np.ndarray, num_episodes: int) -> np.ndarray:
    """Return int64 (P,), a number for each pair whose smaller index comes first."""
    return pairs[:, 0] * num_episodes + pairs[:, 1]


def _answers(episodes: Episodes) -> np.ndarray:
    """Return int64 (E,), a number for all that is shown and said in each episode, equal where that is."""
    keys: dict[bytes, int] = {}
    offsets = episodes.sequence_offsets.tolist()
    numbers = []
    for begin, end in pairwise(offsets):
        parts = [episodes.tokens[row, : episodes.lengths[row]].tobytes() for row in range(begin, end)]
        numbers.append(keys.setdefault(repr(parts).encode(), len(keys)))
    return np.array(numbers, np.int64)


def _checked_scores(scores: npt.ArrayLike | None, num_episodes: int) -> np.ndarray:
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or len(values) < 2 or values.shape[1] != num_episodes or not np.isfinite(values).all():
        raise TokenGymError(
            f"scores have the shape {values.shape}; expected finite ones of at least 2 models, (K, {num_episodes})."
        )
    return values
