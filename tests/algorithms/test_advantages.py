import numpy as np
import pytest
from episode_cases import random_episodes
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.algorithms.parts.advantages import gae, returns_to_go, whiten


def naive_gae(episodes, rewards, values, final_values, gamma, lam):
    """The recursion as it is written, over the columns of the sequences of each episode, from the end."""
    advantages, n = {}, 0
    numbered = {}
    for row in range(episodes.num_sequences):
        for column in range(episodes.lengths[row]):
            if episodes.agent_mask[row, column]:
                numbered[row, column] = n
                n += 1
    for episode in range(len(episodes)):
        rows = np.flatnonzero(episodes.episode_id == episode)
        ended = bool(episodes.terminated[rows[-1]])
        following, advantage = 0.0 if ended else float(final_values[episode]), 0.0
        for row in rows[::-1]:
            for column in range(episodes.lengths[row] - 1, -1, -1):
                if episodes.agent_mask[row, column]:
                    i = numbered[row, column]
                    delta = float(rewards[i]) + gamma * following - float(values[i])
                    advantage = delta + gamma * lam * advantage
                    following = float(values[i])
                    advantages[i] = advantage
    return np.array([advantages[i] for i in range(n)])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_the_naive_recursion_with_replies_inside_and_sequences_cut_by_turns(seed, by_turn, gamma, lam):
    rng = np.random.default_rng(seed)
    episodes = random_episodes(rng, num_episodes=4, by_turn=by_turn)
    rewards, values = rng.normal(size=(2, episodes.num_tokens))
    final_values = rng.normal(size=4)
    advantages, returns = gae(episodes.flat, rewards, values, final_values, gamma, lam)
    expected = naive_gae(episodes, rewards, values, final_values, gamma, lam)
    np.testing.assert_allclose(advantages, expected, atol=1e-5)
    np.testing.assert_allclose(returns, expected + values, atol=1e-5)


def test_gae_skips_tokens_the_agent_did_not_write():
    rng = np.random.default_rng(0)
    spread = random_episodes(rng, num_episodes=1)
    spread.agent_mask[:] = False
    spread.agent_mask[0, [1, spread.lengths[0] - 1]] = True
    spread.terminated[:], spread.truncated[:] = True, False
    advantages, _ = gae(spread.flat, np.array([0.0, 1.0]), np.zeros(2), np.zeros(1), 1.0, 0.95)
    # However long the reply between the two tokens, the first one gets .95 of the credit.
    np.testing.assert_allclose(advantages, [0.95, 1.0], rtol=1e-6)


def test_with_lambda_one_advantages_are_returns_less_values():
    rng = np.random.default_rng(1)
    episodes = random_episodes(rng, by_turn=True)
    values, final_values = rng.normal(size=episodes.num_tokens), rng.normal(size=len(episodes))
    advantages, returns = gae(episodes.flat, episodes.flat.reward, values, final_values, 0.9, 1.0)
    expected = returns_to_go(episodes.flat, 0.9, final_values=final_values)
    np.testing.assert_allclose(returns, expected, atol=1e-5)
    np.testing.assert_allclose(advantages, expected - values, atol=1e-5)


def test_truncation_bootstraps_and_termination_does_not():
    rng = np.random.default_rng(2)
    episodes = random_episodes(rng, num_episodes=12)
    last = episodes.flat.is_last
    zero = np.zeros(episodes.num_tokens)
    advantages, _ = gae(episodes.flat, zero, zero, np.full(12, 3.0), 0.5, 0.9)
    np.testing.assert_allclose(advantages[last], np.where(episodes.flat.terminated, 0.0, 1.5))


def test_returns_to_go_begin_with_the_return_of_the_episode():
    episodes = random_episodes(np.random.default_rng(3), by_turn=True)
    first = episodes.flat.episode_offsets[:-1]
    np.testing.assert_allclose(returns_to_go(episodes.flat, 1.0)[first], episodes.returns, atol=1e-5)


def test_whitening_gives_mean_zero_and_variance_one_or_keeps_the_mean():
    values = np.random.default_rng(4).normal(3.0, 7.0, size=1000)
    assert whiten(values).mean() == pytest.approx(0.0, abs=1e-5)
    assert whiten(values).std() == pytest.approx(1.0, abs=1e-4)
    assert whiten(values, keep_mean=True).mean() == pytest.approx(values.mean(), rel=1e-5)
    assert whiten(np.full(5, 2.0)).tolist() == [0.0] * 5
