"""Frontiers of gold and proxy: when gold has turned over, forms that are known, and the table of runs."""

from pathlib import Path

import numpy as np
import pytest
from synthetic import make_study

from tokengym.experiments.report.results import RunResult, StudyResults
from tokengym.experiments.suite.frontiers import Frontier, fitted_form
from tokengym.experiments.suite.over_optimisation import run_table, walked

KL = np.array([0.0, 1.0, 4.0, 9.0])


def test_gold_turns_over_where_a_tenth_is_lost_while_the_proxy_climbs():
    risen = Frontier(KL, np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0, 1.7]), 0.0)
    assert risen.turned and risen.fall == pytest.approx(0.15) and (risen.peak, risen.peak_kl) == (2.0, 4.0)
    assert not Frontier(KL, risen.proxy, np.array([0.0, 1.0, 2.0, 1.9]), 0.0).turned
    assert not Frontier(KL, np.array([0.0, 1.0, 3.0, 2.0]), risen.gold, 0.0).turned
    assert Frontier(KL, risen.proxy, np.array([0.0, -1.0, -1.0, -1.0]), 0.0).fall == np.inf
    assert risen.gold_at(4.0) == 2.0 and risen.gold_at(2.25) == pytest.approx(1.5)


def test_known_forms_are_found_again():
    kl = np.linspace(0, 10, 30)
    distance = np.sqrt(kl)
    with np.errstate(divide="ignore", invalid="ignore"):
        rl = np.where(kl > 0, distance * (2 - 0.5 * np.log(distance)), 0.0)
    for way, gain in (("rl", rl), ("best-of-n", distance * (2 - 0.5 * distance))):
        form = fitted_form(Frontier(kl, kl, 1 + gain, 1.0), way)
        assert (form.alpha, form.beta, form.error) == pytest.approx((2, 0.5, 0), abs=1e-9)
        np.testing.assert_allclose(form.values, 1 + gain, atol=1e-9)


def test_runs_are_told_by_their_evaluations():
    spec = make_study(environments=("Copy",), algorithms=("ppo",), seeds=1).runs()[0]
    spec = type(spec)(**{**vars(spec), "environment": "noisy-3"})
    records = [
        {"kl": kl, "columns": {"gold": gold, "proxy": proxy}} for kl, gold, proxy in [(0, 0, 0), (1, 2, 1), (9, 1, 3)]
    ]
    run = RunResult(spec=spec, status="done", curve=tuple(records))
    assert walked(run).turned and walked(run).fall == 0.5
    table = run_table(StudyResults(study=make_study(environments=("Copy",), algorithms=("ppo",), seeds=1), runs=(run,)))
    assert table.splitlines()[-1] == "| noisy | 1 of 1 | 9.00 | 2.00 | 1.00 | 3.00 |"


def test_the_page_shows_what_the_study_names():
    page = Path(__file__).resolve().parents[2] / "docs" / "studies" / "over-optimisation.md"
    assert "tokengym compare over-optimisation" in page.read_text(encoding="utf-8")
