"""The study on who reaches the KL-regularised optimum: what it runs, and what its table and picture say of runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tokengym.experiments.report.results import RunResult, StudyResults
from tokengym.experiments.student import told as told_of
from tokengym.experiments.study import find_study, load_study
from tokengym.experiments.zoo import kl_optimum
from tokengym.experiments.zoo.kl_optimum import ELSEWHERE, LIMITS, picture, regrets, rest, table

STUDY = load_study(find_study("kl-optimum"))
TREE = STUDY.environments[1]


def results(ends):
    """A study whose finished runs ended at (return, KL) by environment and algorithm."""
    runs = []
    for spec in STUDY.runs():
        end = ends.get((spec.environment, spec.label))
        curve = () if end is None else ({"expected_return": end[0], "kl": end[1]},)
        runs.append(RunResult(spec=spec, status="missing" if end is None else "done", curve=curve))
    return StudyResults(study=STUDY, runs=tuple(runs))


def test_the_packaged_study_runs_what_the_table_is_of_on_seeds_that_nothing_was_tuned_on():
    assert [one.name for one in STUDY.environments] == list(LIMITS)
    assert set(ELSEWHERE) < {one.name for one in STUDY.algorithms}
    assert STUDY.seeds == (0, 1, 2, 3, 4)
    claims = {one.name for one in STUDY.algorithms} - set(ELSEWHERE)
    assert claims >= {"ppo", "a2c", "reinforce", "rloo", "sequence-k2", "sac", "dqn"}
    assert claims >= {"trajectory-balance", "gvpo", "path-consistency", "tbrm", "apo"}


def test_the_reference_has_a_regret_of_1_and_the_optimum_of_0():
    told = results({("one-leaf", "tbrm"): (1 / 256, 0.0), ("one-leaf", "apo"): (0.3676, 1.385)})
    assert regrets(told, TREE, "tbrm").tolist() == pytest.approx([1.0] * 5)
    assert np.abs(regrets(told, TREE, "apo")).max() < 5e-3  # of the digits given


def test_theory_names_the_ends_of_those_that_end_elsewhere():
    assert rest(TREE, "tbrm") == 0.0 and rest(TREE, "online-dpo-sure") is None
    assert rest(TREE, "token-k2") == pytest.approx(1.649, abs=1e-3)
    assert rest(TREE, "token-k3") == pytest.approx(0.557, abs=1e-3)
    assert rest(TREE, "grpo") == pytest.approx(1.109, abs=1e-3)


def test_the_table_counts_who_reached_it_and_the_picture_is_drawn(monkeypatch):
    told = results({("one-leaf", "apo"): (0.3676, 1.385), ("one-leaf", "token-k2"): (0.91, 4.8)})
    # The two trees alone, and few points of the frontier: listing the texts of the third takes a while.
    algorithms = tuple(replace(one, overrides={}) for one in STUDY.algorithms)
    told = replace(told, study=replace(STUDY, environments=STUDY.environments[:2], algorithms=algorithms))
    monkeypatch.setattr(kl_optimum, "BETAS", np.array([1.0, 0.1]))
    lines = {line.split(" | ")[0]: line for line in table(told).splitlines()}
    assert lines["| apo"].endswith(" | 5 of 5 |") and "| 1.649 | " in lines["| token-k2"]
    assert lines["| token-k2"].count("0 of 5") == 1 and "0 of 0" in lines["| tbrm"]
    assert [axis.get_title() for axis in picture(told).axes][1] == "KLTree, one text of 256 pays, β = 0.2"
    assert told_of([1.0]) == "1.000" and told_of([1.0, 1.0]) == "1.000 ± 0.000" and told_of([]) == ""


def test_the_page_names_its_commands():
    page = (Path(__file__).resolve().parents[2] / "docs" / "studies" / "kl-optimum.md").read_text(encoding="utf-8")
    for command in ("tokengym compare kl-optimum", "python -m tokengym.experiments.zoo.kl_optimum results/kl-optimum"):
        assert command in page
