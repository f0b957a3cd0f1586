"""Over the whole suite: the solver's scores are those of the episodes that the environments really play."""

from dataclasses import asdict, replace
from typing import cast

import numpy as np
import pytest
from sample_tasks import INSTALLED, each, shared_task
from suite import FINITE, optimal_returns, random_returns

from tokengym.envs import TASKS, FiniteTask
from tokengym.envs.exact.solver import Solution, solve
from tokengym.envs.scores import suite_scores
from tokengym.experiments.suite.pages import read_examples
from tokengym.experiments.suite.scores import example_of, scores_of

STALE = "out of date: run `python -m tokengym.experiments.suite.pages` with the names of what changed"


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


def test_the_written_scores_and_the_example_are_the_solver_s(solution, request):
    name = request.node.callspec.params["solution"]
    same_as_written(name, solution)


@pytest.mark.parametrize("name", each(name for name in INSTALLED if name not in FINITE))
def test_the_written_sizes_and_the_example_are_the_environment_s(name):
    same_as_written(name, None)


def same_as_written(name: str, solution: Solution | None) -> None:
    task = shared_task(name)
    known = suite_scores()[name]
    if known.episodes is not None:  # what was measured takes minutes; others measure some of it again
        random = None if known.random_sd is not None else known.random
        known = replace(known, random=random, random_sd=None, expert=None, expert_sd=None, episodes=None)
    written, computed = asdict(known), asdict(scores_of(task, solution))
    assert written.keys() == computed.keys()
    for key, value in computed.items():
        assert written[key] == (value if value is None else pytest.approx(value, rel=1e-6, abs=1e-9)), (key, STALE)
    if TASKS[name].extra is None:  # other versions of a simulator may go other ways
        assert read_examples()[name] == example_of(task, solution), STALE
