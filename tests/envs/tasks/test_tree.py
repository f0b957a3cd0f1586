"""KLTree: the closed form of its KL-regularised optimum."""

import numpy as np
import pytest
from scipy.special import logsumexp

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.diagnostics.tree import KLTree


@pytest.mark.parametrize(("num_tokens", "depth", "beta"), [(4, 4, 0.2), (2, 6, 0.05), (3, 1, 1.0), (4, 6, 0.2)])
def test_the_kl_optimum_is_the_log_mean_exp_of_the_leaves(num_tokens, depth, beta):
    task = KLTree(num_tokens, depth)
    solution = solve(task, beta=beta)
    rewards = task.leaf_rewards
    closed_form = beta * (logsumexp(rewards / beta) - np.log(len(rewards)))
    assert solution.kl_optimal_return == pytest.approx(closed_form, abs=1e-12)
    posterior = np.exp((rewards - closed_form) / beta) / len(rewards)
    assert solution.kl_optimal_reward == pytest.approx(posterior @ rewards, abs=1e-9)
    assert solution.kl_optimal_kl == pytest.approx(posterior @ np.log(posterior * len(rewards)), abs=1e-9)
    assert solution.random_return == pytest.approx(rewards.mean(), abs=1e-12)
    assert solution.random_variance == pytest.approx(rewards.var(), abs=1e-12)
    assert solution.optimal_return == rewards.max()


def test_the_kl_optimal_player_says_each_leaf_with_its_posterior_probability():
    task = KLTree(num_tokens=3, depth=2)
    evaluation = evaluate_policy(task, solve(task, beta=task.beta).policy("kl_optimal"))
    closed_form = np.exp(task.leaf_rewards / task.beta)
    closed_form /= closed_form.sum()
    last = evaluation.lengths == 2
    leaves = (evaluation.reach[last, None] * evaluation.probabilities[last]).ravel()
    assert leaves == pytest.approx(closed_form, abs=1e-12)


def test_softness_matters_at_the_stated_beta():
    solution = solve(KLTree(), beta=KLTree.beta)
    hard = evaluate_policy(KLTree(), solution.policy("optimal")).kl_regularised(KLTree.beta)
    assert hard < solution.random_return < solution.kl_optimal_return


def test_the_expert_reaches_the_best_leaf():
    task = KLTree(instance_seed=5)
    engine = Engine(task, 1)
    engine.reset(None, np.array([0], dtype=np.uint64))
    rewards = [engine.step(None, engine.expert()).rewards[0] for _ in range(task.depth)]
    assert rewards == [0, 0, 0, task.leaf_rewards.max()]


def test_leaves_hang_on_the_instance_seed():
    assert (KLTree(instance_seed=3).leaf_rewards == KLTree(instance_seed=3).leaf_rewards).all()
    assert (KLTree(instance_seed=3).leaf_rewards != KLTree(instance_seed=4).leaf_rewards).any()


@pytest.mark.parametrize("sizes", [{"num_tokens": 1}, {"depth": 0}, {"depth": 40}, {"num_tokens": 10**6, "depth": 100}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(TokenGymError, match=next(iter(sizes))):
        KLTree(**sizes)


def test_rewards_may_be_normal_or_on_one_leaf_alone():
    assert (KLTree(rewards="normal").leaf_rewards == np.random.default_rng(0).normal(size=256)).all()
    sparse = KLTree(rewards="one_leaf")
    assert sorted(sparse.leaf_rewards.tolist()) == [0.0] * 255 + [1.0]
    assert solve(sparse, beta=0.2).kl_optimal_return == pytest.approx(0.2 * np.log((255 + np.exp(5)) / 256), abs=1e-12)
    with pytest.raises(TokenGymError, match="one_leaf"):
        KLTree(rewards="one")
