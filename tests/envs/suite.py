"""The suite as the tests see it: which of its tasks are finite, and episodes played in big batches."""

from collections.abc import Callable

import numpy as np
from sample_tasks import INSTALLED

from tokengym.envs import TASKS, Engine, FiniteTask, Task, derive_start
from tokengym.envs.exact.solver import Solution

FINITE = [name for name in INSTALLED if issubclass(TASKS[name].load(), FiniteTask)]


def play(
    task: Task,
    seed: int,
    episodes: int,
    choose: Callable[[Engine, np.ndarray], np.ndarray],
    after: Callable[[Engine, np.ndarray, np.ndarray], None] = lambda engine, rows, actions: None,
) -> np.ndarray:
    """Play all episodes at once and return their returns.

    Args:
        task: The task.
        seed: The episodes start from `derive_start(seed, 0 … episodes − 1)`.
        episodes: How many.
        choose: What the rows (m,) that go on say.
        after: Told the rows (m,) that go on after a step, and what they said.
    """
    engine = Engine(task, episodes)
    engine.reset(None, derive_start(seed, np.arange(episodes)))
    returns, rows = np.zeros(episodes), np.arange(episodes)
    while len(rows):
        actions = choose(engine, rows)
        result = engine.step(rows, actions)
        returns[rows] += result.rewards
        going_on = ~(result.terminated | result.truncated)
        rows, actions = rows[going_on], actions[going_on]
        after(engine, rows, actions)
    return returns


def random_returns(task: Task, seed: int, episodes: int) -> np.ndarray:
    """Returns of uniformly random play among all tokens, float64 (episodes,)."""
    draw = np.random.default_rng(seed)
    return play(task, seed, episodes, lambda _, rows: draw.integers(task.vocabulary.num_actions, size=len(rows)))


def optimal_returns(solution: Solution, seed: int, episodes: int) -> np.ndarray:
    """Returns of the optimal player, who remembers the whole episode, float64 (episodes,)."""
    follower = solution.follower(episodes)
    best = [values.argmax(axis=1) for values in solution.optimal_q]
    begun = False

    def choose(engine: Engine, rows: np.ndarray) -> np.ndarray:
        nonlocal begun
        if not begun:
            follower.begin(rows, engine.tokens, engine.lengths)
            begun = True
        return follower.gather(best, rows)

    def after(engine: Engine, rows: np.ndarray, actions: np.ndarray) -> None:
        follower.follow(rows, actions, engine.tokens[rows], engine.lengths[rows])

    return play(solution.task, seed, episodes, choose, after)
