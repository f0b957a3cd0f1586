"""The engine and the vector face against Gymnasium's `SyncVectorEnv`, side by side: same task, seeds and tokens.

Run it with `python -m benchmarks.engine`; quote the ratios only, times belong to a machine. A step is one token of one
row. All three restart a row whose episode ends, at the same places, within the measured time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tokengym.envs import Engine, Task, TokenEnv, TokenVectorEnv, derive_start, make_task

TASK, ROWS, SEED = "Lattice", 64, 0
BATCHES = {"engine": 1000, "vector": 1000, "sync": 40}
"""Batches of steps in one run: enough for the clock to be exact, few enough to alternate often."""


def engine_run(task: Task, actions: np.ndarray) -> Callable[[], None]:
    """Steps the engine as a learner does: no observation is copied, ended rows go on with their next start."""
    rows = actions.shape[1]
    engine = Engine(task, rows)
    seeds, episodes = np.arange(SEED, SEED + rows), np.zeros(rows, np.int64)
    engine.reset(None, derive_start(seeds, episodes))

    def run() -> None:
        for batch in actions:
            result = engine.step(None, batch)
            if (result.terminated | result.truncated).any():
                over = np.flatnonzero(engine.over)
                episodes[over] += 1
                engine.reset(over, derive_start(seeds[over], episodes[over]))

    return run


def face_run(envs: TokenVectorEnv | SyncVectorEnv, actions: np.ndarray) -> Callable[[], None]:
    """Steps a vector environment, which resets its rows by itself."""
    envs.reset(seed=SEED)

    def run() -> None:
        for batch in actions:
            envs.step(batch)

    return run


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(runs: int = 7, rows: int = ROWS) -> dict[str, float]:
    """Medians over alternating runs.

    Args:
        runs: Runs of each contestant, in turn.
        rows: Rows of each batch.

    Returns:
        Steps/s of the engine, the vector face and `SyncVectorEnv` over as many `TokenEnv`s, and the median, lowest
        and highest of the ratios to the last.
    """
    task = make_task(TASK)
    rng = np.random.default_rng(SEED)
    actions = {name: rng.integers(task.vocabulary.num_actions, size=(count, rows)) for name, count in BATCHES.items()}
    sync = SyncVectorEnv([lambda: TokenEnv(task)] * rows, autoreset_mode=AutoresetMode.SAME_STEP)
    contestants = {
        "engine": engine_run(task, actions["engine"]),
        "vector": face_run(TokenVectorEnv(rows, task), actions["vector"]),
        "sync": face_run(sync, actions["sync"]),
    }
    for run in contestants.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, run in contestants.items():
            rates[name].append(BATCHES[name] * rows / seconds(run))
    results = {f"engine/{name}/steps_per_second": statistics.median(values) for name, values in rates.items()}
    for name in ("engine", "vector"):
        ratios = [ours / theirs for ours, theirs in zip(rates[name], rates["sync"], strict=True)]
        results[f"engine/{name}/ratio"] = statistics.median(ratios)
        results[f"engine/{name}/ratio_low"], results[f"engine/{name}/ratio_high"] = min(ratios), max(ratios)
    return results


def main() -> None:
    """Print what `measure` returns, one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="alternating runs behind each median")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of a batch")
    arguments = parser.parse_args()
    for name, value in measure(arguments.runs, arguments.rows).items():
        print(f"{name:35s} {value:14,.1f}")


if __name__ == "__main__":
    main()
