"""Baselines of turns where the policy ends the episode: which of them are unbiased, by enumeration of all groups."""

from math import comb

import numpy as np
import pytest
import torch
from turn_cases import Turns, wavering

from tokengym.algorithms import Reinforce
from tokengym.algorithms.parts import step_baselines, turn_length, turn_numbers
from tokengym.envs import TokenGymError, make_task
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, table_agent
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.objectives import claim_gradient

G = 3


def against_return(task, size=G, **given):
    agent = table_agent(task, wavering)
    episodes, chances = all_episodes(task, wavering)
    algorithm = Reinforce(task, agent, dtype="float64", reward_scaling=False, group_size=size, **given)
    found = expected_gradient(algorithm, drawn(episodes, chances, size))
    return compare(-found.vector, claim_gradient(task, wavering, "return").flatten())


UNBIASED = {
    ("leave_one_out", "left_out"): 1.0,
    ("leave_one_out", "zero"): 1.0,
    ("mean", "zero"): (G - 1) / G,
    ("none", "left_out"): 1.0,
}


@pytest.mark.parametrize("credit", ["turn", "to_go"])
@pytest.mark.parametrize(("choice", "scale"), UNBIASED.items())
def test_what_is_unbiased_though_the_policy_decides_how_many_turns_there_are(choice, scale, credit):
    found = against_return(Turns(), baseline=choice[0], absent=choice[1], credit=credit)
    assert abs(found.cosine - 1) < 1e-10 and found.error < 1e-10
    assert abs(found.scale - scale) < 1e-10


@pytest.mark.parametrize("credit", ["turn", "to_go"])
def test_the_mean_of_those_that_got_there_shrinks_later_turns_more(credit):
    task = Turns()
    agent, exact = table_agent(task, wavering), claim_gradient(task, wavering, "return")
    episodes, chances = all_episodes(task, wavering)
    algorithm = Reinforce(
        task, agent, dtype="float64", reward_scaling=False, group_size=G, baseline="mean", credit=credit
    )
    found = -expected_gradient(algorithm, drawn(episodes, chances, G)).vector.reshape(exact.shape)
    assert compare(found, exact).cosine < 0.9999
    # By hand: with n of the group at a turn, (n − 1)/n of the gradient is left, n − 1 being drawn from the others.
    second = float(chances[episodes.episode_lengths > 2].sum())
    shares = [left(1.0), left(second)]
    ratios = (found / exact)[exact.abs() > 1e-6].tolist()
    assert abs(shares[0] - (G - 1) / G) < 1e-12 and shares[1] < shares[0] - 0.05
    assert all(min(abs(ratio - share) for share in shares) < 1e-9 for ratio in ratios)
    assert all(min(abs(ratio - share) for ratio in ratios) < 1e-9 for share in shares)


def left(chance):
    """E[(n − 1)/n] with n − 1 of G − 1 others there, each with a chance."""
    shares = (comb(G - 1, m) * chance**m * (1 - chance) ** (G - 1 - m) * m / (m + 1) for m in range(G))
    return sum(shares)


def test_it_holds_where_the_task_draws_too():
    task = Turns(chance=True)
    assert against_return(task, 2, baseline="leave_one_out", absent="zero", credit="turn").error < 1e-10
    assert against_return(task, 2, baseline="mean", absent="left_out", credit="turn").error > 1e-3


def test_baselines_of_cells_with_absent_members():
    returns, cell = np.array([3.0, 1.0, 5.0]), np.array([0, 0, 1])
    members = np.array([4, 4, 4])
    assert step_baselines(returns, cell, "mean", members=members).tolist() == [1.0, 1.0, 1.25]
    np.testing.assert_allclose(step_baselines(returns, cell, "leave_one_out", members=members), [1 / 3, 1.0, 0.0])
    assert step_baselines(returns, cell, "leave_one_out").tolist() == [1.0, 3.0, 0.0]


def test_where_turns_begin():
    task = Turns()
    episodes, _ = all_episodes(task, wavering)
    assert turn_length(task) == 2 and turn_length(make_task("TextGeneration")) is None
    known = turn_numbers(episodes.flat, 2)
    assert known.max() == 1
    # The task speaks between turns, so they are found without their length as well.
    np.testing.assert_array_equal(turn_numbers(episodes.flat), known)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"baseline": "optimal", "absent": "zero"}, "absent is 'zero'"),
        ({"credit": "episode", "absent": "zero"}, "absent is 'zero'"),
        ({"baseline": "value", "credit": "turn"}, "credit is 'turn'"),
    ],
)
def test_what_would_do_nothing_is_refused(given, name):
    with pytest.raises(TokenGymError, match=name):
        Reinforce("LengthBias", **given)


def test_tokens_of_a_turn_share_what_came_from_its_beginning_on():
    task = Turns()
    episodes, _ = all_episodes(task, wavering)
    algorithm = Reinforce(
        task, table_agent(task, wavering), dtype="float64", reward_scaling=False, baseline="none", credit="turn"
    )
    targets = algorithm.prepare(episodes)
    flat, turns = episodes.flat, turn_numbers(episodes.flat, 2)
    for number in range(len(flat)):
        later = (flat.episode == flat.episode[number]) & (turns >= turns[number])
        assert abs(float(targets.advantages[number]) - flat.reward[later].sum()) < 1e-12
    assert torch.isfinite(targets.advantages).all()
