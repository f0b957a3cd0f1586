"""What part of a gain is length: known splits, exact optima at a KL, remedies, and how learners are followed."""

from pathlib import Path

import numpy as np
import pytest

from tokengym.envs import TokenGymError
from tokengym.envs.exact import divergence, evaluate_policy
from tokengym.experiments.audit import all_episodes
from tokengym.experiments.suite.length_bias import chosen_penalty, run_table
from tokengym.experiments.suite.length_rewards import (
    at_kl,
    balanced_pairs,
    biased,
    penalised,
    regressed_out,
    text_probabilities,
)
from tokengym.experiments.suite.length_runs import Point, between, compared, paid, walk
from tokengym.experiments.suite.length_split import length_divergence, split_gain

LENGTHS = np.array([1, 1, 2, 2])
EVEN = np.log(np.full(4, 0.25))


def waving(tokens, lengths):
    """A policy that looks at the last token and the length."""
    last = tokens[np.arange(len(tokens)), lengths - 1]
    said = np.exp(np.stack([np.sin(1.0 + action + lengths + last * (action + 2)) for action in range(4)], axis=1))
    return said / said.sum(axis=1, keepdims=True)


def test_a_change_of_lengths_alone_gains_by_length_alone():
    split = split_gain([0.0, 2.0, 4.0, 6.0], LENGTHS, np.array([0.1, 0.1, 0.4, 0.4]), EVEN)
    assert (split.at_equal_lengths, split.by_length, split.by_both) == pytest.approx((0.0, 1.2, 0.0), abs=1e-12)


def test_better_texts_at_the_same_lengths_gain_at_equal_lengths():
    split = split_gain([0.0, 2.0, 4.0, 6.0], LENGTHS, np.array([0.0, 0.5, 0.0, 0.5]), EVEN)
    assert (split.at_equal_lengths, split.by_length, split.by_both) == pytest.approx((1.0, 0.0, 0.0), abs=1e-12)


def test_the_parts_sum_to_the_gain_and_the_divergences_to_the_divergence():
    task = biased(1000)
    texts, said = task.texts, at_kl(task.proxy, 2.0, task.texts.log_random)
    assert split_gain(task.proxy, texts.lengths, said, texts.log_random).gain == pytest.approx(
        said @ task.proxy, abs=1e-9
    )
    of_length, chance = np.bincount(texts.lengths, said), np.exp(texts.log_random)
    within = np.log(said / of_length[texts.lengths]) - np.log(
        chance / np.bincount(texts.lengths, chance)[texts.lengths]
    )
    own = length_divergence(texts.lengths, said, texts.log_random)
    assert own > 0.5 and own + said @ within == pytest.approx(2.0, abs=1e-9)


def test_the_optimum_at_a_kl_lies_there_and_beyond_the_favourite_text_there_is_none():
    task = biased(1000)
    reference = task.texts.log_random
    found = at_kl(task.proxy, 1.0, reference)
    assert divergence(found, reference) == pytest.approx(1.0, abs=1e-9)
    odds = np.log(found) - reference - task.proxy / np.polyfit(np.log(found) - reference, task.proxy, 1)[0]
    assert np.ptp(odds) < 1e-6  # a tilt of the reference by the reward
    with pytest.raises(TokenGymError, match="favourite text lies nearer"):
        at_kl(task.proxy, 100.0, reference)


def test_probabilities_of_texts_are_those_of_the_exact_evaluation():
    task = biased(1000)
    said, exact = text_probabilities(task, waving), evaluate_policy(task, waving)
    assert said.sum() == pytest.approx(1.0, abs=1e-12)
    assert said @ task.gold == pytest.approx(exact.columns["gold"], abs=1e-12)
    assert divergence(said, task.texts.log_random) == pytest.approx(exact.kl, abs=1e-12)


def test_what_is_regressed_out_is_flat_in_length_and_balanced_pairs_are_of_equal_length():
    task = biased(1000)
    places = np.concatenate(task.compared)
    lengths = task.texts.lengths
    assert np.polyfit(lengths[places], task.proxy[places], 1)[0] > 0.1
    assert np.polyfit(lengths[places], regressed_out(1000)[places], 1)[0] == pytest.approx(0.0, abs=1e-9)
    better, worse = balanced_pairs(1000)
    assert len(better) == 1000 and (lengths[better] == lengths[worse]).all() and (better != worse).all()
    assert (task.gold[better] > task.gold[worse]).mean() > 0.7


def test_a_penalty_is_chosen_where_gold_is_highest_and_costs_what_the_option_costs():
    assert chosen_penalty([1000, 1001]) in (0.3, 0.4, 0.5)
    task = biased(1000)
    off = task.proxy - penalised(1000, 0.25)
    episodes, _ = all_episodes(task)
    assert sorted(off) == pytest.approx(sorted(0.25 * episodes.episode_lengths))


def test_a_task_may_pay_another_reward_and_comparisons_are_of_the_texts_that_were_named():
    task, other = biased(1000), regressed_out(1000)
    assert evaluate_policy(paid(task, other), waving).expected_return == pytest.approx(
        text_probabilities(task, waving) @ other, abs=1e-9
    )
    assert evaluate_policy(task, waving).columns["proxy"] == pytest.approx(
        text_probabilities(task, waving) @ task.proxy
    )
    data = compared(task, np.array([5, 400]), np.array([2000, 7]))
    assert data.episodes.returns[data.pairs.better] == pytest.approx(task.proxy[[5, 400]])
    assert data.episodes.returns[data.pairs.worse] == pytest.approx(task.proxy[[2000, 7]])


def test_a_learner_is_followed_until_it_has_come_so_far_and_repeats_itself():
    there = walk(1000, "SimPO", 0.2, 0.0, seed=100)
    assert (
        there is not None and there.kl == 0.2 and there.words > 2 and there == walk(1000, "SimPO", 0.2, 0.0, seed=100)
    )


def test_between_two_points_is_linear_in_the_root_of_the_kl():
    near, far = Point(1.0, 0.0, 1.0, 0.0, 0.0, 2.0), Point(4.0, 1.0, 3.0, 2.0, 0.0, 6.0)
    assert between(near, far, 2.25) == Point(2.25, 0.5, 2.0, 1.0, 0.0, 4.0)


def test_runs_that_never_came_so_far_are_counted_and_left_out_of_means():
    plain, better = Point(2.0, 1.0, 1.0, 2.0, 1.0, 7.0), Point(2.0, 1.0, 1.5, 2.0, 1.0, 5.0)
    table = run_table({"none": [plain, plain], "penalty": [better, None], "DPO": [None, None]}).splitlines()
    assert table[2].startswith("| PPO, none | 2 of 2 | 1.00 [1.00, 1.00] |  | 7.00 |")
    assert table[3].startswith("| PPO, penalty | 1 of 2 | 1.50 [1.50, 1.50] | 0.50 [0.50, 0.50] | 5.00 |")
    assert table[4].startswith("| DPO | 0 of 2 | ")


def test_the_page_names_its_command():
    page = Path(__file__).resolve().parents[2] / "docs" / "studies" / "length-bias.md"
    assert "python -m tokengym.experiments.suite.length_bias" in page.read_text(encoding="utf-8")
