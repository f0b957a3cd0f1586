"""Over the whole suite: the solver's scores are those of the episodes that the environments really play."""

from typing import cast

import numpy as np
import pytest
from suite import FINITE, each, optimal_returns, random_returns, shared_task

from tokengym.envs import FiniteTask
from tokengym.envs.exact import Solution, solve


@pytest.fixture(scope="module", params=each(FINITE))
def solution(request) -> Solution:
    """Solved once for all tests of an environment: pytest runs those together and then drops it."""
    return solve(cast(FiniteTask, shared_task(request.param)), beta=0.2)


def agrees(returns: np.ndarray, mean: float, variance: float) -> None:
    error = (variance / len(returns)) ** 0.5
    assert abs(returns.mean() - mean) <= 4 * error + 1e-9


def test_random_episodes_agree_with_the_solver(solution):
    returns = random_returns(solution.task, seed=1, episodes=20_000)
    agrees(returns, solution.random_return, solution.random_variance)


def test_optimal_episodes_agree_with_the_solver(solution):
    returns = optimal_returns(solution, seed=2, episodes=2_000)
    agrees(returns, solution.optimal_return, solution.optimal_variance)
