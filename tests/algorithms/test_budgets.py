"""A budget that leaves nothing to learn, or is all waited away, is told before it is spent."""

import warnings

import pytest

from tokengym.algorithms import A2C, ALGORITHMS, DQN, PPO, SAC

SMALL = {"num_rows": 4, "rollout_tokens": 16}


@pytest.mark.parametrize("kind", [DQN, SAC])
def test_off_policy_tells_that_learning_would_start_after_the_budget(kind):
    algorithm = kind("Copy", seed=0, learning_starts=100, **SMALL)
    with pytest.warns(RuntimeWarning, match="learning_starts is 100 and the budget 60 tokens, so nothing is learnt"):
        algorithm.learn(60)
    assert algorithm.num_gradient_steps == 0


def test_stable_baselines_tells_it_too():
    algorithm = ALGORITHMS["sb3-dqn"]("Copy", seed=0, learning_starts=100, num_envs=4)
    with pytest.warns(RuntimeWarning, match="sb3-dqn: learning_starts is 100 and the budget 60 tokens"):
        algorithm.learn(60)


@pytest.mark.parametrize("kind", [PPO, A2C])
def test_a_critic_that_warms_up_for_the_whole_budget_is_told(kind):
    algorithm = kind("Copy", seed=0, critic_warmup=200, separate_critic=True, **SMALL)
    before = algorithm.agent.readouts["policy"].weight.detach().clone()
    with pytest.warns(RuntimeWarning, match="critic_warmup is 200 and the budget 60 tokens, so the policy takes no"):
        algorithm.learn(60)
    assert algorithm.agent.readouts["policy"].weight.equal(before)


def test_a_budget_that_outlasts_them_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DQN("Copy", seed=0, learning_starts=59, batch_episodes=2, **SMALL).learn(60)
        PPO("Copy", seed=0, critic_warmup=59, **SMALL).learn(60)
        PPO("Copy", seed=0, **SMALL).learn(1)


def test_a_run_that_goes_on_is_measured_by_its_whole_budget():
    algorithm = DQN("Copy", seed=0, learning_starts=40, batch_episodes=2, **SMALL)
    with pytest.warns(RuntimeWarning, match="learning_starts is 40 and the budget 20 tokens"):
        algorithm.learn(20)
    algorithm.learn(80)
    assert algorithm.num_gradient_steps > 0


def test_a_budget_that_is_spent_already_is_told():
    algorithm = PPO("Copy", "table", seed=0, **SMALL).learn(60)
    spent, weights = algorithm.spent, {name: one.clone() for name, one in algorithm.agent.state_dict().items()}
    with pytest.warns(RuntimeWarning, match=f"ppo: the budget of 60 tokens was spent before.* {spent + 60} is as much"):
        algorithm.learn(60)
    assert algorithm.spent == spent
    assert all(one.equal(weights[name]) for name, one in algorithm.agent.state_dict().items())
    algorithm.learn(spent + 60)
    assert algorithm.spent > spent


def test_a_budget_of_updates_that_is_spent_already_is_told():
    cloning = ALGORITHMS["bc"]("Copy", "table", seed=0, player="optimal", demonstrations=8).learn(2)
    with pytest.warns(RuntimeWarning, match="bc: the budget of 2 updates was spent before"):
        cloning.learn(2)


def test_stable_baselines_tells_of_a_spent_budget_too():
    algorithm = ALGORITHMS["sb3-a2c"]("Copy", seed=0, n_steps=4).learn(64)
    with pytest.warns(RuntimeWarning, match="sb3-a2c: the budget of 64 tokens was spent before"):
        algorithm.learn(64)
