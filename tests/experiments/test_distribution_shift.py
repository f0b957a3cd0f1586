"""How often scores order pairs as the truth does, by listing all pairs; policies at a KL; what a learner writes."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tokengym.agents.policies import policy_of
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.tasks.learned import ProxyTask
from tokengym.experiments.audit import table_agent
from tokengym.experiments.suite import distribution_shift as study
from tokengym.experiments.suite.concordance import auroc, rank_correlation, ranks, right_share

SMALL = {"num_tokens": 3, "length": 4, "num_labels": 100, "updates": 50, "bootstrap": True}


@pytest.fixture(scope="module")
def task():
    return cast(ProxyTask, make_task("NoisyPref", **SMALL))


@pytest.mark.parametrize("count", [1, 2, 5, 16, 37])
def test_the_share_of_right_pairs_is_that_of_all_pairs(count):
    random = np.random.default_rng(count)
    scores, truth = random.integers(0, 6, (2, count)).astype(float)  # with ties in both
    first, second = random.dirichlet(np.ones(count), (2, 3))
    sign = np.sign(truth[:, None] - truth) * np.sign(scores[:, None] - scores)
    differ = truth[:, None] != truth
    for other, given in ((first, None), (second, second)):
        weight = first[:, :, None] * other[:, None, :] * differ
        total = weight.sum(axis=(1, 2))
        found = right_share(scores, truth, first, given)
        if total.any():
            np.testing.assert_allclose(found, (weight * (0.5 + 0.5 * sign)).sum(axis=(1, 2)) / total, atol=1e-12)
        else:
            assert np.isnan(found).all()


def test_ranks_share_ties_and_signals_are_judged_by_them():
    np.testing.assert_array_equal(ranks(np.array([3.0, 1.0, 3.0, 0.0])), [2.5, 1, 2.5, 0])
    values = np.array([0.1, 5.0, 2.0, 3.0])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert np.isnan(rank_correlation(values, np.ones(4)))
    event = np.array([False, True, False, True])
    assert auroc(values, event) == 1 and auroc(-values, event) == 0 and auroc(np.ones(4), event) == 0.5
    assert auroc(np.array([0.0, 1.0, 1.0, 2.0]), event) == pytest.approx(3.5 / 4)
    assert np.isnan(auroc(values, np.ones(4, bool)))


def test_a_policy_has_the_kl_that_was_asked_for(task):
    assert task.optimised(study.tilted_at(task, 0.0)).kl == pytest.approx(0, abs=1e-12)
    for kl in (0.25, 1.0, 3.0):
        assert task.optimised(study.tilted_at(task, kl)).kl == pytest.approx(kl, abs=1e-6)
    with pytest.raises(TokenGymError, match=r"lies 4\.39 nats"):
        study.tilted_at(task, 20.0)


def test_drawn_and_listed_pairs_agree(task):
    policies = np.stack([study.tilted_at(task, kl) for kl in (0.0, 2.0)])
    found = study.measured(task, policies, seed=1, pairs=20_000)
    random = np.random.default_rng(5)
    for policy, accuracy in zip(policies, found.accuracy, strict=True):
        first, second = random.choice(len(policy), (2, 40_000), p=policy)
        gold, proxy = task.gold[first] - task.gold[second], task.proxy[first] - task.proxy[second]
        differ = gold != 0
        assert np.mean((gold * proxy > 0)[differ]) == pytest.approx(accuracy, abs=0.015)
    assert found.mixed[0] == pytest.approx(found.accuracy[0])  # the policy is random play
    np.testing.assert_allclose(found.spread, policies @ task.reported["disagreement"])
    np.testing.assert_allclose(found.kl, [0, 2], atol=1e-6)


def test_a_proxy_that_is_the_gold_reward_is_always_right(task):
    knowing = cast(ProxyTask, make_task("NoisyPref", **SMALL))
    knowing.members, knowing.proxy = np.tile(task.gold, (5, 1)), task.gold
    found = study.measured(knowing, np.stack([study.tilted_at(knowing, kl) for kl in (0.0, 2.0)]), pairs=500)
    for name in ("accuracy", "easy", "mixed"):
        np.testing.assert_allclose(getattr(found, name), 1, atol=1e-9)
    np.testing.assert_allclose([found.spread, found.error], 0, atol=1e-12)
    assert np.isnan(found.by_spread).all()


def test_what_a_player_writes_is_listed(task):
    best = task.tilted(0.5).probabilities
    tokens = task.texts.tokens

    def policy(seen, lengths):
        said = lengths[:, None] - 1
        agrees = (seen[:, None, 1:] == np.pad(tokens, ((0, 0), (0, seen.shape[1])))[None, :, : seen.shape[1] - 1]) | (
            np.arange(seen.shape[1] - 1) >= said[:, None]
        )
        weight = agrees.all(axis=2) * best
        following = tokens[:, np.minimum(said[:, 0], task.texts.length - 1)].T
        chances = np.stack([(weight * (following == word)).sum(axis=1) for word in range(3)], axis=1)
        return chances / chances.sum(axis=1, keepdims=True)

    np.testing.assert_allclose(study.written(task, policy_of(table_agent(task, policy))), best, atol=1e-9)


def test_a_learner_is_followed_from_random_play_on(monkeypatch):
    monkeypatch.setitem(study.SETTINGS, "small", SMALL)
    run = study.learnt("small", 0, tokens=600, points=3)
    assert run.kl[0] == 0 and 2 <= len(run.kl) <= 4 and (run.kl[1:] > 0).all()
    rows = study.learner_table([run, run]).splitlines()
    assert len(rows) == 4 and rows[-1].startswith(f"| 1 | {run.kl[-1]:.2f} | {run.accuracy[-1]:.2f} |")


def test_tables_and_page_name_every_setting(task):
    policies = np.stack([study.tilted_at(task, min(kl, 3.0)) for kl in study.KLS])
    found = {name: [study.measured(task, policies, pairs=200)] * 4 for name in study.SETTINGS}
    page = (Path(__file__).resolve().parents[2] / "docs" / "studies" / "distribution-shift.md").read_text("utf-8")
    for table in (study.accuracy_table(found), study.signal_table(found)):
        lines = table.splitlines()
        assert len(lines) == 2 + len(study.SETTINGS) * len(study.SHOWN)
        assert len({line.count("|") for line in lines}) == 1
        assert lines[0] in page
    assert "python -m tokengym.experiments.suite.distribution_shift docs/studies" in page
    assert len(study.picture(found, []).axes) == 6
