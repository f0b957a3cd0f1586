"""Frontiers of gold and proxy: when gold has turned over, forms that are known, the grid and the tables."""

from pathlib import Path

import numpy as np
import pytest
from synthetic import make_study

from tokengym.envs import make_task
from tokengym.experiments.report.results import RunResult, StudyResults
from tokengym.experiments.study import find_study, load_study
from tokengym.experiments.suite import over_optimisation
from tokengym.experiments.suite.frontiers import Frontier, fitted_form
from tokengym.experiments.suite.over_optimisation import run_table, walked
from tokengym.experiments.suite.proxy_grid import Cell, decimal, frontiers, grid_table, interval
from tokengym.experiments.suite.proxy_pictures import RUNS, mean_frontier

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
        assert (form.alpha, form.beta, form.error, form.explained) == pytest.approx((2, 0.5, 0, 1), abs=1e-9)
        np.testing.assert_allclose(form.values, 1 + gain, atol=1e-9)
    line = Frontier(KL, KL, np.sqrt(KL), 0.0)
    assert line.spread(4).kl == pytest.approx(KL) and line.spread().gold[-1] == 3.0
    wrong = fitted_form(Frontier(kl, kl, np.where(np.arange(30) % 2, 1.0, -1.0), 0.0), "rl")
    assert wrong.explained < 0.5


def test_runs_are_told_by_their_evaluations():
    spec = make_study(environments=("Copy",), algorithms=("ppo",), seeds=1).runs()[0]
    spec = type(spec)(**{**vars(spec), "environment": "noisy-3"})
    records = [
        {"kl": kl, "columns": {"gold": gold, "proxy": proxy}} for kl, gold, proxy in [(0, 0, 0), (1, 2, 1), (9, 1, 3)]
    ]
    run = RunResult(spec=spec, status="done", curve=tuple(records))
    assert walked(run).turned and walked(run).fall == 0.5
    table = run_table(StudyResults(study=make_study(environments=("Copy",), algorithms=("ppo",), seeds=1), runs=(run,)))
    assert table.splitlines()[-1] == "| noisy | 1 of 1 | 1 of 1 | 9.00 | 2.00 | 1.00 | 3.00 |"


def test_a_cell_s_task_is_the_study_s_environment():
    """What is followed exactly is what the runs were paid, noisy or clean."""
    study = load_study(find_study("over-optimisation"))
    for kind, cell in RUNS.items():
        number = over_optimisation.INSTANCES[0]
        (environment,) = (one for one in study.environments if one.name == f"{kind}-{number}")
        given = dict(environment.kwargs)
        assert given.pop("instance_seed") == number
        quick = (("updates", 20),)
        paid = make_task("GoldProxy-repeats", instance_seed=number, updates=20, **given)
        followed = Cell(cell.labels, cell.flips, settings=quick).task(number)
        np.testing.assert_array_equal(paid.proxy, followed.proxy)
        np.testing.assert_array_equal(paid.gold, followed.gold)


def test_the_grid_s_tables_and_means():
    cell = Cell(50, 0.25, ensemble=True, settings=(("updates", 20),))
    found = frontiers(cell, (0, 1))
    for one in (*found["rl"], *found["best-of-n"]):
        assert (np.diff(one.kl) > -1e-9).all() and one.proxy[0] == pytest.approx(0, abs=0.2)
    assert found["best-of-n"][0].proxy[0] == pytest.approx(0, abs=1e-9)  # the best of one is random play
    rows = grid_table([cell], (0, 1)).splitlines()
    assert len(rows) == 4 and rows[2].startswith("| 50 labels, 25% wrong, updates 20, worst of ten | rl | ")
    assert len({row.count("|") for row in rows}) == 1
    mean = mean_frontier([Frontier(KL, KL, KL, 0.0), Frontier(KL[:3], KL[:3], 0 * KL[:3], 0.0)], points=5)
    assert mean.kl[-1] == 4 and mean.gold[-1] == 2 and mean.proxy[-1] == 4


def test_numbers_are_written_as_tables_do():
    assert [decimal(value) for value in (-0.001, -1.5, 2)] == ["0.00", "−1.50", "2.00"]
    assert interval(np.full(10, 0.25)) == "0.25 [0.25, 0.25]"


def test_the_page_shows_what_the_study_names():
    page = Path(__file__).resolve().parents[2] / "docs" / "studies" / "over-optimisation.md"
    assert "tokengym compare over-optimisation" in page.read_text(encoding="utf-8")
