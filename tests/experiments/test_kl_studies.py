"""The study on KL control: what its tables say of runs, where variances turn, and how a learner is steered."""

from pathlib import Path

import numpy as np
import pytest
from synthetic import make_study

from tokengym.envs.tasks.diagnostics import KLTree
from tokengym.experiments.report.results import RunResult, StudyResults, kl_ends
from tokengym.experiments.study import find_study, load_study
from tokengym.experiments.suite.kl_fixed_points import RESTS, TREES, Estimates, estimate_table, estimates, turns
from tokengym.experiments.suite.kl_steering import Steered, fixed_weight, instance, options, steer, steering_table


def test_the_packaged_study_runs_what_the_tables_are_of():
    study = load_study(find_study("kl-fixed-points"))
    assert [one.name for one in study.environments] == list(TREES)
    assert {one.name for one in study.algorithms} == set(RESTS)


def test_a_run_ends_where_its_last_evaluation_is():
    study = make_study(environments=("Copy",), algorithms=("ppo",), seeds=2)
    curve = ({"expected_return": 0.0, "kl": 0.0}, {"expected_return": 0.5, "kl": 1.5})
    done, missing = study.runs()
    runs = (RunResult(spec=done, status="done", curve=curve), RunResult(spec=missing, status="missing"))
    assert kl_ends(StudyResults(study=study, runs=runs), "Copy", "ppo").tolist() == [[0.5, 1.5]]


def test_k1_and_k3_have_no_bias_at_any_distance_and_k3_varies_more_far_out():
    found = estimates(KLTree(3, 3), np.array([0.1, 1.0, 3.0]), range(2))
    exact, k1, k2, k3 = range(4)
    assert np.abs(found.bias[[exact, k1, k3]]).max() < 1e-9 and (found.bias[k2, 1:] < -0.01).all()
    assert (found.deviation[k3, 0] < found.deviation[k1, 0]).all()
    assert (found.deviation[k3, 2] > found.deviation[k1, 2]).all()
    assert (found.deviation[exact] < found.deviation[[k1, k3]]).all()
    assert ((found.kl[0] < found.turn(k3, k1)) & (found.turn(k3, k1) < found.kl[2])).all()
    assert "k3 of the token varies more than k1 of the token from a KL of" in turns(found)
    assert estimate_table(found).splitlines()[3].startswith("| k1 of the token | 0, ")


def test_where_one_overtakes_another_is_found_between_the_points_and_never_is_nan():
    deviation = np.ones((6, 2, 2))
    deviation[3] = [[np.exp(-1), 1.0], [np.exp(1), 0.5]]
    found = Estimates(np.array([[1.0, 1.0], [4.0, 4.0]]), np.zeros((6, 2, 2)), deviation)
    assert found.turn(3, 1) == pytest.approx([2.0, np.nan], nan_ok=True)


def test_the_fixed_weight_has_its_optimum_near_the_target_on_an_instance_nobody_looked_at():
    assert instance(50).tilted(fixed_weight(2)).kl == pytest.approx(2.0, rel=0.4)
    assert fixed_weight(1) > fixed_weight(2) and options("none", 0.0) == {}


def test_a_budget_ends_a_run_and_what_is_told_is_held():
    found = steer(1000, "budget", 0.3, tokens=9_000)
    assert found.tokens[-1] < 9_000 and 0.2 < found.kl[-1] < 1.5
    assert len(found.kl) == len(found.tokens) == len(found.gold)
    held = Steered(np.array([0.0, 6000.0]), np.array([0.0, 2.0]), np.zeros(2)).held(np.array([0.0, 2.0]))
    assert held[0] == 0 and held[12] == pytest.approx(1.0) and (held[24:] == 2).all()


def test_the_table_says_how_far_from_the_target_runs_ended():
    ends = [Steered(np.array([0.0, 900.0]), np.array([0.0, kl]), np.array([0.0, 1.0])) for kl in (0.5, 1.5)]
    table = steering_table({("fixed", 1.0): ends, ("none", 0.0): ends}).splitlines()
    assert table[2] == "|  | none | 900 | 1.00 [0.50, 1.50] |  | 1.00 [0.50, 1.50] | 1.00 [1.00, 1.00] |"
    assert table[3].startswith("| 1 | fixed | 900 | 1.00 [0.50, 1.50] | 0.50 [0.50, 0.50] |")


def test_the_page_names_its_commands():
    page = (Path(__file__).resolve().parents[2] / "docs" / "studies" / "kl-control.md").read_text(encoding="utf-8")
    for command in ("tokengym compare kl-fixed-points", "python -m tokengym.experiments.suite.kl_control"):
        assert command in page
