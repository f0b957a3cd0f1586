"""What is made of rewards before anything is learnt from them."""

import numpy as np
import pytest
from episode_cases import random_episodes

from tokengym.algorithms import A2C, PPO, check_config
from tokengym.algorithms.parts.rewards.shaping import length_penalties, missing_end_penalties, potential_shaping
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.tasks.diagnostics import KLTree
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, table_agent


def flat_tokens(seed=0):
    return random_episodes(np.random.default_rng(seed), num_episodes=6).flat


def test_a_missing_end_costs_once_an_episode():
    flat = flat_tokens()
    end = int(flat.action[np.flatnonzero(flat.is_last)[0]])
    penalties = missing_end_penalties(flat, end, 0.5)
    assert (penalties[~flat.is_last] == 0).all()
    assert (penalties[flat.is_last] == np.where(flat.action[flat.is_last] == end, 0, 0.5)).all()


def test_tokens_beyond_the_free_ones_pay_for_themselves():
    flat = flat_tokens()
    penalties = length_penalties(flat, 0.25, 2)
    lengths = np.diff(flat.episode_offsets)
    paid = np.bincount(flat.episode, penalties, len(lengths))
    np.testing.assert_allclose(paid, 0.25 * np.maximum(lengths - 2, 0))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_potentials_add_the_first_one_to_discounted_returns_and_the_final_one_where_an_episode_was_cut(gamma):
    flat, random = flat_tokens(), np.random.default_rng(1)
    potentials, final = random.normal(size=len(flat)), random.normal(size=len(flat.terminated))
    shaping = potential_shaping(flat, potentials, gamma, final)
    for episode, (first, end) in enumerate(zip(flat.episode_offsets[:-1], flat.episode_offsets[1:], strict=True)):
        if first == end:
            continue
        sum_of = (gamma ** np.arange(end - first) * shaping[first:end]).sum()
        last = 0.0 if flat.terminated[episode] else gamma ** (end - first) * final[episode]
        assert sum_of == pytest.approx(last - potentials[first], abs=1e-12)


class Shaped(A2C):
    """A2C with a potential of its own for every observation."""

    def potentials(self, episodes):
        read = np.cumsum(episodes.tokens * 7 ** np.arange(episodes.tokens.shape[1]), axis=1)
        return np.sin(read[episodes.flat.row, episodes.flat.column - 1]), None


def test_potentials_leave_the_expected_gradient_of_the_policy_as_it_was():
    task = KLTree(3, 3)
    settings = {"entropy_coef": 0.0, "reward_scaling": False, "gae_lambda": 1.0, "whiten_advantages": False}
    found = []
    for kind in (A2C, Shaped):
        algorithm = kind(task, table_agent(task, heads=("policy", "value")), **settings)
        found.append(expected_gradient(algorithm, drawn(*all_episodes(task))).of["readouts.policy.weight"])
    assert found[0].abs().max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], atol=1e-12)


def test_rewards_are_less_what_penalties_take():
    ppo = PPO("KeywordCover", seed=0, rollout_tokens=100, length_penalty=0.1, length_free=1, reward_scaling=False)
    episodes = ppo.collect()
    beyond = np.maximum(episodes.episode_lengths - 1, 0).sum()
    expected = episodes.flat.reward.sum() - 0.1 * beyond
    assert ppo.learning_rewards(episodes).sum() == pytest.approx(expected, abs=1e-4)


def test_free_tokens_without_a_penalty_are_refused():
    with pytest.raises(TokenGymError, match="length_free is 3; expected 0, since it does nothing while length_penalty"):
        check_config("ppo", {"length_free": 3})
    assert make_task("Copy").vocabulary.eos is None
    with pytest.raises(TokenGymError, match="length_penalty"):
        check_config("a2c", {"length_penalty": -1.0})
