"""Learning that takes seconds: the first things to run when an algorithm fails."""

import numpy as np
import pytest
import torch

from tokengym.algorithms.on_policy.a2c import A2C
from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.envs.exact.solver import evaluate_policy, solve

SMALL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}


def critic_and_exact(algorithm):
    """The critic's values, in the task's units, and the exact ones, in every state that the policy reaches."""
    exact = evaluate_policy(algorithm.task, algorithm.agent.probabilities)
    rows = torch.arange(len(exact.lengths))
    lengths = torch.as_tensor(exact.lengths)
    with torch.no_grad():
        values = algorithm.agent.evaluate(torch.as_tensor(exact.tokens), lengths, rows, lengths).values
    reached = exact.reach > 0.02
    return values.numpy()[reached] * algorithm.reward_scale, exact.values[reached], exact.expected_return


@pytest.mark.parametrize("kind", [PPO, A2C])
@pytest.mark.parametrize("probe", [1, 2, 3, 4, 5])
def test_probe_environments_are_learnt_to_their_exact_values(probe, kind):
    overrides = {"rollout_tokens": 64, "entropy_coef": 0.0, "learning_rate": 1e-2}
    algorithm = kind(f"tokengym/Probe{probe}-v0", SMALL, seed=0, **overrides)
    algorithm.learn(1600 if kind is PPO else 6000)
    values, exact, expected_return = critic_and_exact(algorithm)
    np.testing.assert_allclose(values, exact, atol=0.1)
    assert expected_return > solve(algorithm.task).optimal_return - 0.05


@pytest.mark.parametrize("kind", [PPO, A2C])
def test_the_bandit_is_learnt(kind):
    algorithm = kind("tokengym/TokenBandit-v0", SMALL, seed=0, learning_rate=1e-2, rollout_tokens=256).learn(8000)
    assert evaluate_policy(algorithm.task, algorithm.agent.probabilities).expected_return > 0.9


def test_kl_in_the_reward_reaches_the_regularised_optimum_of_a_small_tree():
    beta = 0.2
    overrides = {"kl_coef": beta, "kl_reference": "uniform", "entropy_coef": 0.0, "learning_rate": 0.05}
    options = {"num_rows": 256, "rollout_tokens": 512, "seed": 0}
    from tokengym.envs.registration import make_task

    task = make_task("KLTree", num_tokens=3, depth=2)
    algorithm = PPO(task, "table", **overrides, **options).learn(15_000)
    exact = evaluate_policy(task, algorithm.agent.probabilities)
    solution = solve(task, beta=beta)
    regularised = exact.expected_return - beta * exact.kl
    assert solution.kl_optimal_return is not None
    span = solution.kl_optimal_return - solution.random_return
    assert solution.kl_optimal_return - regularised < 0.1 * span
