"""Differences from outside references, against numbers worked out by hand."""

import numpy as np
import pytest
from synthetic import make_study, write_run

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.report.differences import (
    TOGETHER,
    counterparts,
    difference_table,
    differences,
    equal_seconds,
    score_after,
)
from tokengym.experiments.report.results import RunResult, StudyResults
from tokengym.experiments.statistics import mean_difference


def results_of(scores, seconds=None, environments=("Copy", "Lattice")):
    """Results with ``scores[label][environment]``; each run is evaluated at 0, half and all of its seconds."""
    study = make_study(environments=environments, algorithms=tuple(scores), seeds=4)
    runs = []
    for spec in study.runs():
        score = scores[spec.label][spec.environment][spec.seed]
        if score is None:
            runs.append(RunResult(spec=spec, status="failed", error="no"))
            continue
        whole = None if seconds is None else seconds[spec.label]
        times = (None,) * 3 if whole is None else (0.0, whole / 2, whole)
        curve = tuple({"tokens": at, "score": at * score} for at in (0.0, 0.5, 1.0))
        runs.append(RunResult(spec=spec, status="done", score=score, curve=curve, seconds=times))
    return StudyResults(study, tuple(runs))


ONE = {"Copy": [0.8, 0.8, 1.0, 1.0], "Lattice": [0.5, 0.5, 0.5, 0.5]}
OTHER = {"Copy": [0.4, 0.4, 0.6, 0.6], "Lattice": [0.6, 0.6, 0.6, 0.6]}


class TestMeanDifference:
    def test_equal_scores_differ_by_nothing_for_certain(self):
        interval = mean_difference([np.full(5, 0.7)], [np.full(5, 0.7)])
        assert (interval.estimate, interval.low, interval.high) == (0.0, 0.0, 0.0)

    def test_every_task_counts_the_same_however_many_runs_it_has(self):
        interval = mean_difference([np.ones(2), np.zeros(8)], [np.zeros(4), np.zeros(4)])
        assert interval.estimate == pytest.approx(0.5)
        assert interval.low == interval.high == pytest.approx(0.5)

    def test_the_interval_is_that_of_two_independent_means(self):
        # Standard error of each mean: .3/√25 = .06 (population); of the difference .06·√2, times 1.96: .166.
        runs = np.tile([0.0, 0.6], 50)[:100] + 0.2
        interval = mean_difference([runs[:25]], [runs[:25] - 0.2], resamples=20_000)
        deviation = runs[:25].std() / 5 * np.sqrt(2)
        assert interval.estimate == pytest.approx(0.2)
        assert interval.low == pytest.approx(0.2 - 1.96 * deviation, abs=0.01)
        assert interval.high == pytest.approx(0.2 + 1.96 * deviation, abs=0.01)

    def test_one_run_says_nothing_about_its_spread(self):
        interval = mean_difference([np.array([0.9])], [np.zeros(9)])
        assert (interval.estimate, interval.low, interval.high) == (0.9, None, None)

    def test_other_tasks_are_refused(self):
        with pytest.raises(TokenGymError, match="got 1 and 2 tasks"):
            mean_difference([np.zeros(4)], [np.zeros(4)] * 2)


class TestStudy:
    def test_a_counterpart_is_the_same_algorithm_of_the_reference(self):
        study = make_study(algorithms=("ppo", "a2c", "sb3-ppo"))
        assert counterparts(StudyResults(study, ())) == [("ppo", "sb3-ppo")]

    def test_differences_at_equal_tokens_and_their_mean_over_environments(self):
        copy, lattice, together = differences(results_of({"ppo": ONE, "sb3-ppo": OTHER}))
        assert copy.by_tokens.estimate == pytest.approx(0.4)
        # Eight coins worth .05 each lie between .2 and .6; of all tosses 1/256 show none and 9/256 at most one.
        assert copy.by_tokens.low == pytest.approx(0.25) and copy.by_tokens.high == pytest.approx(0.55)
        assert lattice.by_tokens.low == lattice.by_tokens.high == pytest.approx(-0.1)
        assert together.environment == TOGETHER and together.by_tokens.estimate == pytest.approx(0.15)
        assert copy.by_seconds is None and copy.seconds is None and together.by_seconds is None

    @pytest.mark.parametrize(
        ("ours", "theirs", "expected"), [(10.0, 10.0, 0.4), (10.0, 15.0, 0.65), (30.0, 10.0, -0.5)]
    )
    def test_at_equal_seconds_the_slower_one_counts_with_its_last_evaluation(self, ours, theirs, expected):
        copy = differences(results_of({"ppo": ONE, "sb3-ppo": OTHER}, {"ppo": ours, "sb3-ppo": theirs}))[0]
        assert copy.seconds == min(ours, theirs)
        assert copy.by_seconds.estimate == pytest.approx(expected)

    def test_a_run_that_had_ended_counts_with_its_final_score(self):
        run = results_of({"ppo": ONE}, {"ppo": 10.0}).runs[0]
        assert [score_after(run, time) for time in (0.0, 4.9, 5.0, 9.9, 10.0, 99.0)] == [0.0, 0.0, 0.4, 0.4, 0.8, 0.8]

    def test_seconds_that_were_not_recorded_are_not_made_up(self):
        timed = results_of({"ppo": ONE}, {"ppo": 10.0}).runs[:4]
        untimed = results_of({"ppo": ONE}).runs[:4]
        assert equal_seconds(timed, untimed) is None and score_after(untimed[0], 5.0) is None

    def test_an_environment_without_a_finished_run_leaves_no_mean(self):
        lost = {**ONE, "Lattice": [None] * 4}
        copy, lattice, together = differences(results_of({"ppo": lost, "sb3-ppo": OTHER}))
        assert copy.by_tokens is not None and lattice.by_tokens is None and together.by_tokens is None

    def test_the_table_says_it_and_is_left_out_where_there_is_no_pair(self):
        table = difference_table(results_of({"ppo": ONE, "sb3-ppo": OTHER}, {"ppo": 10.0, "sb3-ppo": 15.0}))
        assert [cell.text for cell in table.rows[0]][:3] == ["ppo − sb3-ppo", "Copy", "0.40 [0.25, 0.55]"]
        assert [row[4].text for row in table.rows] == ["10.0", "10.0", ""]
        assert difference_table(results_of({"ppo": ONE, "a2c": OTHER})) is None


def test_the_report_shows_the_differences(tmp_path):
    from tokengym.experiments.report.page import write_report
    from tokengym.experiments.report.results import collect

    study = make_study(environments=("Copy",), algorithms=("ppo", "sb3-ppo"))
    for spec in study.runs():
        write_run(tmp_path, spec)
    files = write_report(collect(study, tmp_path), tmp_path, command="tokengym compare x")
    assert "ppo − sb3-ppo" in files.html.read_text(encoding="utf-8")
    assert "Against the outside references" in files.table.read_text(encoding="utf-8")
