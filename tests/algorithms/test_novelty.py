"""Counts of visits, the bonus that they make, and behaviours that try first what was never tried."""

import numpy as np
import pytest
import torch

from tokengym.agents import build_agent
from tokengym.algorithms import A2C, DQN, PPO, SAC, load_algorithm
from tokengym.algorithms.offline.playing import record
from tokengym.algorithms.parts import VisitCounts
from tokengym.algorithms.parts.rewards.novelty import keys_after, keys_of
from tokengym.envs import TokenGymError, make_task
from tokengym.experiments import evaluate_agent
from tokengym.experiments.audit import expected_gradient


def pairs_of(episodes):
    """Each of the agent's tokens with all that stood before it, spelt out."""
    flat = episodes.flat
    return [(*episodes.tokens[row, : column + 1].tolist(),) for row, column in zip(flat.row, flat.column, strict=True)]


def recorded(name, count, seed=0, **arguments):
    task = make_task(name, **arguments)
    agent = build_agent("table", task.vocabulary, task.max_length, ("policy",), seed=seed)
    return task, record(task, agent, count, seed=seed)[0]


@pytest.mark.parametrize("name", ["Lock", "MountainCar", "TicTacToe", "Haggle"])
def test_keys_are_equal_where_the_same_was_said_after_the_same_and_nowhere_else(name):
    task, episodes = recorded(name, 40)
    pairs, keys = pairs_of(episodes), keys_of(episodes)
    assert len(set(pairs)) == len(set(keys.tolist())) == len(set(zip(pairs, keys.tolist(), strict=True)))
    flat = episodes.flat
    before = np.where(
        np.arange(episodes.tokens.shape[1]) < flat.column[:, None], episodes.tokens[flat.row], task.vocabulary.pad
    )
    after = keys_after(before, flat.column, task.vocabulary.num_actions)
    assert np.array_equal(after[np.arange(len(keys)), flat.action], keys)


def test_counts_are_those_of_a_dictionary_and_come_back_from_their_arrays():
    _, episodes = recorded("Lock", 60, length=4)
    _, more = recorded("Lock", 30, seed=1, length=4)
    visits, told = VisitCounts(), {}
    for batch in (episodes, more):
        visits.add(batch)
        for pair in pairs_of(batch):
            told[pair] = told.get(pair, 0) + 1
    assert visits.of(more).tolist() == [told[pair] for pair in pairs_of(more)]
    assert len(visits) == len(told)
    assert visits.bonuses(more) == pytest.approx([told[pair] ** -0.5 for pair in pairs_of(more)])
    again = VisitCounts()
    assert again.of(more).tolist() == [0] * more.num_tokens and set(again.bonuses(more)) == {1.0}
    again.load_state_arrays(visits.state_arrays())
    assert again.of(more).tolist() == visits.of(more).tolist()


@pytest.mark.parametrize("kind", [PPO, A2C, DQN, SAC])
def test_the_bonus_is_paid_in_learning_alone_and_recomputed_from_the_counts_of_now(kind):
    options = {"learning_starts": 10_000} if kind in (DQN, SAC) else {}
    algorithm = kind("Lock", "table", seed=0, count_bonus=0.5, reward_scaling=False, **options)
    episodes = algorithm.collect()
    algorithm.update(episodes)
    assert len(algorithm.visits) == len(set(pairs_of(episodes)))
    first = algorithm.learning_rewards(episodes)
    counts = algorithm.visits.of(episodes)
    assert counts.min() >= 1
    assert first - episodes.flat.reward == pytest.approx(0.5 / np.sqrt(counts), abs=1e-6)
    algorithm.observe_returns(episodes)
    second = algorithm.learning_rewards(episodes)
    assert second - episodes.flat.reward == pytest.approx(0.5 / np.sqrt(2 * counts), abs=1e-6)
    assert np.array_equal(episodes.returns, np.bincount(episodes.flat.episode, episodes.flat.reward))


def test_a_schedule_ends_the_bonus():
    algorithm = PPO("Lock", "table", seed=0, count_bonus="linear(1.0, 0.0)", rollout_tokens=64)
    algorithm.learn(256)
    assert algorithm.count_bonuses(algorithm.collect()) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_counts_come_back_with_a_checkpoint_and_learning_goes_on_the_same(kind, tmp_path):
    options = {"untried_first": True, "learning_starts": 64} if kind is DQN else {}
    first = kind("Lock", "table", seed=3, count_bonus=0.1, rollout_tokens=64, **options)
    first.learn(256)
    first.save(tmp_path / "half")
    back = load_algorithm(tmp_path / "half")
    assert len(back.visits) > 0 and np.array_equal(back.visits.keys, first.visits.keys)
    assert np.array_equal(back.visits.counts, first.visits.counts)
    for algorithm in (first, back):
        algorithm.learn(512)
    for one, other in zip(first.agent.parameters(), back.agent.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_untried_comes_first_among_what_is_legal():
    algorithm = DQN("TicTacToe", seed=0, untried_first=True, action_masks=True, learning_starts=10_000, num_rows=8)
    tried: dict[tuple[int, ...], set[int]] = {}
    again = 0
    for _ in range(12):
        episodes = algorithm.collect()
        legal = np.asarray(episodes.action_masks)
        pairs = pairs_of(episodes)
        for index, (*state, said) in enumerate(pairs):
            known = tried.get((*state,), set())
            assert legal[index, said]
            if said in known:  # only where nothing was left
                again += 1
                assert set(np.flatnonzero(legal[index]).tolist()) <= known
        for *state, said in pairs:
            tried.setdefault((*state,), set()).add(said)
        assert np.isfinite(episodes.flat.log_prob).all()
        algorithm.update(episodes)
    assert again > 20


def test_what_counts_nothing_has_no_counts():
    assert DQN("Lock", "table").visits is None
    with pytest.raises(TokenGymError, match="count_bonus"):
        PPO("Lock", "table", count_bonus=-1.0)


def test_a_lock_opens_that_stays_shut_without_a_bonus():
    task = make_task("Lock", length=8)
    plain, curious = (
        evaluate_agent(DQN(task, "table", seed=5, epsilon_fraction=0.6, **options).learn(10_000).agent, task)
        for options in ({}, {"count_bonus": 0.1, "untried_first": True})
    )
    assert plain.expected_return <= 0.0 and curious.expected_return == pytest.approx(0.99)


def test_what_an_audit_sees_is_not_counted():
    algorithm = PPO("KLTree", "table", seed=0, count_bonus=0.5, dtype="float64", reward_scaling=False)
    episodes = algorithm.collect()
    algorithm.observe_returns(episodes)
    before = algorithm.visits.state_arrays()
    expected_gradient(algorithm, [(1.0, episodes)])
    assert all(np.array_equal(before[name], array) for name, array in algorithm.visits.state_arrays().items())
