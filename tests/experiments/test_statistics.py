"""Aggregates against values computed by hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import mannwhitneyu, trim_mean

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.statistics import (
    bootstrap_curve,
    described,
    interquartile_mean,
    normalised_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
    summarise,
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
    assert interval.spread == "bootstrap"
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
    interval = probability_of_improvement([np.arange(2.0, 6.0)], [np.array([0.0, 1.0, 0.5, 0.7])])
    assert (interval.low, interval.estimate, interval.high) == (1.0, 1.0, 1.0)


def test_a_curve_of_one_run_has_no_band_one_of_three_their_range_and_one_of_four_an_interval():
    curves = np.array([[0.0, 0.5], [1.0, 0.8], [0.2, 0.2], [0.4, 0.5]])
    estimate, low, high = bootstrap_curve(curves[:1])
    assert (estimate.tolist(), low, high) == ([0.0, 0.5], None, None)
    estimate, low, high = bootstrap_curve(curves[:3])
    assert estimate.tolist() == pytest.approx([0.4, 0.5])
    assert (low.tolist(), high.tolist()) == ([0.0, 0.2], [1.0, 0.8])
    estimate, low, high = bootstrap_curve(curves)
    assert estimate.tolist() == pytest.approx([0.3, 0.5])
    assert (curves.min(axis=0) <= low).all() and (high <= curves.max(axis=0)).all()


def test_one_run_is_a_number_two_and_three_have_a_range_and_four_an_interval():
    one, three, four = (summarise(np.array([0.5, 0.2, 0.8, 0.9][:count])) for count in (1, 3, 4))
    assert (one.statistic, one.spread, one.text()) == ("one run", "none", "0.50")
    assert (three.statistic, three.spread, three.text()) == ("mean", "range", "0.50 (0.20 to 0.80)")
    assert (four.statistic, four.spread, four.estimate) == ("interquartile mean", "bootstrap", pytest.approx(0.65))
    assert four.text().startswith("0.65 [")


def test_the_interval_of_the_interquartile_mean_is_scipys():
    runs = np.random.default_rng(2).beta(3, 1, 9)
    interval = summarise(runs)
    found = scipy_bootstrap(
        (runs,), interquartile_mean, method="percentile", n_resamples=20_000, random_state=np.random.default_rng(5)
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((found.low, found.high), abs=0.02)


def test_a_mean_over_few_runs_is_never_called_an_interquartile_mean_and_has_no_interval():
    found = stratified_bootstrap([np.array([0.1, 0.5, 0.9])])
    assert (found.statistic, found.low, found.high, found.text()) == ("mean", None, None, "0.50")


@pytest.mark.parametrize("sizes", [(1,), (3,), (1, 3), (1, 1, 1, 1), (9, 1)])
def test_a_task_of_one_run_or_fewer_than_four_runs_have_no_interval_of_any_kind(sizes):
    scores = [np.linspace(0.2, 0.8, size) for size in sizes]
    more = [np.linspace(0.2, 0.8, 5) for _ in sizes]
    profile = performance_profile(scores, np.array([0.5]))
    found = [
        stratified_bootstrap(scores),
        stratified_bootstrap(scores, optimality_gap),
        probability_of_improvement(scores, more),
        probability_of_improvement(more, scores),
    ]
    assert {(one.low, one.high, one.spread) for one in found} == {(None, None, "none")}
    assert profile.low is None and profile.high is None


def test_what_a_table_says_of_its_cells_names_mean_and_range_interval_or_single_seed():
    assert described([3, 3]) == "Mean of 3 seeds and, in parentheses, their range, which is no confidence interval."
    assert described([12]) == (
        "Interquartile mean over 12 seeds and, in brackets, a 95% percentile bootstrap interval."
    )
    assert "too narrow" in described([5])
    assert described([1, 0]) == "One seed: its score, without an interval."
    mixed = described([4, 5, 3, 1])
    assert "over 4 to 5 seeds" in mixed and "mean of 3 seeds" in mixed and "one seed" in mixed


@pytest.mark.parametrize(("runs", "told"), [(5, 0.89), (10, 0.93)])
def test_the_intervals_of_few_seeds_are_as_narrow_as_the_page_on_the_report_says(runs, told):
    generator = np.random.default_rng(runs)
    held = [
        interval.low <= 0.0 <= interval.high
        for interval in (summarise(generator.normal(size=runs), seed=trial) for trial in range(600))
    ]
    assert np.mean(held) == pytest.approx(told, abs=0.04)
    page = (Path(__file__).parents[2] / "docs" / "guides" / "reading-the-report.md").read_text(encoding="utf-8")
    assert f"{100 * told:.0f} " in page


@pytest.mark.parametrize(
    ("scores", "settings", "message"),
    [
        ([], {}, "at least one task"),
        ([np.array([])], {}, "task 0: scores are empty"),
        ([np.array([np.nan])], {}, "not all finite"),
        ([np.ones(3)], {"resamples": 100}, "resamples is 100; expected a whole number within 2,000"),
        ([np.ones(3)], {"confidence": 95}, "confidence is 95; expected a number above 0 and below 1"),
    ],
)
def test_bad_scores_and_settings_are_named(scores, settings, message):
    with pytest.raises(TokenGymError, match=message):
        stratified_bootstrap(scores, **settings)


def test_an_improvement_over_other_tasks_is_refused():
    with pytest.raises(TokenGymError, match="same tasks, got 1 and 2"):
        probability_of_improvement([np.ones(2)], [np.ones(2), np.ones(2)])


def test_an_interval_never_shows_a_negative_zero():
    assert summarise(np.array([-0.001, -0.002] * 3)).text() == "0.00 [0.00, 0.00]"
    assert summarise(np.array([-0.001, -0.002])).text() == "0.00 (0.00 to 0.00)"
