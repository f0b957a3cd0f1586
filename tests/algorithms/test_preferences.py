"""Preference pairs and ranks over episodes."""

from dataclasses import replace

import numpy as np
import pytest
from episode_cases import random_episodes
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.algorithms import PPO, PreferencePairs, Ranks
from tokengym.algorithms.data.preferences import prompts_of
from tokengym.envs import TokenGymError


@pytest.fixture(scope="module")
def groups():
    """Four groups of four episodes of Copy, each group with a prompt of its own."""
    return PPO("Copy", "table", seed=0, num_rows=8, group_size=4, rollout_tokens=100).collect()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=5), min_size=1, max_size=5), st.randoms())
def test_ranks_give_exactly_the_pairs_that_returns_give(returns, random):
    flat = [(start, value) for start, group in enumerate(returns) for value in group]
    random.shuffle(flat)
    episodes = random_episodes(np.random.default_rng(0), num_episodes=len(flat))
    rewards = np.zeros_like(episodes.rewards)
    last = np.flatnonzero(episodes.flat.is_last)
    rewards[episodes.flat.row[last], episodes.flat.column[last]] = [value for _, value in flat]
    starts = np.array([start for start, _ in flat], np.uint64)
    pairs = Ranks.by_return(replace(episodes, rewards=rewards, starts=starts)).pairs()
    expected = {
        (i, j)
        for i, (start, value) in enumerate(flat)
        for j, (other, less) in enumerate(flat)
        if start == other and value > less
    }
    assert sorted(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)) == sorted(expected)
    for start in range(len(returns)):
        weights = pairs.weight[starts[pairs.better] == start]
        assert not len(weights) or weights.sum() == pytest.approx(1.0)


def test_pairs_and_ranks_of_one_prompt_pass_the_check(groups):
    ranks = Ranks.by_return(groups)
    ranks.check(groups)
    assert len(ranks) == len(np.unique(groups.starts)) > 1
    pairs = ranks.pairs()
    pairs.check(groups)
    assert (groups.returns[pairs.better] > groups.returns[pairs.worse]).all()
    assert len(pairs[:3]) == 3 and pairs[:3].better.tolist() == pairs.better[:3].tolist()


def test_prompts_are_what_is_shown_before_the_agents_first_token(groups):
    tokens, lengths = prompts_of(groups)
    for episode in range(len(groups)):
        row = groups.sequence_offsets[episode]
        first = int(groups.agent_mask[row].argmax())
        assert lengths[episode] == first
        np.testing.assert_array_equal(tokens[episode, :first], groups.tokens[row, :first])
        assert (tokens[episode, first:] == groups.pad).all()


def test_pairs_that_answer_different_prompts_are_refused(groups):
    tokens, _ = prompts_of(groups)
    other = int(np.flatnonzero((tokens != tokens[0]).any(axis=1))[0])
    with pytest.raises(TokenGymError, match=f"The episodes 0 and {other} of pair 1 answer different prompts"):
        PreferencePairs([0, 0], [1, other]).check(groups)
    with pytest.raises(TokenGymError, match="answer different prompts"):
        Ranks([0, 1, other], [3]).check(groups)
    with pytest.raises(TokenGymError, match=f"There is no episode {len(groups)}"):
        PreferencePairs([0], [len(groups)]).check(groups)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [2]), "better has 2 indices and worse 1"),
        (([0, 1], [2, 1]), "Pair 1 is episode 1 twice"),
        (([-1], [1]), "negative index -1"),
        (([0.5], [1]), "expected a list of integers"),
        (([[0]], [[1]]), "expected a list of integers"),
        (([0], [1], [0.0]), "finite numbers above 0"),
        (([0], [1], [np.nan]), "finite numbers above 0"),
        (([0], [1], [1.0, 2.0]), "expected a number a pair"),
        (([0], [1], ["x"]), "expected a number a pair"),
    ],
)
def test_wrong_pairs_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        PreferencePairs(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1, 2], [2]), "sizes add up to 2 for 3 indices"),
        (([0, 1, 2], [1, 2]), "groups of at least 2"),
        (([0, 0], [2]), "stands twice in one group"),
        (([0, 1], [2], [1, 2]), "begin with 0"),
        (([0, 1, 2], [3], [0, 2, 1]), "not fall"),
        (([0, 1], [2], [0]), "one an episode"),
        ((["a", "b"], [2]), "expected a list of integers"),
    ],
)
def test_wrong_ranks_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Ranks(*arguments)


def test_ranks_need_a_shared_start(groups):
    with pytest.raises(TokenGymError, match="No two episodes share a start"):
        Ranks.by_return(groups.select([0]))


def test_nothing_preferred_is_fine(groups):
    none = PreferencePairs([], [])
    none.check(groups)
    assert len(none) == 0 and len(Ranks([], []).pairs()) == 0
    Ranks([], []).check(groups)
