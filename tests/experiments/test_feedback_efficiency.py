"""Labels bought in rounds: optima at a given KL, equal beginnings, and that buying where the policy goes pays."""

from pathlib import Path

import numpy as np
import pytest

from tokengym.envs.exact import divergence, tilted
from tokengym.experiments.suite.feedback import HOWS, SETTINGS, gold_bought, gold_possible, tilted_at
from tokengym.experiments.suite.feedback_efficiency import gold_table, picture

EVEN = np.full(64, -np.log(64))
QUICK = {"updates": 20}


def test_the_optimum_at_a_kl_is_a_tilted_distribution_of_that_kl():
    scores = np.random.default_rng(0).normal(size=64)
    found = tilted_at(scores, 1.5, EVEN)
    assert divergence(found) == pytest.approx(1.5, abs=1e-9)
    beta = (scores[0] - scores[1]) / np.log(found[0] / found[1])
    np.testing.assert_allclose(found, tilted(scores, beta), atol=1e-9)
    assert tilted_at(scores, 9.0, EVEN).max() == pytest.approx(1)  # log 64 is as far as there is


def test_the_first_round_is_the_same_for_every_way_and_no_model_beats_the_gold_reward():
    setting = SETTINGS[1]
    found = {how: gold_bought(setting, 0, how, (4.0,), labels=(50, 100), **QUICK) for how in HOWS}
    assert len({values[0, 0] for values in found.values()}) == 1
    assert len({values[1, 0] for values in found.values()}) == 3
    assert max(values.max() for values in found.values()) < gold_possible(setting, 0, 4.0)
    again = gold_bought(setting, 0, "online", (4.0,), labels=(50, 100), **QUICK)
    np.testing.assert_array_equal(again, found["online"])


def test_the_table_holds_each_way_against_random_pairs():
    gold = np.zeros((3, 2, 1))
    table = gold_table({"random": gold, "online": gold + np.array([[0.5], [1.0]])}, 0, labels=(50, 1000))
    assert table.splitlines() == [
        "| labels | random | online | online − random |",
        "|--:|--:|--:|--:|",
        "| 50 | 0.00 | 0.50 | 0.50 [0.50, 0.50] |",
        "| 1,000 | 0.00 | 1.00 | 1.00 [1.00, 1.00] |",
    ]
    figure = picture({"one": {how: np.zeros((3, 6, 2)) for how in HOWS}}, {"one": (1.0, 2.0)})
    assert [axis.get_title() for axis in figure.axes] == ["one, KL 4", "one, KL 8"]


def test_the_page_names_the_command():
    page = Path(__file__).resolve().parents[2] / "docs" / "studies" / "feedback-efficiency.md"
    assert "python -m tokengym.experiments.suite.feedback_efficiency" in page.read_text(encoding="utf-8")
