"""Batches differentiated side by side have the gradients that they have alone."""

import numpy as np
import pytest
import torch

from tokengym.experiments.audit import LeafTree, all_episodes, table_agent
from tokengym.experiments.audit.methods import audit
from tokengym.experiments.audit.methods.setting import Setting, drawn_policy
from tokengym.experiments.audit.methods.together import acting, gradients, plain

CASES = {
    "grpo": ("grpo", {}, "everything"),
    "dr-grpo": ("grpo", {"preset": "dr-grpo"}, "everything"),
    "dapo": ("grpo", {"preset": "dapo"}, "ties"),
    "gspo": ("grpo", {"preset": "gspo"}, "everything"),
    "cispo": ("grpo", {"preset": "cispo"}, "tokens"),
    "max-rl": ("grpo", {"preset": "max-rl"}, "everything"),
    "pass-at-k": ("grpo", {"preset": "pass-at-k"}, "everything"),
    "gmpo": ("grpo", {"preset": "gmpo"}, "everything"),
    "opo": ("grpo", {"preset": "opo"}, "everything"),
    "rloo": ("rloo", {"kl_coef": 0.3}, "everything"),
}


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_side_by_side_is_as_alone(case, moved):
    name, overrides, alike = CASES[case]
    task = LeafTree.stopping(2, 3, [0.5, 0.0, 1.0, 0.5])
    setting = Setting(name, task, {"group_size": 3, **overrides})
    policy = drawn_policy(task, 1)
    episodes, chances = all_episodes(task, policy)
    algorithm = setting.algorithm(policy)
    weight = table_agent(task, drawn_policy(task, 2, 0.5, policy)).readouts["policy"].weight
    after = {acting(algorithm): weight.detach()} if moved else None
    units = setting.units(episodes, chances)
    for listed in (units, setting.several(units, 2)[::3]):
        found = gradients(setting, algorithm, episodes, listed, after)
        alone = plain(setting, algorithm, episodes, listed, after)
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-13)
        assert float(alone.abs().max()) > 1e-3
        assert setting.alike[len(listed[0][1]), moved] == alike


def test_what_is_whitened_over_a_batch_goes_alone():
    task = LeafTree.stopping(2, 3, [0.5, 0.0, 1.0, 0.2])
    setting = Setting("ppo", task, {"whiten_advantages": True})
    setting.group_size = 2  # so that batches of two are looked at
    policy = drawn_policy(task, 1)
    episodes, chances = all_episodes(task, policy)
    units = setting.units(episodes, chances)
    algorithm = setting.algorithm(policy)
    found = gradients(setting, algorithm, episodes, units)
    assert setting.alike == {(2, False): None}
    torch.testing.assert_close(found, plain(setting, algorithm, episodes, units), rtol=0, atol=0)


def test_groups_of_one_prompt_stay_apart_in_a_batch():
    task = LeafTree.stopping(2, 2, [0.3, 0.0, 1.0])
    for settings, same in (({"preset": "grpo"}, True), ({"preset": "dapo"}, False)):
        found = audit("grpo", task, fixed_points=False, smallest=False, **settings)
        cosines = [one.cosine for one in found.batches.values()]
        assert (np.ptp(cosines) < 1e-12) == same and len(cosines) == (2 if same else 3)


def test_a_caller_may_watch():
    said = []
    found = audit("grpo", starts=1, progress=said.append)
    assert found.smallest is not None and len(found.smallest.leaves) <= 8
    assert said[0] == "the gradient of what it draws itself" and "smallest" in said[-1]


def test_the_smallest_tree_of_a_division_by_the_spread_can_be_followed_by_hand():
    found = audit("grpo", fixed_points=False, group_size=2, preset="dr-grpo", scale="std")
    assert found.smallest is not None and found.level == "token"
    assert [(said, paid) for said, _, paid in found.smallest.leaves] == [("0", 0.0), ("10", 0.5), ("11", 1.0)]
    # In a pair of two returns both are one spread from their mean, however far they lie apart: the better one counts.
    root, second = (of for _, of, _ in found.smallest.gradients)
    assert root[1] / second[1] == pytest.approx((2 * 0.5 * 0.5) / (2 * 0.25 * 0.25), abs=1e-4)
    # What is claimed: p(1 − p) times what the second token of the two is worth more, times the chance to get there.
    root, second = (claimed for _, _, claimed in found.smallest.gradients)
    assert root[1] / second[1] == pytest.approx((0.25 * 0.75) / (0.5 * 0.25 * 0.5), abs=1e-9)
