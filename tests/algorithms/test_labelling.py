"""Simulated labellers, which pairs they are asked about, and what comes of their answers."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tokengym.algorithms import PPO
from tokengym.algorithms.configs import LabelConfig
from tokengym.algorithms.data import Encoded, episodes_from, prompt_numbers
from tokengym.algorithms.labelling import (
    Labeller,
    SimulatedLabeller,
    choose_pairs,
    label_episodes,
    label_in_rounds,
    label_pairs,
    rank_episodes,
)
from tokengym.envs import TokenGymError, Vocabulary

VOCABULARY = Vocabulary.of([f"t{number}" for number in range(9)])


def answers(golds, prompt=(), lengths=None):
    """Episodes of one prompt whose answers are different, with given gold rewards and numbers of tokens."""
    lengths = [2] * len(golds) if lengths is None else lengths
    shown = [VOCABULARY.bos, *prompt]
    rows = []
    for number, length in enumerate(lengths):
        told = [number % 9, number // 9 % 9, *[0] * (length - 2)]
        rows.append(Encoded([*shown, *told], [False] * len(shown) + [True] * len(told)))
    return episodes_from(rows, VOCABULARY.pad, golds)


def drawn(labeller, count=4000, **compared):
    told = {"gold_first": 1.0, "gold_second": 0.0} | compared
    return int(labeller.draw(**{name: np.full(count, value) for name, value in told.items()}).sum())


@pytest.mark.parametrize(
    ("labeller", "compared", "expected"),
    [
        (SimulatedLabeller(), {}, 1 / (1 + np.exp(-1))),
        (SimulatedLabeller(temperature=0.5), {}, 1 / (1 + np.exp(-2))),
        (SimulatedLabeller(flips=0.25), {}, 0.25 + 0.5 / (1 + np.exp(-1))),
        (SimulatedLabeller(temperature=0.0, flips=0.1), {}, 0.9),
        (SimulatedLabeller(temperature=0.0), {"gold_second": 1.0}, 0.5),
        (SimulatedLabeller(length_preference=-0.5), {"length_difference": 4}, 1 / (1 + np.exp(1))),
    ],
    ids=["plain", "cooler", "flips", "never wrong but for flips", "a coin", "short is better"],
)
def test_answers_come_with_the_probability_that_bradley_and_terry_give(labeller, compared, expected):
    told = {"gold_first": 1.0, "gold_second": 0.0} | compared
    assert labeller.probabilities(**told) == pytest.approx(expected, abs=1e-12)
    assert binomtest(drawn(labeller, **compared), 4000, expected).pvalue > 1e-4


def test_the_two_orders_of_a_question_have_probabilities_that_sum_to_one():
    random = np.random.default_rng(0)
    first, second, longer = random.normal(size=(3, 100))
    labeller = SimulatedLabeller(0.7, 0.2, 0.3)
    swapped = labeller.probabilities(second, first, -longer)
    assert labeller.probabilities(first, second, longer) + swapped == pytest.approx(np.ones(100), abs=1e-12)


def test_a_budget_is_spent_and_not_exceeded():
    labeller = SimulatedLabeller.of(LabelConfig(labels=5, label_flips=0.1, label_temperature=2.0), seed=3)
    assert (labeller.flips, labeller.temperature, labeller.budget, labeller.seed) == (0.1, 2.0, 5, 3)
    labeller.draw(np.zeros(3), np.ones(3))
    assert (labeller.spent, labeller.left) == (3, 2)
    with pytest.raises(TokenGymError, match="3 comparisons are asked of a labeller who answers 2 more of 5"):
        labeller.draw(np.zeros(3), np.ones(3))
    assert labeller.left == 2
    for wrong in ({"budget": 0}, {"flips": 0.6}, {"temperature": -1.0}):
        with pytest.raises(TokenGymError, match=next(iter(wrong))):
            SimulatedLabeller(**wrong)
    with pytest.raises(TokenGymError, match="labels"):
        LabelConfig(labels=0)


def test_a_labeller_goes_on_from_its_state():
    labeller, other = SimulatedLabeller(seed=1), SimulatedLabeller(seed=2)
    labeller.draw(np.zeros(10), np.zeros(10))
    other.load_state(labeller.state())
    asked = np.zeros(50), np.zeros(50)
    assert np.array_equal(labeller.draw(*asked), other.draw(*asked)) and other.spent == 60


def test_pairs_are_of_one_prompt_and_of_different_answers_and_come_once():
    algorithm = PPO("Copy", "table", seed=0, num_rows=8, group_size=6, rollout_tokens=200)
    episodes = algorithm.collect()
    first, second = choose_pairs(episodes, 100, seed=1)
    prompts = prompt_numbers(episodes)
    assert (prompts[first] == prompts[second]).all()
    assert (episodes.tokens[first] != episodes.tokens[second]).any(axis=1).all()
    assert len({frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}) == 100
    assert np.array_equal(choose_pairs(episodes, 100, seed=1)[0], first)
    assert not np.array_equal(choose_pairs(episodes, 100, seed=2)[0], first)


@pytest.mark.parametrize("limit", [0, 10**9], ids=["drawn", "enumerated"])
def test_random_pairs_are_drawn_evenly(limit, monkeypatch):
    monkeypatch.setattr("tokengym.algorithms.labelling.choosing._ENUMERATED", limit)
    episodes = answers(np.zeros(6))
    counts = np.zeros((6, 6))
    for seed in range(1500):
        first, second = choose_pairs(episodes, 2, seed=seed)
        counts[first, second] += 1
    assert counts.trace() == 0
    away = counts[~np.eye(6, dtype=bool)]
    assert ((away - 100) ** 2 / 100).sum() < 58.3  # the .999 quantile of χ² with 29 degrees of freedom


def test_there_are_as_many_pairs_as_there_are():
    episodes = answers([0.0, 1.0, 2.0])
    assert len(choose_pairs(episodes, 3)[0]) == 3
    with pytest.raises(
        TokenGymError, match="There are 3 pairs of different answers to one prompt, and 4 are asked for"
    ):
        choose_pairs(episodes, 4)
    assert len(choose_pairs(episodes, 4, at_most=True)[0]) == 3
    alike = episodes.select([0, 0, 0])
    with pytest.raises(TokenGymError, match="There are 0 pairs"):
        choose_pairs(alike, 1)


def test_models_disagree_most_on_the_pairs_that_are_chosen_by_disagreement():
    random = np.random.default_rng(0)
    episodes, scores = answers(np.zeros(12)), random.normal(size=(4, 12))
    first, second = choose_pairs(episodes, 8, "disagreement", scores=scores)
    every = [(a, b) for a in range(12) for b in range(a)]
    spread = {(a, b): (1 / (1 + np.exp(scores[:, b] - scores[:, a]))).std() for a, b in every}
    best = sorted(every, key=lambda pair: -spread[pair])[:8]
    assert {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)} == set(map(frozenset, best))


@pytest.mark.parametrize("limit", [0, 10**9], ids=["drawn", "enumerated"])
def test_what_was_asked_is_not_asked_again(limit, monkeypatch):
    monkeypatch.setattr("tokengym.algorithms.labelling.choosing._ENUMERATED", limit)
    episodes = answers(np.zeros(9)).select([0, 1, 2, 3, 4, 5, 6, 7, 8, 8])
    known = np.empty((2, 0), np.int64)
    for count in (5, 20, 19):
        pairs = choose_pairs(episodes, count, seed=count, without=known)
        known = np.concatenate([known, np.stack(pairs)], axis=1)
    assert len({frozenset(pair) for pair in known.T.tolist()}) == 44  # all but the two that answer alike
    with pytest.raises(TokenGymError, match="There are 0 pairs"):
        choose_pairs(episodes, 1, without=known[::-1])
    with pytest.raises(TokenGymError, match="expected two rows"):
        choose_pairs(episodes, 1, without=known.T)


def test_labels_are_bought_in_rounds_where_models_disagree():
    golds = np.random.default_rng(0).normal(size=40)
    episodes = answers(golds)
    seen = []

    def ensemble(labelled):
        seen.append(len(labelled))
        return np.stack([golds, np.where(golds > 0.8, -golds, golds)])  # at odds about the best alone

    labeller = SimulatedLabeller(temperature=0.0, budget=61)
    labelled = label_in_rounds(episodes, VOCABULARY, labeller, 61, 3, ensemble, seed=4)
    assert seen == [20, 40] and len(labelled) == labelled.about["labels"] == 61 and labeller.left == 0
    returns, pairs = labelled.episodes.returns, labelled.pairs
    assert (returns[pairs.better] > returns[pairs.worse]).all()
    best = np.maximum(returns[pairs.better], returns[pairs.worse]) > 0.8
    assert best[20:].mean() == 1.0 > best[:20].mean()
    with pytest.raises(TokenGymError, match="count is 2 for 3 rounds"):
        label_in_rounds(episodes, VOCABULARY, SimulatedLabeller(), 2, 3, ensemble)


def test_recent_pairs_are_of_the_last_episodes():
    first, second = choose_pairs(answers(np.zeros(12)), 5, "recent", recent=4)
    assert min(first.min(), second.min()) >= 8


def test_what_a_way_of_choosing_needs_is_asked_for_and_what_it_does_not_is_refused():
    episodes = answers(np.zeros(4))
    for given, message in (
        ({"how": "disagreement"}, "scores is missing"),
        ({"how": "recent"}, "recent is missing"),
        ({"recent": 2}, "recent is given for how='random'"),
        ({"how": "disagreement", "scores": np.zeros((1, 4))}, "at least 2 models"),
        ({"how": "disagreement", "scores": np.full((2, 4), np.nan)}, "finite"),
        ({"how": "newest"}, "newest"),
    ):
        with pytest.raises(TokenGymError, match=message):
            choose_pairs(episodes, 2, **given)


def test_a_labeller_who_is_never_wrong_prefers_what_is_worth_more():
    golds = np.random.default_rng(0).normal(size=20)
    labelled = label_episodes(answers(golds), VOCABULARY, SimulatedLabeller(temperature=0.0), 60)
    returns = labelled.episodes.returns
    assert len(labelled) == 60 and (returns[labelled.pairs.better] > returns[labelled.pairs.worse]).all()
    assert labelled.about["labels"] == 60 and "SimulatedLabeller" in labelled.about["labeller"]
    upside_down = label_episodes(answers(golds), VOCABULARY, SimulatedLabeller(temperature=0.0), 60, gold=-golds)
    returns = upside_down.episodes.returns
    assert (returns[upside_down.pairs.better] < returns[upside_down.pairs.worse]).all()


def test_a_preference_for_length_counts_the_agents_tokens():
    episodes = answers([1.0, 0.0], lengths=[2, 5])
    long = label_episodes(episodes, VOCABULARY, SimulatedLabeller(0.0, length_preference=0.5), 1)
    assert long.episodes.episode_lengths[long.pairs.better].tolist() == [5]
    short = label_episodes(episodes, VOCABULARY, SimulatedLabeller(0.0, length_preference=0.2), 1)
    assert short.episodes.episode_lengths[short.pairs.better].tolist() == [2]


def test_soft_answers_are_both_orders_weighted_by_their_probabilities():
    episodes = answers([0.0, 1.0, 3.0])
    labeller = SimulatedLabeller(flips=0.1, soft=True)
    labelled = label_pairs(episodes, VOCABULARY, labeller, [0, 2], [1, 0])
    told = {
        (float(labelled.episodes.returns[b]), float(labelled.episodes.returns[w])): float(weight)
        for b, w, weight in zip(labelled.pairs.better, labelled.pairs.worse, labelled.pairs.weight, strict=True)
    }
    for (better, worse), weight in told.items():
        assert weight == pytest.approx(float(labeller.probabilities(better, worse)), rel=1e-12)
    assert set(told) == {(0, 1), (1, 0), (3, 0), (0, 3)} and labeller.spent == 2


class Reluctant:
    """Answers nothing about every other pair."""

    def label(self, asked):
        given = np.full(len(asked), np.nan)
        given[::2] = 1.0
        return given


class Mute:
    """Gives what it is told to give."""

    def __init__(self, given):
        self.given = given

    def label(self, asked):
        return self.given


def test_what_was_not_answered_is_left_out():
    labelled = label_pairs(answers([0.0, 1.0, 2.0]), VOCABULARY, Reluctant(), [0, 1, 2], [1, 2, 0])
    assert isinstance(Reluctant(), Labeller)
    assert labelled.episodes.returns[labelled.pairs.better].tolist() == [0, 2]
    assert labelled.about["labels"] == 2
    with pytest.raises(TokenGymError, match="None of the 1 comparisons was answered"):
        label_pairs(answers([0.0, 1.0]), VOCABULARY, Mute([np.nan]), [0], [1])


@pytest.mark.parametrize("given", [[2.0], [-0.5], [1.0, 0.0], []])
def test_answers_that_are_none_are_refused(given):
    with pytest.raises(TokenGymError, match="expected one number a comparison"):
        label_pairs(answers([0.0, 1.0]), VOCABULARY, Mute(given), [0], [1])


def test_rankings_put_the_best_first_and_cost_all_their_pairs():
    golds = np.random.default_rng(1).normal(size=30)
    labeller = SimulatedLabeller(temperature=0.0, budget=30)
    ranked = rank_episodes(answers(golds), VOCABULARY, labeller, groups=5, size=4)
    assert labeller.left == 0 and ranked.about["labels"] == 30
    returns = ranked.episodes.returns[ranked.ranks.order].reshape(5, 4)
    assert (np.diff(returns, axis=1) < 0).all() and len(ranked) == 30
    assert len(np.unique(ranked.ranks.order)) == 20
    with pytest.raises(TokenGymError, match="answers 0 more of 30"):
        rank_episodes(answers(golds), VOCABULARY, labeller, groups=1)


def test_a_ranking_ties_those_that_win_equally_often():
    class Circle:
        """Prefers each to the next, and the last to the first, but for one that loses to all."""

        def label(self, asked):
            ones, others = (asked.episodes.returns[ends].astype(int) for ends in (asked.first, asked.second))
            wins = [(b == 3) or (a != 3 and (b - a) % 3 == 1) for a, b in zip(ones, others, strict=True)]
            return np.array(wins, float)

    ranked = rank_episodes(answers([0.0, 1.0, 2.0, 3.0]), VOCABULARY, Circle(), groups=1)
    assert ranked.ranks.places.tolist() == [0, 0, 0, 1]
    assert ranked.episodes.returns[ranked.ranks.order[-1]] == 3


def test_groups_to_rank_are_of_different_answers():
    episodes = answers([0.0, 1.0, 2.0]).select([0, 0, 0, 0, 1, 1, 2])
    ranked = rank_episodes(episodes, VOCABULARY, SimulatedLabeller(0.0), groups=1, size=3)
    assert sorted(ranked.episodes.returns[ranked.ranks.order].tolist()) == [0, 1, 2]
    with pytest.raises(TokenGymError, match="There are 1 groups of 3 different answers"):
        rank_episodes(episodes, VOCABULARY, SimulatedLabeller(0.0), groups=2, size=3)
    for size in (1, 65):
        with pytest.raises(TokenGymError, match="size"):
            rank_episodes(episodes, VOCABULARY, SimulatedLabeller(0.0), groups=1, size=size)
