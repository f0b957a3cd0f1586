"""Locks: closed forms, the price of greed, and what slipping hides."""

import itertools

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.diagnostics.lock import Lock, SlipLock

EXACT = {"rel": 0, "abs": 1e-9}


def rewards_of(task, said, start=0):
    engine = Engine(task, 1)
    engine.reset(None, np.array([start], dtype=np.uint64))
    return [float(engine.step(None, np.array([token])).rewards[0]) for token in said]


@pytest.mark.parametrize(("num_tokens", "length", "cost"), [(2, 8, 0.01), (2, 20, 0.01), (5, 3, 0.2), (3, 1, 0.0)])
def test_a_lock_has_its_closed_scores(num_tokens, length, cost):
    task = Lock(num_tokens, length, cost)
    solution = solve(task)
    assert solution.random_return == pytest.approx(num_tokens**-length - cost / num_tokens, **EXACT)
    assert solution.optimal_return == pytest.approx(1 - cost, **EXACT)
    assert (task.random_return, task.optimal_return) == pytest.approx(
        (solution.random_return, solution.optimal_return), **EXACT
    )


def test_every_text_pays_what_the_rule_says():
    task = Lock(num_tokens=3, length=3, cost=0.3, instance_seed=4)
    for said in itertools.product(range(3), repeat=3):
        matches = [token == right for token, right in zip(said, task.code, strict=True)]
        expected = [-0.1 * match for match in matches]
        expected[-1] += all(matches)
        assert rewards_of(task, said) == pytest.approx(expected, **EXACT)


def test_greed_avoids_the_code():
    """A player that never matches loses nothing, and gains more than the random one: the gradient points away."""
    task = Lock()
    solution = solve(task)

    def avoid(tokens, lengths):
        return np.eye(2)[[1 - task.code[length - 1] for length in lengths]]

    assert evaluate_policy(task, avoid).expected_return == 0.0 > solution.random_return
    assert avoid(None, [1]).argmax() != solution.policy()(np.array([[2]]), np.array([1])).argmax()


def test_the_expert_opens_the_lock_and_saves_the_cost_of_a_lost_one():
    task = Lock(num_tokens=3, length=5)
    assert sum(rewards_of(task, task.code)) == pytest.approx(0.99, **EXACT)
    engine = Engine(task, 1)
    engine.reset(None, np.array([0], dtype=np.uint64))
    engine.step(None, np.array([(task.code[0] + 1) % 3]))
    while not engine.over.all():
        assert engine.step(None, engine.expert()).rewards[0] == 0.0


@pytest.mark.parametrize(("num_tokens", "length", "slip"), [(4, 6, 0.1), (4, 6, 0.3), (2, 5, 1.0), (3, 4, 0.0)])
def test_a_slipping_lock_has_its_closed_scores(num_tokens, length, slip):
    task = SlipLock(num_tokens, length, slip)
    solution = solve(task)
    assert solution.random_return == pytest.approx(num_tokens**-length, **EXACT)
    assert solution.optimal_return == pytest.approx((1 - slip + slip / num_tokens) ** length, **EXACT)
    assert (task.random_return, task.optimal_return) == pytest.approx(
        (solution.random_return, solution.optimal_return), **EXACT
    )


def test_a_lock_that_never_slips_is_a_lock_without_cost():
    free, firm = solve(Lock(3, 4, cost=0.0)), solve(SlipLock(3, 4, slip=0.0))
    assert (free.random_return, free.random_variance) == pytest.approx((firm.random_return, firm.random_variance))
    assert (Lock(3, 4, instance_seed=9).code) == SlipLock(3, 4, instance_seed=9).code


def test_every_text_opens_a_slipping_lock_with_its_own_chance():
    task = SlipLock(num_tokens=2, length=3, slip=0.4)
    right, wrong = 0.8, 0.2
    for said in itertools.product(range(2), repeat=3):

        def say(tokens, lengths, said=said):
            return np.eye(2)[[said[length - 1] for length in lengths]]

        matches = sum(token == code for token, code in zip(said, task.code, strict=True))
        assert evaluate_policy(task, say).expected_return == pytest.approx(right**matches * wrong ** (3 - matches))


def test_the_observation_shows_what_was_said_not_what_arrived():
    task = SlipLock(slip=1.0)
    engine = Engine(task, 50)
    engine.reset(None, np.arange(50, dtype=np.uint64))
    while not engine.over.all():
        engine.step(None, engine.expert())
    assert (engine.tokens[:, 1:7] == task.code).all()


@pytest.mark.parametrize("make", [Lock, SlipLock])
def test_codes_hang_on_the_instance_seed(make):
    assert make(instance_seed=3).code == make(instance_seed=3).code
    assert len({make(instance_seed=seed).code for seed in range(8)}) > 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Lock(num_tokens=1), "num_tokens=1"),
        (lambda: Lock(length=0), "length=0"),
        (lambda: Lock(length=10**9), "length=1000000000"),
        (lambda: Lock(cost=1.0), "cost=1.0"),
        (lambda: Lock(cost=-0.1), "cost=-0.1"),
        (lambda: SlipLock(slip=1.5), "slip=1.5"),
        (lambda: SlipLock(slip=float("nan")), "slip=nan"),
        (lambda: SlipLock(num_tokens=0), "num_tokens=0"),
    ],
)
def test_impossible_locks_are_refused(wrong, says):
    with pytest.raises(TokenGymError, match=says):
        wrong()
