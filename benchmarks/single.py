"""What `gymnasium.make` returns, stepped one environment at a time, against Gymnasium's own environments of that name.

Both with their default wrappers, random actions, and a reset after each end, within the measured time. Alone:
`python -m benchmarks.run single`. How fast every other environment is says the part `suite`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.envs.registration import find_highest_version

from tokengym.envs import Engine, Task, TokenEnv
from tokengym.envs.rows import RowResult, only_row

from .measure import Comparison, rate

SEED, SECONDS = 0, 0.3
TARGETS = {"FrozenLake": 0.5, "Taxi": 1.0, "CartPole": 1 / 3, "MountainCar": None, "Acrobot": None}
"""What the ratios have to reach; None only reports them."""


def comparisons(quick: bool) -> list[Comparison]:
    """Return steps per second of single environments against Gymnasium's own."""
    seconds = SECONDS / 6 if quick else SECONDS
    return [contest(name, target, seconds) for name, target in TARGETS.items()]


def contest(name: str, target: float | None, seconds: float) -> Comparison:
    """Return the comparison of one environment with its namesake."""
    peer = f"{name}-v{find_highest_version(ns=None, name=name)}"
    ours, theirs = stepper(f"tokengym/{name}-v0", seconds), stepper(peer, seconds)
    return Comparison(
        name="single environment, steps",
        setting=f"{name}, through gymnasium.make",
        peer=f"Gymnasium's own {peer}",
        unit="steps/s",
        target=target,
        ours=rate(ours),
        theirs=rate(theirs),
        warm_up=(ours, theirs),
    )


def stepper(env_id: str, seconds: float) -> Callable[[], int]:
    """Return what steps a new environment of that id for a while, and says how often it did."""
    return walker(gymnasium.make(env_id), seconds)


def walker(env: gymnasium.Env, seconds: float) -> Callable[[], int]:
    """Return what steps an environment for a while, and says how often it did."""
    count = int(env.action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
    actions = itertools.cycle(np.random.default_rng(SEED).integers(count, size=997))
    env.reset(seed=SEED)

    def work() -> int:
        steps, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            for action in itertools.islice(actions, 50):
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()
            steps += 50
        return steps

    return work


class ArrayEngine(Engine):
    """An engine whose rows are stepped in arrays even one by one."""

    def reset_row(self, row: int, start: int) -> None:
        """Begin an episode in one row."""
        self.reset([row], [start])

    def step_row(self, row: int, action: int) -> RowResult:
        """Say one token in one row."""
        return only_row(self.step(None, np.array([action])))


def array_env(task: Task) -> TokenEnv:
    """Return the single face over arrays of one row: the peer that the targets of engine and vector face were set for.

    `TokenEnv` itself steps in plain Python numbers, several times faster.
    """
    env = TokenEnv(task)
    env.engine = ArrayEngine(task, 1)
    return env
