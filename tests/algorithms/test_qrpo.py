"""QRPO: its residual and expected gradient by enumeration, against the optimum of the reward's quantile."""

import numpy as np
import pytest
import torch

from tokengym.algorithms import QRPO
from tokengym.algorithms.parts import log_partitions, quantiles_among
from tokengym.envs import TokenGymError, evaluate_policy, solve
from tokengym.experiments.audit import LeafTree, all_episodes, drawn, expected_gradient, table_agent
from tokengym.experiments.audit.methods.setting import drawn_policy
from tokengym.experiments.audit.objectives import claim_gradient

BETA = 0.3
LEAVES = {"no two alike": [0.4, -2.0, 7.0, 0.1, 3.0, 0.2, 0.5, 0.6], "ties": [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.5]}


def trees(name):
    """A tree, and the one whose rewards are the first one's quantiles under the uniform reference."""
    rewards = np.array(LEAVES[name])
    return LeafTree.full(2, 3, rewards.tolist()), LeafTree.full(2, 3, quantiles_among(rewards, rewards).tolist())


def made(task, agent, samples, **given):
    """QRPO that knows all that the reference may earn."""
    algorithm = QRPO(task, agent, kl_coef=BETA, kl_reference="uniform", seed=0, **given)
    episodes, _ = all_episodes(task)
    algorithm.start_returns = dict.fromkeys(episodes.starts.tolist(), np.array(samples))
    return algorithm, episodes


def test_the_partition_of_rewards_that_do_not_tie_is_the_one_of_many_samples_that_do_not():
    for beta in (0.05, 0.3, 2.0):
        assert log_partitions(beta, np.arange(200_000.0)) == pytest.approx(log_partitions(beta), abs=1e-3)
    assert log_partitions(0.3) == pytest.approx(np.log(0.3 * (np.exp(1 / 0.3) - 1)), abs=1e-12)
    assert log_partitions(1e-4) == pytest.approx(1e4 + np.log(1e-4))  # e^10,000 is no number
    assert quantiles_among(np.array([0.0, 1.0, 5.0]), np.array([0.0, 1.0, 1.0, 2.0])).tolist() == [0.25, 0.75, 1.0]


@pytest.mark.parametrize("name", LEAVES)
def test_at_the_optimum_of_the_quantile_the_residual_of_every_episode_is_0(name):
    task, ranked = trees(name)
    best = table_agent(task, solve(ranked, beta=BETA).policy("kl_optimal"))
    algorithm, episodes = made(task, best, LEAVES[name], partition="sampled")
    prepared = algorithm.prepare(episodes)
    found = algorithm.residuals(algorithm.read(prepared.batch, prepared), prepared).detach()
    assert len(found) == 8 and found.abs().max() < 1e-9
    # What is known of the partition of continuous rewards is off by the same number in all of them.
    continuous, _ = made(task, best, LEAVES[name])
    prepared = continuous.prepare(episodes)
    off = continuous.residuals(continuous.read(prepared.batch, prepared), prepared).detach()
    assert off.std() < 1e-9 and off.abs().min() > 1e-3


@pytest.mark.parametrize("partition", ["continuous", "sampled"])
@pytest.mark.parametrize("name", LEAVES)
def test_fresh_episodes_have_the_gradient_of_the_regularised_quantile_whatever_the_partition(name, partition):
    task, ranked = trees(name)
    policy = drawn_policy(task, 1)
    claimed = claim_gradient(ranked, policy, "kl_return", beta=BETA)
    algorithm, _ = made(task, table_agent(task, policy), LEAVES[name], partition=partition)
    found = expected_gradient(algorithm, drawn(*all_episodes(task, policy)))
    torch.testing.assert_close(found.of["readouts.policy.weight"], -BETA * claimed, rtol=0, atol=1e-12)


def test_a_monotone_change_of_the_reward_changes_nothing():
    bits = []
    for change in (lambda reward: reward, lambda reward: np.exp(3 * reward) - 5):
        task = LeafTree.full(2, 3, change(np.array(LEAVES["no two alike"][:2] * 4) + np.arange(8) / 10).tolist())
        learnt = QRPO(task, "table", kl_reference="uniform", rollout_tokens=24, seed=0).learn(200)
        bits.append(learnt.agent.readouts["policy"].weight.detach())
    assert torch.equal(*bits)


def test_a_table_learns_the_optimum_of_the_quantile():
    task, ranked = trees("no two alike")
    usual = {"kl_coef": BETA, "kl_reference": "uniform", "group_size": 8, "num_rows": 64, "learning_rate": 0.1}
    learnt = QRPO(task, "table", seed=0, rollout_tokens=96, reference_samples=64, **usual).learn(60_000)
    solved = solve(ranked, beta=BETA)
    found = evaluate_policy(ranked, learnt.agent.probabilities).kl_regularised(BETA)
    assert solved.kl_optimal_return - found < 0.05 * (solved.kl_optimal_return - solved.random_return)


def test_a_scale_of_rewards_is_refused_since_a_quantile_has_none():
    with pytest.raises(TokenGymError, match="reward_scaling is True; expected False, since it does nothing"):
        QRPO("KLTree", "table", reward_scaling=True)
