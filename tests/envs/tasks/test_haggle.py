"""Haggle: a bargain by hand, closed forms, and its plan against the exact solver."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.games.haggle import Haggle


def bargain(limit: int, asks: list[int]) -> tuple[list[str], list[float]]:
    """The dialogue and the rewards of asking these prices of a buyer with this limit."""
    task = Haggle(lowest_limit=limit, num_prices=10)
    engine = Engine(task, 1)
    starts = iter(range(1000))
    while True:
        engine.reset(None, next(starts))
        if task.state_of(engine._state, 0)[0] == limit:
            break
    rewards = [float(engine.step(None, [ask - 1]).rewards[0]) for ask in asks]
    assert engine.over[0]
    return task.vocabulary.names(engine.tokens[0, 1 : engine.lengths[0]].tolist()), rewards


def test_the_first_ask_within_the_limit_is_paid_less_a_tenth_for_each_refusal():
    assert bargain(6, [9, 8, 6]) == (["9", "no", "8", "no", "6", "deal"], [0.0, 0.0, pytest.approx(6 * 0.81)])
    assert bargain(6, [5]) == (["5", "deal"], [5.0])


def test_four_refusals_end_the_bargain_unpaid():
    said, rewards = bargain(4, [10, 10, 5, 9])
    assert said[1::2] == ["no"] * 4 and rewards == [0.0] * 4


@pytest.mark.parametrize("sizes", [{}, {"discount": 1.0}, {"num_rounds": 1}, {"num_prices": 6, "lowest_limit": 2}])
def test_the_solver_gives_the_closed_form_of_random_and_the_plan_of_the_optimum(sizes):
    task = Haggle(**sizes)
    solution = solve(task)
    assert solution.random_return == pytest.approx(task.random_return, abs=1e-12)
    assert solution.optimal_return == pytest.approx(task.plan[0, task.num_prices + 1][0], abs=1e-12)


def test_one_round_is_a_single_price_against_a_uniform_limit():
    """The best single price maximises price · chance(limit ≥ price): 7 · 4/7."""
    assert solve(Haggle(num_rounds=1)).optimal_return == pytest.approx(max(p * min(1, (11 - p) / 7) for p in range(11)))


def test_the_expert_attains_the_optimum():
    task = Haggle()
    engine = Engine(task, 7)
    engine.reset(None, np.arange(7, dtype=np.uint64))
    engine._state["state"][:] = task.arrays.initial_state  # every limit once
    total = np.zeros(7)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        actions = engine.expert(rows)
        assert actions is not None
        total[rows] += engine.step(rows, actions).rewards
    assert total.mean() == pytest.approx(solve(task).optimal_return, abs=1e-12)


@pytest.mark.parametrize(
    "sizes", [{"num_prices": 0}, {"lowest_limit": 11}, {"num_rounds": 0}, {"discount": 0}, {"num_prices": 1000}]
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(TokenGymError, match=next(iter(sizes))):
        Haggle(**sizes)
