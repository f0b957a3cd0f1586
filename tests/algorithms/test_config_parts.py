"""Configurations composed of parts: no field that does nothing, none set in vain, and files of earlier versions."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from tokengym.algorithms import DQN, PPO, SAC, check_config
from tokengym.algorithms.configs import DQNConfig, KLConfig, OptimiserConfig, PolicyConfig, PPOConfig, SACConfig
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.registration import make_task

IN_VAIN = [
    ("ppo", {"kl_reference": "uniform"}, "kl_coef is 0"),
    ("ppo", {"kl_target": 6.0}, "kl_coef is 0"),
    ("ppo", {"kl_in": "loss"}, "kl_coef is 0"),
    ("a2c", {"kl_estimator": "k3"}, "kl_coef is 0"),
    ("a2c", {"kl_level": "sequence"}, "kl_coef is 0"),
    ("ppo", {"kl_coef": 0.1, "kl_horizon": 50}, "kl_target is None"),
    ("ppo", {"learning_rate": "linear(1, 0.1)", "final_learning_rate_fraction": 0.5}, "learning_rate is a schedule"),
    ("ppo", {"entropy_coef": "linear(1, 0.1)", "final_entropy_fraction": 0.5}, "entropy_coef is a schedule"),
    ("a2c", {"entropy_coef": 0.0, "final_entropy_fraction": 0.5}, "entropy_coef is 0"),
    ("ppo", {"value_coef": 0.0, "value_clip": 0.2}, "value_coef is 0"),
    ("ppo", {"epochs": 1, "minibatches": 1, "clip": 0.1}, "epochs and minibatches are 1"),
    ("ppo", {"epochs": 1, "minibatches": 1, "target_kl": 0.1}, "epochs and minibatches are 1"),
    ("dqn", {"priority_alpha": 0.5}, "prioritised is 'none'"),
    ("sac", {"priority_beta": 0.5}, "prioritised is 'none'"),
    ("dqn", {"n_step": 5}, "returns is 'trace'"),
    ("sac", {"trace_lambda": 0.5}, "returns is 'n_step'"),
    ("dqn", {"exploration_temperature": 0.5}, "exploration is 'uniform'"),
    ("dqn", {"epsilon": 0.05, "epsilon_fraction": 0.5}, "epsilon and final_epsilon are equal"),
    ("dqn", {"epsilon": "linear(1, 0)", "final_epsilon": 0.1}, "epsilon is a schedule"),
    ("dqn", {"kl_coef": 0.1, "double": False}, "kl_coef is above 0"),
    ("sac", {"alpha_fraction": 0.1}, "initial_alpha is None"),
    ("sac", {"alpha_learning_rate": 0.1}, "entropy_target is None"),
]


@pytest.mark.parametrize(("algorithm", "values", "reason"), IN_VAIN)
def test_a_field_that_does_nothing_beside_the_others_is_refused(algorithm, values, reason):
    field = list(values)[-1]
    with pytest.raises(TokenGymError, match=f"^{field} is .*expected .* since it does nothing while {reason}"):
        check_config(algorithm, values)


@pytest.mark.parametrize(("algorithm", "values", "reason"), IN_VAIN)
def test_a_file_that_set_it_in_an_earlier_version_still_loads(algorithm, values, reason):
    kind = type(check_config(algorithm, {}))
    field = list(values)[-1]
    assert kind.restored(values) == check_config(algorithm, {k: v for k, v in values.items() if k != field})


def test_what_off_policy_methods_never_read_is_no_field_of_theirs():
    names = {kind: {field.name for field in dataclasses.fields(kind)} for kind in (PPOConfig, SACConfig, DQNConfig)}
    assert {"kl_in", "kl_estimator"} <= names[PPOConfig]
    assert not {"kl_in", "kl_estimator"} & (names[SACConfig] | names[DQNConfig])
    assert {"kl_target", "kl_horizon"} & names[SACConfig] and not {"kl_target", "kl_horizon"} & names[DQNConfig]


@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
def test_a_retired_field_is_taken_where_it_says_what_is_so_and_refused_otherwise(algorithm):
    assert check_config(algorithm, {"kl_in": "reward", "kl_estimator": "k1"}) == check_config(algorithm, {})
    with pytest.raises(TokenGymError, match="kl_estimator is 'k3'; leave it out: nothing is estimated"):
        check_config(algorithm, {"kl_estimator": "k3"})
    kind = type(check_config(algorithm, {}))
    assert kind.restored({"kl_estimator": "k3", "gamma": 0.9}) == kind(gamma=0.9)


def test_a_fixed_coefficient_is_asked_for_where_the_values_need_one():
    with pytest.raises(TokenGymError, match=r"kl_coef is 'linear.*expected a number"):
        check_config("dqn", {"kl_coef": "linear(1, 0.1)"})
    with pytest.raises(TokenGymError, match=r"kl_target is 6.0; expected None: kl_coef is a schedule"):
        check_config("ppo", {"kl_coef": "linear(1, 0.1)", "kl_target": 6.0})
    with pytest.raises(TokenGymError, match=r"initial_alpha is 1.0; expected None where alpha is a schedule"):
        check_config("sac", {"alpha": "linear(1, 0.1)", "initial_alpha": 1.0})


@dataclass(frozen=True, kw_only=True)
class PairsConfig(KLConfig, PolicyConfig, OptimiserConfig):
    """What a method needs that learns from pairs of answers in a file."""

    kl_coef: float = 0.1


def test_a_method_that_plays_no_episodes_composes_a_configuration_without_them():
    names = {field.name for field in dataclasses.fields(PairsConfig)}
    assert {"learning_rate", "temperature", "kl_coef", "kl_reference"} <= names
    assert not {"num_rows", "rollout_tokens", "reward_clip", "gamma", "kl_estimator", "kl_target"} & names
    assert PairsConfig().replace(learning_rate="constant(1e-3, warmup=0.1)").learning_rate_at(0.05, 1.0) == 5e-4


@pytest.mark.parametrize("kind", [PPO, DQN, SAC])
def test_rewards_are_clipped_in_the_units_of_the_task_before_they_are_scaled(kind):
    task = make_task("TokenBandit", reward_scale=1000.0)
    clipped = kind(task, "table", reward_clip=2.0, reward_scaling=False)
    episodes = clipped.collector.collect(clipped.behaviour, num_tokens=200)
    rewards = clipped.learning_rewards(episodes)
    assert np.abs(episodes.flat.reward).max() > 2.0, "what is recorded and logged is the task's own"
    np.testing.assert_array_equal(rewards, episodes.flat.reward.clip(-2.0, 2.0))
    clipped.observe_returns(episodes)
    assert clipped.return_scale.std == pytest.approx(rewards.astype(np.float64).std())


def test_a_clip_that_no_reward_reaches_changes_no_bit():
    losses = []
    for options in ({}, {"reward_clip": 1e6}):
        ppo = PPO("Copy", "table", rollout_tokens=40, **options)
        losses.append(ppo.update(ppo.collect()))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("value", [0, -1.0, "1", float("nan")])
def test_a_clip_that_clips_everything_is_refused(value):
    with pytest.raises(TokenGymError, match=r"reward_clip is .*expected None or a number above 0"):
        check_config("ppo", {"reward_clip": value})
