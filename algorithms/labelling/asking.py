"""Asking: comparisons put to whoever labels them, and the dataset of what was answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ...envs import TokenGymError, Vocabulary
from ...envs.checking import Count, Range, Seed, checked
from ..data import Episodes, PreferenceDataset, PreferencePairs, Ranks
from ..parts import derive_seed
from .choosing import How, choose_groups, choose_pairs


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Pairs of episodes that somebody is asked about.

    Attributes:
        episodes: whose they are.
        first, second: int64 (P,), the episodes that are shown first and second.
        gold: float64 (E,), what each episode is really worth, for labellers that are simulated from it.
    """

    episodes: Episodes
    first: np.ndarray
    second: np.ndarray
    gold: np.ndarray

    def __len__(self) -> int:
        """The number of pairs, P."""
        return len(self.first)


@runtime_checkable
class Labeller(Protocol):
    """Whoever says which of two is better: simulated, a person, a language model."""

    def label(self, asked: Comparisons) -> npt.NDArray[np.float64]:
        """Answer comparisons.

        Returns:
            float64 (P,): 1 where the first is better, 0 where the second is, in between how probable it is that the
            first is, NaN where there is no answer.
        """
        ...


@checked
def label_episodes(
    episodes: Episodes,
    vocabulary: Vocabulary,
    labeller: Labeller,
    count: Count,
    how: How = "random",
    seed: Seed = 0,
    scores: npt.ArrayLike | None = None,
    recent: Count | None = None,
    gold: npt.ArrayLike | None = None,
) -> PreferenceDataset:
    """Choose pairs of episodes, ask which is better, and return what was answered.

        labelled = label_episodes(episodes, task.vocabulary, SimulatedLabeller(temperature=0.5), 200)

    Args:
        episodes: any, of one prompt or many.
        vocabulary: whose ids their tokens are.
        labeller: who is asked.
        count: how many pairs.
        how: how they are chosen; see `choose_pairs` for this and the next three.
        seed: of the choice.
        scores: what models give the episodes, for "disagreement".
        recent: how many of the episodes are the newest, for "recent".
        gold: (E,), what each is really worth; None takes their returns.

    Returns:
        The episodes that were compared, and the pairs. An answer between 0 and 1 is both orders of the pair, weighted
        by how probable each is.

    Raises:
        TokenGymError: there are fewer pairs, the labeller's budget does not suffice, or nothing was answered.
    """
    first, second = choose_pairs(episodes, count, how, seed, scores, recent)
    return label_pairs(episodes, vocabulary, labeller, first, second, gold)


def label_pairs(
    episodes: Episodes,
    vocabulary: Vocabulary,
    labeller: Labeller,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    gold: npt.ArrayLike | None = None,
) -> PreferenceDataset:
    """Ask about given pairs of episodes; see `label_episodes`."""
    asked = _comparisons(episodes, first, second, gold)
    return _labelled(asked, _answers(labeller, asked), vocabulary, labeller)


@checked
def label_in_rounds(
    episodes: Episodes,
    vocabulary: Vocabulary,
    labeller: Labeller,
    count: Count,
    rounds: Annotated[int, Range(least=2, most=1000)],
    scores_of: Callable[[PreferenceDataset], npt.ArrayLike],
    seed: Seed = 0,
    gold: npt.ArrayLike | None = None,
) -> PreferenceDataset:
    """Buy labels actively: random pairs first, and in each further round those on which models of the last disagree.

        def ensemble(labelled):
            model = fit_reward_model(labelled, members=4)
            return model.score_members(episodes.tokens, episodes.lengths)

        labelled = label_in_rounds(episodes, task.vocabulary, SimulatedLabeller(), 400, 4, ensemble)

    Args:
        episodes: any, of one prompt or many.
        vocabulary: whose ids their tokens are.
        labeller: who is asked.
        count: how many pairs in all, spread evenly over the rounds.
        rounds: how often pairs are chosen.
        scores_of: from what is labelled so far to what K ≥ 2 models fitted to it give all episodes, (K, E).
        seed: of the choices.
        gold: (E,), what each is really worth; None takes their returns.

    Raises:
        TokenGymError: there are fewer pairs or fewer labels than rounds, or as `label_episodes`.
    """
    if count < rounds:
        raise TokenGymError(f"count is {count} for {rounds} rounds; expected at least one pair a round.")
    asked, answers = np.empty((2, 0), np.int64), np.empty(0)
    for number, part in enumerate(np.diff(np.linspace(0, count, rounds + 1).astype(int)).tolist()):
        scores = None
        if number:
            known = _comparisons(episodes, asked[0], asked[1], gold)
            scores = scores_of(_labelled(known, answers, vocabulary, labeller))
        how = "disagreement" if number else "random"
        pairs = choose_pairs(episodes, part, how, derive_seed(seed, f"round {number}"), scores, without=asked)
        answers = np.append(answers, _answers(labeller, _comparisons(episodes, *pairs, gold)))
        asked = np.concatenate([asked, np.stack(pairs)], axis=1)
    return _labelled(_comparisons(episodes, asked[0], asked[1], gold), answers, vocabulary, labeller)


def _labelled(asked: Comparisons, answers: np.ndarray, vocabulary: Vocabulary, labeller: Labeller) -> PreferenceDataset:
    """Return what was answered to comparisons, with the episodes that were compared."""
    parts = []
    for better, worse, weight in ((asked.first, asked.second, answers), (asked.second, asked.first, 1 - answers)):
        there = weight > 0
        parts.append(PreferencePairs(better[there], worse[there], weight[there]))
    place = np.concatenate([np.flatnonzero(answers > 0), np.flatnonzero(answers < 1)])
    pairs = PreferencePairs.concat(parts)[np.argsort(place, kind="stable")]
    if not len(pairs):
        raise TokenGymError(
            f"None of the {len(asked)} comparisons was answered, so that there is nothing to learn from."
        )
    about = {"labeller": repr(labeller), "labels": int((~np.isnan(answers)).sum())}
    return PreferenceDataset(asked.episodes, vocabulary, pairs, None, about).select(slice(None))


@checked
def rank_episodes(
    episodes: Episodes,
    vocabulary: Vocabulary,
    labeller: Labeller,
    groups: Count,
    size: Annotated[int, Range(least=2, most=64)] = 4,
    seed: Seed = 0,
    gold: npt.ArrayLike | None = None,
) -> PreferenceDataset:
    """Choose groups of episodes of one prompt, ask about all pairs in each, and rank them by how many they win.

    Args:
        episodes: any, of one prompt or many.
        vocabulary: whose ids their tokens are.
        labeller: who is asked.
        groups: how many groups; each costs size · (size − 1) / 2 labels.
        size: episodes a group.
        seed: of the choice.
        gold: (E,), what each is really worth; None takes their returns.

    Raises:
        TokenGymError: there are fewer groups, the labeller's budget does not suffice, or all are tied.
    """
    members = choose_groups(episodes, groups, size, seed)
    one, other = np.triu_indices(size, 1)
    asked = _comparisons(episodes, members[:, one].reshape(-1), members[:, other].reshape(-1), gold)
    answers = np.nan_to_num(_answers(labeller, asked), nan=0.5).reshape(groups, -1)
    wins = np.zeros((groups, size))
    for pair, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        wins[:, a] += answers[:, pair]
        wins[:, b] += 1 - answers[:, pair]
    order = np.argsort(-wins, axis=1, kind="stable")
    ranked = np.take_along_axis(wins, order, axis=1)
    falls = np.diff(ranked, axis=1) < -1e-9
    places = np.concatenate([np.zeros((groups, 1), np.int64), np.cumsum(falls, axis=1)], axis=1)
    kept, place = np.unique(np.take_along_axis(members, order, axis=1), return_inverse=True)
    ranks = Ranks(place.reshape(-1), np.full(groups, size), places.reshape(-1))
    about = {"labeller": repr(labeller), "labels": len(asked)}
    return PreferenceDataset.of_ranks(episodes.select(kept), vocabulary, ranks, about)


def _comparisons(
    episodes: Episodes, first: npt.ArrayLike, second: npt.ArrayLike, gold: npt.ArrayLike | None
) -> Comparisons:
    """Return checked comparisons."""
    PreferencePairs(first, second).check(episodes)
    values = np.asarray(episodes.returns if gold is None else gold, np.float64)
    if values.shape != (len(episodes),) or not np.isfinite(values).all():
        raise TokenGymError(
            f"gold has the shape {values.shape}; expected a finite number for each of {len(episodes)} episodes."
        )
    return Comparisons(episodes, np.asarray(first, np.int64), np.asarray(second, np.int64), values)


def _answers(labeller: Labeller, asked: Comparisons) -> np.ndarray:
    """Return what a labeller answers, checked."""
    answers = np.asarray(labeller.label(asked), np.float64)
    if answers.shape != (len(asked),) or ((answers < 0) | (answers > 1)).any():
        raise TokenGymError(
            f"{labeller!r} gave {str(answers)[:80]} to {len(asked)} comparisons; expected one number a comparison: 1 "
            "for the first, 0 for the second, in between how probable it is, NaN for no answer."
        )
    return answers
