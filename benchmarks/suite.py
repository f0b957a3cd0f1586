"""Every finite and token environment of the suite: engine and vector face against Gymnasium's `SyncVectorEnv`.

Beside them, by itself, the single environment that `gymnasium.make` returns. Environments around an external simulator
are left out: there the simulator is what is measured. Alone, or for some environments only:
`python -m benchmarks.run suite`, `python -m benchmarks.suite Lattice Copy`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tokengym.envs import TASKS, Engine, FiniteTask, Task, TextTask, TokenEnv, TokenVectorEnv, derive_start
from tokengym.envs.tasks.control.gym_task import Gym

from . import measure
from .measure import Comparison, rate
from .single import array_env, walker

ROWS, SEED = 64, 0
SECONDS = 0.06
"""One run: with five runs each of two faces and of the peer, about a second for an environment."""
ENGINE, VECTOR, TEXT = 20.0, 10.0, 3.0
"""What the ratios have to reach; where an environment answers in strings, `TEXT` for both."""
SINGLE = 40_000.0
"""Steps per second that a single finite environment has to reach."""


def comparisons(quick: bool) -> list[Comparison]:
    """Return two comparisons for each environment; with `quick` for no variants, and shorter ones."""
    found = []
    for name, entry in TASKS.items():
        if entry.missing or (quick and entry.variant_of is not None) or is_simulator(entry.load()):
            continue
        found += compared(name, SECONDS / 6 if quick else SECONDS)
    return found


def is_simulator(task: type) -> bool:
    """Whether a task steps one foreign environment object for each row."""
    return issubclass(task, Gym)


def compared(name: str, seconds: float = SECONDS) -> list[Comparison]:
    """Return the comparisons of the engine and of the vector face with the peer, and the speed of a single environment.

    All are made when first run.
    """
    contest = Contest(name, seconds)
    kind = TASKS[name].load()
    text = issubclass(kind, TextTask)
    alone = Comparison(
        name="single environment, steps",
        setting=name,
        peer="no peer; processor time",
        unit="steps/s",
        target=SINGLE if issubclass(kind, FiniteTask) else None,
        ours=rate(contest.alone, time.process_time),
        warm_up=(contest.alone,),
    )
    batched = [
        Comparison(
            name=f"{face}, steps",
            setting=f"{name}, {ROWS} rows",
            peer="SyncVectorEnv, a row in arrays",
            unit="steps/s",
            target=TEXT if text else target,
            ours=rate(ours),
            theirs=rate(contest.single),
            warm_up=(ours, contest.single),
        )
        for face, ours, target in (("engine", contest.engine, ENGINE), ("vector face", contest.vector, VECTOR))
    ]
    return [*batched, alone]


class Contest:
    """The ways to step one environment, for a while each; they restart the rows whose episode ends.

    Only one environment's are kept at a time: what the last one held is let go when the next is begun.
    """

    _current: Contest | None = None

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._steps: dict[str, Callable[[np.ndarray], object]] = {}

    def engine(self) -> int:
        """Step the engine as a learner does: nothing is copied."""
        return self._work("engine")

    def vector(self) -> int:
        """Step the vector face."""
        return self._work("vector")

    def single(self) -> int:
        """Step Gymnasium's vector environment over single ones."""
        return self._work("single")

    def alone(self) -> int:
        """Step what `gymnasium.make` returns."""
        self._take_the_stage()
        return self._alone()

    def _take_the_stage(self) -> None:
        if Contest._current is not self:
            if Contest._current is not None:
                Contest._current._steps.clear()
                del Contest._current._alone
            Contest._current = self
            self._prepare()

    def _work(self, way: str) -> int:
        self._take_the_stage()
        step, actions, said = self._steps[way], self._actions, 0
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            step(actions[said % len(actions)])
            said += 1
        return said * ROWS

    def _prepare(self) -> None:
        env = gymnasium.make(f"tokengym/{self._name}-v0")
        assert isinstance(env.unwrapped, TokenEnv)
        task = env.unwrapped.task
        self._alone = walker(env, self._seconds)
        rng = np.random.default_rng(SEED)
        self._actions = rng.integers(task.vocabulary.num_actions, size=(997, ROWS))
        vector = TokenVectorEnv(ROWS, task)
        single = SyncVectorEnv([lambda: array_env(task)] * ROWS, autoreset_mode=AutoresetMode.SAME_STEP)
        vector.reset(seed=SEED)
        single.reset(seed=SEED)
        self._steps = {"engine": engine_step(task), "vector": vector.step, "single": single.step}


def engine_step(task: Task) -> Callable[[np.ndarray], object]:
    """Return what says one token in every row of an engine, and begins the next episode where one ended."""
    engine = Engine(task, ROWS)
    seeds, episodes = np.arange(SEED, SEED + ROWS), np.zeros(ROWS, np.int64)
    engine.reset(None, derive_start(seeds, episodes))

    def step(actions: np.ndarray) -> None:
        result = engine.step(None, actions)
        over = np.flatnonzero(result.terminated | result.truncated)
        if len(over):
            episodes[over] += 1
            engine.reset(over, derive_start(seeds[over], episodes[over]))

    return step


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure some environments and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=list(TASKS), metavar="NAME")
    results = [
        measure.run(comparison, 5) for name in parser.parse_args(arguments).names for comparison in compared(name)
    ]
    print(measure.markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
