"""KL control on trees whose every text is listed: what rests at the optimum, what rests elsewhere, and where."""

import pytest
import torch

from tokengym.algorithms import A2C, PPO
from tokengym.envs.checking import TokenGymError
from tokengym.envs.exact import evaluate_policy, solve
from tokengym.envs.tasks.diagnostics import KLTree
from tokengym.experiments.audit import (
    all_episodes,
    drawn,
    expected_gradient,
    fixed_point,
    kl_estimators,
    optimum,
    regret,
    table_agent,
)

BETA = 0.2
TREES = {"uniform": KLTree, "normal": lambda: KLTree(rewards="normal"), "one_leaf": lambda: KLTree(rewards="one_leaf")}

RIGHT = {
    "k1 in the reward": {},
    "k2 of the sequence in the loss": {"kl_in": "loss", "kl_estimator": "k2", "kl_level": "sequence"},
    "k3 in both": {"kl_in": "both", "kl_estimator": "k3"},
    "the exact KL in both": {"kl_in": "both", "kl_estimator": "exact"},
}
"""What has the KL-regularised optimum as its fixed point."""

ELSEWHERE = {
    "k2 of the tokens in the loss": ({"kl_in": "loss", "kl_estimator": "k2"}, "token_k2"),
    "the exact KL in the loss": ({"kl_in": "loss", "kl_estimator": "exact"}, "token_k2"),
    "k3 of the tokens in the loss": ({"kl_in": "loss", "kl_estimator": "k3"}, "token_k3"),
    "k3 of the sequence in the loss": ({"kl_in": "loss", "kl_estimator": "k3", "kl_level": "sequence"}, "sequence_k3"),
}
"""What has not, and where it rests instead."""


def gradient_at(task, policy, options, kind=A2C):
    in_reward = options.get("kl_in", "reward") != "loss"
    agent = table_agent(task, policy, ("policy", "value"), beta=BETA if in_reward else 0.0)
    settings = {"kl_coef": BETA, "kl_reference": "uniform", "entropy_coef": 0.0, "reward_scaling": False, **options}
    return expected_gradient(kind(task, agent, **settings), drawn(*all_episodes(task, agent.probabilities)))


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("tree", ["uniform", "one_leaf"])
def test_at_the_regularised_optimum_the_expected_gradient_vanishes(name, tree):
    task = TREES[tree]()
    assert gradient_at(task, optimum(task, BETA), RIGHT[name]).largest < 1e-9


@pytest.mark.parametrize("name", ELSEWHERE)
def test_others_are_pulled_away_from_the_optimum_and_rest_at_their_own_fixed_points(name):
    task = TREES["one_leaf"]()
    options, kind = ELSEWHERE[name]
    assert gradient_at(task, optimum(task, BETA), options).largest > 1e-4
    assert gradient_at(task, fixed_point(task, BETA, kind), options).largest < 1e-9


def test_k1_may_as_well_be_taken_off_the_last_reward():
    task = KLTree(3, 3, rewards="one_leaf")
    options = {"kl_level": "sequence", "gae_lambda": 1.0}  # no critic knows what earlier tokens will cost
    at_rest = gradient_at(task, optimum(task, BETA), options).of["readouts.policy.weight"]
    assert at_rest.abs().max() < 1e-9


def test_ppo_rests_at_the_same_points_as_a2c():
    task = KLTree(3, 3, rewards="one_leaf")
    for options in RIGHT.values():
        assert gradient_at(task, optimum(task, BETA), options, PPO).largest < 1e-9
    for options, kind in ELSEWHERE.values():
        assert gradient_at(task, fixed_point(task, BETA, kind), options, PPO).largest < 1e-9


REGRETS = {
    ("optimum", False): (0, 0, 0),
    ("token_k2", False): (0.0238, 0.0007, 1.649),
    ("token_k3", False): (0.0647, 0.1048, 0.557),
    ("sequence_k3", False): (0.1482, 0.0449, 0.903),
    ("token_k3", True): (1.160, 0.0948, 1.109),
    ("sequence_k3", True): (3.414, 0.0290, 1.877),
}


@pytest.mark.parametrize(("kind", "standardised"), REGRETS)
def test_regrets_at_the_fixed_points_are_those_of_the_derivation(kind, standardised):
    for tree, expected in zip(TREES, REGRETS[kind, standardised], strict=True):
        task = TREES[tree]()
        found = regret(task, fixed_point(task, BETA, kind, standardised=standardised), BETA)
        assert found == pytest.approx(expected, abs=5e-4), tree


def test_the_best_leaf_alone_is_far_from_the_optimum():
    for tree, expected in zip(TREES, (4.668, 0.012, 2.297), strict=True):
        task = TREES[tree]()
        assert regret(task, solve(task).policy("optimal"), BETA) == pytest.approx(expected, abs=5e-4)


def test_standardised_rewards_with_k2_have_no_fixed_point_inside():
    with pytest.raises(TokenGymError, match="best episode"):
        fixed_point(KLTree(), BETA, "token_k2", standardised=True, eps=0.0)


def trained(task, **options):
    settings = {"kl_coef": BETA, "kl_reference": "uniform", "entropy_coef": 0.0, "num_rows": 256, "seed": 0, **options}
    schedule = {"rollout_tokens": 2048, "learning_rate": 0.1, "final_learning_rate_fraction": 0.05}
    return A2C(task, "table", **schedule, **settings).learn(200_000).agent.probabilities


@pytest.mark.parametrize("name", ["k1 in the reward", "k2 of the sequence in the loss"])
@pytest.mark.parametrize("tree", ["uniform", "one_leaf"])
def test_training_a_table_reaches_the_optimum(name, tree):
    task = TREES[tree]()
    assert regret(task, trained(task, **RIGHT[name]), BETA) < 0.05


@pytest.mark.parametrize("name", ["k2 of the tokens in the loss", "k3 of the tokens in the loss"])
def test_training_with_the_others_ends_where_their_fixed_points_are(name):
    task = TREES["one_leaf"]()
    options, kind = ELSEWHERE[name]
    at_rest = regret(task, fixed_point(task, BETA, kind), BETA)
    assert at_rest > 0.5 and regret(task, trained(task, **options), BETA) == pytest.approx(at_rest, abs=0.15)


def near_policy(task, spread=0.3, seed=0):
    """A policy at some distance from the uniform one."""
    agent = table_agent(task)
    table = agent.readouts["policy"].weight
    noise = torch.randn(table.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        table.copy_(spread * noise)
    return agent.probabilities


def test_the_estimators_agree_with_the_exact_kl_where_theory_says_so_with_their_variances_in_order():
    task = KLTree()
    policy = near_policy(task)
    kl, found = kl_estimators(task, policy)
    of = {(one.name, one.level): one for one in found}
    assert kl == pytest.approx(evaluate_policy(task, policy).kl, abs=1e-12)
    for name in ("k1", "k3", "exact"):
        assert of[name, "token"].mean == pytest.approx(kl, abs=1e-12)
    assert of["k3", "sequence"].mean == pytest.approx(kl, abs=1e-12)
    for level in ("token", "sequence"):
        assert abs(of["k2", level].mean - kl) > 1e-3  # biased, and by a term of third order: a few percent here
        assert of["k2", level].mean == pytest.approx(kl, rel=0.1)
    variances = [of[name, "token"].variance for name in ("exact", "k3", "k1")]
    assert variances == sorted(variances) and variances[0] < 0.5 * variances[1] < 0.5 * variances[2]


def test_far_from_the_reference_k3_varies_most():
    _, found = kl_estimators(KLTree(), near_policy(KLTree(), spread=1.0))
    of = {(one.name, one.level): one.variance for one in found}
    assert of["exact", "token"] < of["k1", "token"] < of["k3", "token"] < of["k3", "sequence"]


def test_which_gradients_of_the_estimators_are_that_of_the_kl():
    kl, found = kl_estimators(KLTree(3, 3), near_policy(KLTree(3, 3), 1.0), near_policy(KLTree(3, 3), 1.0, seed=1))
    right = {(one.name, one.level): tuple(error < 1e-12 for error in (one.loss_bias, one.reward_bias, one.both_bias))
             for one in found}  # fmt: skip
    assert right == {
        ("k1", "token"): (False, True, True),
        ("k2", "token"): (False, False, False),
        ("k3", "token"): (False, False, True),
        ("exact", "token"): (False, False, True),
        ("k2", "sequence"): (True, False, False),
        ("k3", "sequence"): (False, False, True),
    }
    assert kl > 0.5 and next(one.loss_bias for one in found if one.name == "k1") == pytest.approx(1, abs=1e-12)
