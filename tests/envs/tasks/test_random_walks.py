"""Random walks: the graph is what was asked for, walks pay by the rule, and the best and the wandering are exact."""

import itertools

import numpy as np
import pytest
import torch

from tokengym.agents import RandomPlayer
from tokengym.algorithms.offline import record
from tokengym.envs import TokenGymError, evaluate_policy, make_task, solve
from tokengym.envs.engine import Engine
from tokengym.envs.tasks.diagnostics import RandomWalks

TINY = {"num_nodes": 5, "num_steps": 4, "walk_return": 0.5}


def ways_of(task, node):
    return np.flatnonzero(task.edges[node]).tolist()


@pytest.mark.parametrize("observed", ["walk", "node"])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_best_walk_gets_one_and_a_random_one_what_was_asked_for(observed, seed):
    task = RandomWalks(observed=observed, instance_seed=seed)
    solution = solve(task, masked=True)
    assert solution.optimal_return == pytest.approx(1.0, abs=1e-12) and task.optimal_return == 1.0
    assert solution.random_return == pytest.approx(task.walk_return, abs=1e-12)
    assert abs(task.walk_return - 0.35) < 0.01
    assert task.distances.max() <= task.num_steps and (task.edges.sum(axis=1) >= 1).all()
    assert not task.edges.diagonal().any()


def test_every_walk_pays_what_the_rule_says():
    task = RandomWalks(**TINY)
    starts = {}
    engine = Engine(task, 1)
    for start in range(200):
        engine.reset(None, np.array([start], np.uint64))
        starts.setdefault(int(engine.tokens[0, 1]) - task.num_nodes, start)
    assert sorted(starts) == [1, 2, 3, 4]
    for node, said in itertools.product(starts, itertools.product(range(5), repeat=4)):
        engine.reset(None, np.array([starts[node]], np.uint64))
        place, paid, over = node, 0.0, False
        for made, following in enumerate(said, 1):
            result = engine.step(None, np.array([following]))
            if not task.edges[place, following]:
                expected, over = 0.0, True
            elif following == 0:
                expected, over = task.distances[node] / made, True
            else:
                expected, over, place = 0.0, made == 4, following
            paid += expected
            assert result.rewards[0] == pytest.approx(expected, abs=1e-6) and bool(result.terminated[0]) == over
            if over:
                break


def test_distances_are_those_of_the_graph():
    task = RandomWalks(instance_seed=2)
    for node in range(1, task.num_nodes):
        assert task.distances[node] == 1 + min(task.distances[following] for following in ways_of(task, node))
    assert task.distances[0] == 0


def test_the_expert_is_the_optimum_and_equal_seeds_are_equal_graphs():
    task = RandomWalks(instance_seed=1)
    assert (task.edges == RandomWalks(instance_seed=1).edges).all()
    assert (task.edges != RandomWalks(instance_seed=2).edges).any()
    where = {}

    def expert(tokens, lengths, masks=None):
        said = np.zeros((len(tokens), task.num_nodes))
        for row, (text, length) in enumerate(zip(tokens, lengths, strict=True)):
            node = int(text[length - 1]) % task.num_nodes
            where[node] = True
            said[row, task.expert_action((node, 0, 1))] = 1
        return said

    assert evaluate_policy(task, expert).expected_return == pytest.approx(1.0)


def test_recorded_walks_keep_to_the_edges():
    task = make_task("RandomWalks")
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 2000, 0, action_masks=True)
    assert episodes.returns.mean() == pytest.approx(task.walk_return, abs=0.03)
    assert episodes.action_masks.allows(torch.as_tensor(episodes.flat.action)).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"num_nodes": 2}, r"num_nodes=2: expected 3"),
        ({"num_nodes": 201}, r"num_nodes=201: expected 3 … 200"),
        ({"num_nodes": 150, "num_steps": 20}, "more than 200000"),
        ({"walk_return": 1.0}, r"walk_return=1\.0: expected a number between 0 and 1"),
        ({"walk_return": 0.99}, r"walk_return=0\.99: none of \d+ graphs"),
        ({"observed": "all"}, "observed='all': expected 'walk' or 'node'"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(TokenGymError, match=says):
        RandomWalks(**arguments)
