"""Which pairs are worth a label: any, those on which models disagree, or those of the newest episodes."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...envs import TokenGymError
from ...envs.checking import Count, Seed, checked
from ..data import Episodes, prompt_numbers

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
        at_most: whether to give fewer where there are fewer, and not to refuse.

    Returns:
        Two int64 arrays (count,): the episodes that are shown first and second.

    Raises:
        TokenGymError: there are fewer pairs than asked for, or what a way of choosing needs is missing or not its own.
    """
    random = np.random.default_rng(seed)
    for name, given, needed in (("scores", scores, "disagreement"), ("recent", recent, "recent")):
        if (given is None) == (how == needed):
            raise TokenGymError(
                f"{name} is {'missing' if given is None else 'given'} for how={how!r}; it belongs to how={needed!r}."
            )
    if how == "recent":
        newest = np.arange(max(0, len(episodes) - (recent or 0)), len(episodes))
        pairs = newest[_draw(episodes.select(newest), count, random, at_most)]
    elif how == "random":
        pairs = _draw(episodes, count, random, at_most)
    else:
        members = _checked_scores(scores, len(episodes))
        pool = _draw(episodes, count * _POOL, random, at_most=True)
        if len(pool) < count and not at_most:
            raise _too_few(len(pool), count)
        differences = members[:, pool[:, 0]] - members[:, pool[:, 1]]
        spread = (0.5 * (1 + np.tanh(differences / 2))).std(axis=0)
        pairs = pool[np.argsort(-spread, kind="stable")[:count]]
    return pairs[:, 0], pairs[:, 1]


def choose_groups(episodes: Episodes, count: int, size: int, seed: int = 0) -> np.ndarray:
    """Choose groups of episodes to rank, int64 (count, size): of one prompt, all answers different, each in one group.

    Raises:
        TokenGymError: there are fewer.
    """
    random = np.random.default_rng(seed)
    prompts, answers = prompt_numbers(episodes), _answers(episodes)
    order = random.permutation(len(episodes))
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
    return np.array(groups, np.int64)[random.permutation(len(groups))[:count]]


def _draw(episodes: Episodes, count: int, random: np.random.Generator, at_most: bool) -> np.ndarray:
    """Return int64 (count, 2), pairs of one prompt and different answers, drawn evenly without repeating one."""
    prompts, answers = prompt_numbers(episodes), _answers(episodes)
    sizes, alike = np.bincount(prompts), np.bincount(answers)
    total = int((sizes * (sizes - 1) // 2).sum() - (alike * (alike - 1) // 2).sum())
    if total < count and not at_most:
        raise _too_few(total, count)
    count = min(count, total)
    members = np.argsort(prompts, kind="stable")
    begins = np.cumsum(sizes) - sizes
    found = np.empty((0, 2), np.int64)
    every = total <= _ENUMERATED or 2 * count > total
    if every:
        inside = [np.triu_indices(size, 1) for size in sizes.tolist()]
        places = [np.stack(pair, axis=1) + begin for pair, begin in zip(inside, begins.tolist(), strict=True)]
        found = members[np.concatenate([found, *places])]
        found = found[answers[found[:, 0]] != answers[found[:, 1]]]
    else:
        weights = sizes * (sizes - 1) / 2
        while len(found) < count:
            group = random.choice(len(sizes), size=2 * count, p=weights / weights.sum())
            first = random.integers(sizes[group])
            second = (first + 1 + random.integers(sizes[group] - 1)) % sizes[group]
            drawn = members[begins[group][:, None] + np.sort(np.stack([first, second], axis=1), axis=1)]
            drawn = np.concatenate([found, drawn[answers[drawn[:, 0]] != answers[drawn[:, 1]]]])
            found = drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])]
    chosen = (found[random.permutation(len(found))] if every else found)[:count]
    turned = random.random(len(chosen)) < 0.5  # who is shown first tells nothing
    return np.where(turned[:, None], chosen[:, ::-1], chosen)


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


def _too_few(total: int, count: int) -> TokenGymError:
    return TokenGymError(
        f"There are {total} pairs of different answers to one prompt, and {count} are asked for; collect more episodes "
        "a prompt (group_size), or ask for fewer labels."
    )
