"""Aggregates against values computed by hand."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from tokengym.envs.errors import TokenGymError
from tokengym.experiments.statistics import (
    bootstrap_curve,
    interquartile_mean,
    normalised_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
)


def test_the_normalised_score_is_0_for_random_play_and_1_for_the_optimum():
    assert normalised_score(-13.5, -13.5, -0.5) == 0.0
    assert normalised_score(-0.5, -13.5, -0.5) == 1.0
    assert normalised_score(0.75, 0.5, 1.0) == 0.5


def test_a_score_needs_an_optimum_above_random_play():
    with pytest.raises(TokenGymError, match="above the random return"):
        normalised_score(1.0, 1.0, 1.0)


def test_the_interquartile_mean_drops_the_lowest_and_the_highest_quarter():
    assert interquartile_mean(np.array([100.0, 2.0, 4.0, -50.0])) == 3.0
    assert interquartile_mean(np.arange(8.0)) == 3.5
    assert interquartile_mean(np.array([0.0, 1.0, 5.0])) == 2.0


def test_the_interquartile_mean_equals_scipys_trimmed_mean_for_every_count():
    generator = np.random.default_rng(0)
    for count in range(1, 30):
        scores = generator.normal(size=count)
        assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25), abs=1e-14)


def test_the_optimality_gap_gives_nothing_for_scores_above_one():
    assert optimality_gap(np.array([0.5, 1.0, 3.0])) == pytest.approx(1 - 2.5 / 3)
    assert optimality_gap(np.array([2.0, 7.0])) == 0.0


def test_the_interval_of_a_mean_is_that_of_the_binomial_distribution():
    # Resampling eight runs of which half score 1 gives a Binomial(8, 1/2) / 8 mean; its 2.5% quantile is 1/8.
    scores = [np.array([0.0, 1.0] * 4)]
    interval = stratified_bootstrap(scores, lambda x, axis: x.mean(axis=axis), resamples=20_000)
    assert interval.estimate == 0.5
    assert (interval.low, interval.high) == (0.125, 0.875)


def test_the_bootstrap_resamples_within_tasks_only():
    # Both tasks are constant, so a stratified resample cannot differ from the sample; a pooled one would.
    interval = stratified_bootstrap([np.zeros(5), np.ones(5)], lambda x, axis: x.mean(axis=axis))
    assert (interval.low, interval.estimate, interval.high) == (0.5, 0.5, 0.5)


def test_the_same_seed_gives_the_same_interval_and_leaves_the_global_generator_alone():
    scores = [np.linspace(0, 1, 7), np.linspace(0.3, 0.9, 5)]
    before = np.random.get_state()[1].copy()
    assert stratified_bootstrap(scores, seed=3) == stratified_bootstrap(scores, seed=3)
    assert stratified_bootstrap(scores, seed=3) != stratified_bootstrap(scores, seed=4)
    assert (np.random.get_state()[1] == before).all()


def test_the_profile_is_the_share_of_runs_above_each_threshold_averaged_over_tasks():
    scores = [np.array([0.2, 0.6]), np.array([0.4, 0.6, 0.8, 1.0])]
    profile = performance_profile(scores, np.array([0.0, 0.5, 0.6, 0.9]))
    assert profile.fraction.tolist() == [1.0, (0.5 + 0.75) / 2, (0 + 0.5) / 2, (0 + 0.25) / 2]
    assert (profile.low <= profile.fraction).all() and (profile.fraction <= profile.high).all()
    assert profile.low[0] == profile.high[0] == 1.0


def test_the_probability_of_improvement_counts_pairs_won_and_ties_half():
    # On the first task 3 of 4 pairs are won and one is tied, on the second none is won.
    interval = probability_of_improvement(
        [np.array([1.0, 2.0]), np.array([0.0])], [np.array([0.5, 1.0]), np.array([1.0, 2.0])]
    )
    assert interval.estimate == pytest.approx((3.5 / 4 + 0) / 2)


def test_the_probability_of_improvement_is_the_mann_whitney_statistic():
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 6, 9).astype(float), generator.integers(0, 6, 7).astype(float)
    expected = mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert probability_of_improvement([x], [y]).estimate == pytest.approx(expected, abs=1e-12)
    assert probability_of_improvement([y], [x]).estimate == pytest.approx(1 - expected, abs=1e-12)


def test_the_interval_of_an_improvement_that_is_certain_has_no_width():
    interval = probability_of_improvement([np.array([2.0, 3.0])], [np.array([0.0, 1.0])])
    assert (interval.low, interval.estimate, interval.high) == (1.0, 1.0, 1.0)


def test_curves_of_one_run_have_no_band_and_of_equal_runs_none_either():
    curve = np.array([[0.0, 0.5, 1.0]])
    for curves in (curve, np.repeat(curve, 4, axis=0)):
        estimate, low, high = bootstrap_curve(curves)
        assert estimate.tolist() == low.tolist() == high.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        ([], {}, "at least one task"),
        ([np.array([])], {}, "task 0 has no scores"),
        ([np.array([np.nan])], {}, "not finite"),
        ([np.ones(3)], {"resamples": 100}, "at least 2000, got 100"),
        ([np.ones(3)], {"confidence": 95}, "between 0 and 1, got 95"),
    ],
)
def test_bad_scores_and_settings_are_named(scores, settings, message):
    with pytest.raises(TokenGymError, match=message):
        stratified_bootstrap(scores, **settings)


def test_an_improvement_over_other_tasks_is_refused():
    with pytest.raises(TokenGymError, match="same tasks, got 1 and 2"):
        probability_of_improvement([np.ones(2)], [np.ones(2), np.ones(2)])


def test_an_interval_never_shows_a_negative_zero():
    interval = stratified_bootstrap([np.array([-0.001, -0.002])])
    assert interval.text() == "0.00 [0.00, 0.00]"
