"""The best of n: exact where episodes can be listed, and what RAFT and expert iteration learn from it."""

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from tokengym.agents import OptimalPlayer, RandomPlayer, build_agent
from tokengym.algorithms import RAFT, ExpertIteration, OnlineDPO, StopAfter, load_algorithm
from tokengym.algorithms.offline.playing import record
from tokengym.algorithms.parts import best_episodes
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.exact import best_of_draws, best_of_n, divergence, evaluate_policy, solve
from tokengym.envs.tasks.diagnostics import KLTree
from tokengym.experiments.audit import LeafTree

pytestmark = pytest.mark.filterwarnings("ignore:.*within every one of the collected groups")

SMALL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}


def some_policy(task, seed=0):
    """A table's policy that is not uniform, and the table."""
    agent = build_agent("table", task.vocabulary, task.max_length, dtype="float64")
    every = listed(task)
    rows = torch.arange(len(every.tokens))
    for column in range(1, every.tokens.shape[1]):  # so that all prefixes have their numbers
        agent.evaluate(
            torch.as_tensor(every.tokens), torch.as_tensor(every.lengths), rows, torch.full_like(rows, column)
        )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return agent


def listed(task):
    """Every episode of a small tree, once."""
    depth, width = task.max_episode_tokens, task.vocabulary.num_actions
    played, _ = record(task, RandomPlayer(task.vocabulary), 40 * width**depth, 0)
    _, first = np.unique(played.tokens, axis=0, return_index=True)
    assert len(first) == width**depth
    return played.select(first)


def chances(agent, episodes):
    """The probability of each of some episodes."""
    flat = episodes.flat
    said = np.ones(len(episodes))
    for row, column, action in zip(flat.row, flat.column, flat.action, strict=True):
        said[row] *= agent.probabilities(episodes.tokens[row : row + 1], np.array([column]))[0][action]
    return said


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_best_of_n_is_that_of_all_tuples_of_drafts(n):
    task = make_task("KLTree", num_tokens=3, depth=2)
    agent = some_policy(task)
    every = listed(task)
    p, returns = chances(agent, every), every.returns
    kept = np.zeros(len(p))
    for drafts in itertools.product(range(len(p)), repeat=n):
        kept[max(drafts, key=lambda leaf: returns[leaf])] += math.prod(p[leaf] for leaf in drafts)
    found = best_of_n(task, agent.probabilities, n)
    assert found.expected_return == pytest.approx(float(kept @ returns), rel=1e-6)  # returns are float32
    assert found.kl == pytest.approx(float(kept @ np.log(kept / p)), abs=1e-12)
    exact = evaluate_policy(task, found.policy, agent.probabilities)
    assert exact.expected_return == pytest.approx(found.expected_return, abs=1e-12)
    assert exact.kl == pytest.approx(found.kl, abs=1e-12)


class Tenth(KLTree):
    """One of ten tokens pays 1."""

    def __init__(self):
        super().__init__(num_tokens=10, depth=1)
        self.leaf_rewards = np.eye(10)[3]


def test_with_a_reward_of_a_tenth_eight_drafts_have_a_kl_of_673_thousandths():
    task = Tenth()
    found = best_of_n(task, RandomPlayer(task.vocabulary).probabilities, 8)
    won = 1 - 0.9**8
    assert found.expected_return == pytest.approx(won, abs=1e-12)
    assert found.kl == pytest.approx(won * math.log(won / 0.1) + (1 - won) * math.log((1 - won) / 0.9), abs=1e-12)
    assert round(found.kl, 3) == 0.673 and found.kl < found.bound == pytest.approx(math.log(8) - 7 / 8)


@pytest.mark.parametrize("n", [2, 16, 10_000])
def test_no_kl_is_above_the_bound_and_many_drafts_find_the_best(n):
    task = make_task("KLTree")
    found = best_of_n(task, RandomPlayer(task.vocabulary).probabilities, n)
    assert found.kl <= found.bound
    if n == 10_000:
        assert found.expected_return == pytest.approx(solve(task).optimal_return, abs=1e-9)
        assert found.kl == pytest.approx(math.log(256), abs=1e-9)


@pytest.mark.parametrize("n", [1, 4, 100])
def test_it_agrees_with_the_best_of_draws_from_a_list_of_all_texts(n):
    task = make_task("KLTree")
    found = best_of_n(task, RandomPlayer(task.vocabulary).probabilities, n)
    kept = best_of_draws(task.unwrapped.leaf_rewards, n)
    assert found.expected_return == pytest.approx(float(kept @ task.unwrapped.leaf_rewards), abs=1e-12)
    assert found.kl == pytest.approx(divergence(kept), abs=1e-10)


def test_what_cannot_be_listed_is_refused():
    uniform = RandomPlayer(make_task("Copy").vocabulary).probabilities
    with pytest.raises(TokenGymError, match="certain transitions"):
        best_of_n(make_task("Lattice"), uniform, 2)
    noisy = make_task("TokenBandit", noise=0.5)
    with pytest.raises(TokenGymError, match=r"pays with noise|certain transitions"):
        best_of_n(noisy, RandomPlayer(noisy.vocabulary).probabilities, 2)
    with pytest.raises(TokenGymError, match="expected a FiniteTask"):
        best_of_n(make_task("CartPole"), uniform, 2)
    with pytest.raises(TokenGymError, match="n is 0"):
        best_of_n(make_task("KLTree"), uniform, 0)


# --- RAFT


def test_the_expected_gradient_of_raft_is_that_of_the_likelihood_of_the_best_of_k():
    task = make_task("KLTree", num_tokens=2, depth=2)
    agent = some_policy(task)
    every = listed(task)
    every = dataclasses.replace(every, starts=np.zeros(len(every), np.uint64))
    p = chances(agent, every)
    learner = RAFT(task, agent, group_size=3, best_share=0.3, seed=0)

    def gradient(episodes, likelihood=None):
        agent.zero_grad()
        prepared = learner.prepare(episodes)
        learner.loss(prepared.batch, prepared).total.backward()
        return torch.cat([parameter.grad.flatten() for parameter in agent.parameters()])

    expected = sum(
        math.prod(p[leaf] for leaf in drafts) * gradient(every.select(list(drafts)))
        for drafts in itertools.product(range(len(p)), repeat=3)
    )
    best = evaluate_policy(task, best_of_n(task, agent.probabilities, 3).policy)
    kept = dict(zip(map(tuple, best.tokens.tolist()), best.reach, strict=True))
    whole = sum(float(weight) * gradient(every.select([leaf])) for leaf, weight in enumerate(leaves(best, every, kept)))
    assert (expected - whole).abs().max() < 1e-9


def leaves(best, every, reach):
    """The probability of each episode under an evaluated policy."""
    prefixes = [tuple(row[:n]) for row, n in zip(best.tokens.tolist(), best.lengths.tolist(), strict=True)]
    said = dict(zip(prefixes, best.probabilities, strict=True))
    chance = np.ones(len(every))
    for row, column, action in zip(every.flat.row, every.flat.column, every.flat.action, strict=True):
        chance[row] *= said[tuple(every.tokens[row, :column].tolist())][action]
    return chance


def test_what_is_kept_are_the_best_of_each_group_or_of_all():
    task = make_task("KLTree")
    played, _ = record(task, RandomPlayer(task.vocabulary), 40, 0, group_size=8)
    of_groups = best_episodes(played, 0.25, "group")
    assert len(of_groups) == 10
    for start in np.unique(played.starts):
        mine = np.flatnonzero(played.starts == start)
        chosen = np.intersect1d(mine, of_groups)
        assert len(chosen) == 2 and played.returns[chosen].min() >= np.sort(played.returns[mine])[-2]
    of_all = best_episodes(played, 0.1, "collection")
    assert sorted(played.returns[of_all]) == sorted(played.returns)[-4:]
    assert len(best_episodes(played, 0.001, "group")) == 5  # at least one of each


@pytest.mark.parametrize("kind", [RAFT, ExpertIteration])
def test_repeated_it_ends_at_the_best_episode(kind):
    task = make_task("KLTree", num_tokens=3, depth=3)
    learner = kind(task, "table", seed=0, learning_rate=0.1, rollout_tokens=256).learn(15_000)
    solution = solve(task)
    found = evaluate_policy(task, learner.agent.probabilities).expected_return
    assert found > solution.optimal_return - 0.05 * (solution.optimal_return - solution.random_return)


@pytest.mark.parametrize("kind", [RAFT, ExpertIteration])
def test_resuming_is_bit_exact_and_seeds_decide(kind, tmp_path):
    options = {"rollout_tokens": 120, "group_size": 4}
    through = kind("Copy", SMALL, seed=2, **options).learn(600, log_dir=tmp_path / "through")
    kind("Copy", SMALL, seed=2, **options).learn(600, callback=StopAfter(300), log_dir=tmp_path / "halves").save(
        tmp_path / "half"
    )
    resumed = load_algorithm(tmp_path / "half").learn(600, log_dir=tmp_path / "halves")
    for one, other in zip(through.parameters, resumed.parameters, strict=True):
        assert torch.equal(one, other)
    assert len({(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("through", "halves")}) == 1
    other = kind("Copy", SMALL, seed=3, **options).learn(600)
    assert not torch.equal(through.parameters[0], other.parameters[0])


OPTIONS = [
    (RAFT, {"best_within": "collection", "best_share": 0.3, "loss_aggregation": "sequence", "epochs": 2}),
    (RAFT, {"group_size": 2, "minibatches": 3, "action_masks": True, "temperature": 0.7}),
    (ExpertIteration, {"best_within": "collection", "group_size": 1, "loss_aggregation": "sequence"}),
    (ExpertIteration, {"least_return": 0.0, "memory_episodes": 20, "batch_episodes": 5, "action_masks": True}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_every_option_runs_and_masks_are_kept_to(kind, options):
    learner = kind("WordleMini", SMALL, seed=0, rollout_tokens=60, num_rows=8, **options).learn(150)
    assert all(torch.isfinite(parameter).all() for parameter in learner.parameters)
    played = learner.collect()
    if learner.config.action_masks:
        legal = played.action_masks.unpack().numpy()
        assert legal[np.arange(len(played.flat)), played.flat.action].all()


@pytest.mark.parametrize("kind", [RAFT, ExpertIteration])
def test_the_gradient_is_the_same_however_a_batch_is_cut(kind):
    found = []
    for limit in (None, make_task("KeywordCover").max_length):
        learner = kind("KeywordCover", SMALL, micro_batch_tokens=limit, dtype="float64", seed=1, rollout_tokens=200)
        prepared = learner.prepare(learner.collect())
        parts = prepared.batch.parts(limit, learner.unit)
        learner.optimise(learner.loss(part, prepared) for part in parts)
        found.append(torch.cat([p.grad.flatten() for p in learner.parameters]))
    assert (found[0] - found[1]).norm() <= 1e-9 * found[0].norm()


def test_expert_iteration_remembers_the_good_and_learns_nothing_without_them():
    learner = ExpertIteration("Copy", SMALL, least_return=0.9, rollout_tokens=64, memory_episodes=3)
    before = learner.parameters[0].clone()
    metrics = learner.update(learner.collect())
    assert metrics["select/episodes"] == 0 and torch.equal(before, learner.parameters[0])
    expert, _ = record(learner.task, OptimalPlayer(learner.task), 5, 0)
    assert learner.update(expert)["select/memory"] == 3 and not torch.equal(before, learner.parameters[0])


def test_of_one_there_is_no_best():
    with pytest.raises(TokenGymError, match="group_size is 1; expected at least 2, or best_within 'collection'"):
        RAFT("Copy", group_size=1)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", [RAFT, ExpertIteration, OnlineDPO])
def test_who_learns_from_the_better_ones_says_once_where_none_is(kind):
    """Each text of the tree pays the same, so that nothing is chosen; what pays differently says nothing."""
    for leaves, warned in (([0.5] * 4, 1), ([0.0, 0.3, 0.6, 1.0], 0)):
        algorithm = kind(LeafTree.full(2, 2, leaves), {"kind": "table"}, seed=0, rollout_tokens=64)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            algorithm.learn(200)
        told = [str(one.message) for one in seen if "all returns are equal" in str(one.message)]
        assert len(told) == warned and all(message.startswith(algorithm.name) for message in told)
