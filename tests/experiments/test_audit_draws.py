"""Audits of more groups than can be listed, of groups beside fixed others, and of critics with wrong targets."""

import numpy as np
import pytest
import torch

from tokengym.algorithms import register_algorithm
from tokengym.algorithms.on_policy import A2C
from tokengym.envs import TokenGymError
from tokengym.experiments.audit import LeafTree, all_episodes
from tokengym.experiments.audit.methods import audit
from tokengym.experiments.audit.methods.running import Drawn, expected_direction, listed, standard_error
from tokengym.experiments.audit.methods.setting import Setting, drawn_policy
from tokengym.experiments.audit.methods.together import gradients

QUICK = {"fixed_points": False, "smallest": False}


def fifteen():
    return LeafTree.stopping(3, 3, np.linspace(0, 1, 15).tolist())


def test_groups_that_are_too_many_to_list_are_drawn_with_standard_errors():
    with pytest.raises(TokenGymError, match="draws=2000"):
        audit("grpo", fifteen(), group_size=8, **QUICK)
    plain, divided = (
        audit("grpo", fifteen(), group_size=8, draws=3000, preset="dr-grpo", scale=scale, **QUICK)
        for scale in ("none", "std")
    )
    fresh = plain.behaviours["fresh"]
    assert plain.right and 0 < fresh.comparison.error <= 3 * fresh.standard_error < 0.2
    assert "no bias seen" in plain.verdict and "±" in plain.verdict
    assert not divided.right and divided.behaviours["fresh"].comparison.error > 0.05


def test_drawn_groups_average_to_the_listed_ones_within_their_errors():
    setting = Setting("grpo", LeafTree.stopping(3, 2, [0.6, 0.3, 0.0, 1.0, 0.8, 0.1, 0.5]), {"group_size": 3})
    policy = drawn_policy(setting.task, 1)
    episodes, chances = all_episodes(setting.task, policy)
    algorithm = setting.algorithm(policy)
    exact = expected_direction(setting, algorithm, episodes, listed(setting, episodes, chances, 1))
    from tokengym.experiments.audit.methods.running import _drawn

    units = _drawn(setting, episodes, chances, 1, 2000)
    assert isinstance(units, Drawn) and sum(chance for chance, _ in units) == pytest.approx(1, abs=1e-12)
    rows = gradients(setting, algorithm, episodes, units)
    weights = torch.tensor([chance for chance, _ in units])
    error = float(((weights[:, None] * rows).sum(0) - exact).norm())
    assert 0 < error < 3 * standard_error(units, rows) < 0.3 * float(exact.norm())
    assert standard_error(listed(setting, episodes, chances, 1), rows) == 0


def test_a_group_beside_fixed_others_is_audited_alone():
    task = LeafTree.stopping(2, 2, [0.3, 0.0, 1.0])
    alone = audit("grpo", task, group_size=2, preset="dr-grpo", **QUICK).behaviours["fresh"]
    beside = audit("grpo", task, group_size=2, preset="dr-grpo", context=[0, 2, 1, 1], **QUICK).behaviours["fresh"]
    assert beside.comparison.scale == pytest.approx(alone.comparison.scale, abs=1e-12)  # nothing of it is of a batch
    # A mean over the tokens of the batch: the longer the others are, the less a token counts.
    scales = [
        audit("grpo", task, group_size=2, preset="dapo", drop_tied=False, context=context, **QUICK)
        .behaviours["fresh"]
        .comparison.scale
        for context in ([0, 0, 0, 0], [0, 0, 2, 2], [2, 2, 2, 2])
    ]
    assert scales[0] > scales[1] > scales[2] > 0
    with pytest.raises(TokenGymError, match="whole groups"):
        audit("grpo", task, group_size=2, context=[0, 1, 2], **QUICK)


class AimsTooHigh(A2C):
    """Its critic learns the returns plus a tenth."""

    name = "aims-too-high"

    def advantages(self, episodes, rewards, scores):
        advantages, returns, seen = super().advantages(episodes, rewards, scores)
        return advantages, returns + 0.1, seen


register_algorithm("aims-too-high", AimsTooHigh)


def test_a_value_loss_vanishes_at_the_exact_values_and_one_with_a_wrong_target_does_not():
    for name in ("a2c", "ppo", "reinforce", "v-trace"):
        options = {"baseline": "value"} if name == "reinforce" else {}
        assert audit(name, loss_aggregation="constant", **options, **QUICK).critic < 1e-12
    assert audit("aims-too-high", loss_aggregation="constant", **QUICK).critic > 1e-3
    # Over the tokens of one episode a mean counts short texts for more, in the critic's target as well.
    assert audit("a2c", loss_aggregation="token", **QUICK).critic > 1e-3


def test_q_values_off_the_optimum_show_the_semi_gradient():
    """At Q* nothing moves; a tenth too high moves back by a tenth of how often each token was said in a batch."""
    from tokengym.experiments.audit.methods.learnt import optimum_of
    from tokengym.experiments.audit.methods.resting import Flow

    setting = Setting("dqn", LeafTree({"0": 0.3, "10": 0.0, "11": 1.0}), {"trace_lambda": 0.0})
    flow = Flow(setting)
    optimum = flow.tables.at(optimum_of(setting, flow.algorithm, setting.claim()), setting)
    assert np.abs(flow.plain(optimum)).max() < 1e-12
    # Both entries after "1" go up by .1; so does what "1" is regressed on, through the target network alone.
    moved = optimum + np.array([[0.0, 0.0], [0.1, 0.1]])
    np.testing.assert_allclose(flow.plain(moved), [[0.0, 0.25 * 0.1], [-0.125 * 0.1, -0.125 * 0.1]], atol=1e-12)


def test_a_failure_on_stale_data_alone_has_a_tree_of_its_own():
    found = audit("rloo", fixed_points=False)
    assert found.right and found.smallest is not None and found.smallest.behaviour == "stale"
    assert len(found.smallest.leaves) == 3 and found.smallest.comparison.error > 1e-3
    assert found.row()["counterexample"] == ""  # nothing that it claims
