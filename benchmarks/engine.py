"""The engine and the vector face against Gymnasium's `SyncVectorEnv`: same task, same seeds, same tokens.

A step is one token of one row. All three restart a row whose episode ends, within the measured time. Branches of the
rows are forked in one call, and set one by one to saved states. Alone:
`python -m benchmarks.run engine`.
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tokengym.envs import Engine, Task, TokenEnv, TokenVectorEnv, derive_start, make_task

from .handwritten import HandwrittenLattice
from .measure import Comparison, rate
from .single import array_env
from .suite import ROWS, SEED, engine_step

TASK = "Lattice"
BRANCHES = 8
"""Of each row."""
BATCHES, PEER_BATCHES = 1000, 60
"""Batches of steps in one run, of ours and of the peer: long enough for the clock, short enough to alternate often."""


def comparisons(quick: bool) -> list[Comparison]:
    """Return steps per second of the engine and of the vector face, each against `SyncVectorEnv`.

    The peer holds single environments of one row in arrays; without a target, this library's own, which step without
    arrays, and ones written by hand for one task.
    """
    task = make_task(TASK)
    rng = np.random.default_rng(SEED)
    size = (100 if quick else BATCHES, ROWS)
    actions = rng.integers(task.vocabulary.num_actions, size=size)
    few = actions[: 10 if quick else PEER_BATCHES]
    engine, vector = drive(task, actions), stepper(TokenVectorEnv(ROWS, task), actions)
    arrays = stepper(synchronous(lambda: array_env(task)), few)
    single = stepper(synchronous(lambda: TokenEnv(task)), few)
    by_hand = stepper(synchronous(HandwrittenLattice), few)
    contests = [
        ("engine, steps", engine, "SyncVectorEnv, a row in arrays", arrays, 20.0),
        ("vector face, steps", vector, "SyncVectorEnv, a row in arrays", arrays, 10.0),
        ("engine, steps", engine, "SyncVectorEnv of TokenEnv", single, None),
        ("vector face, steps", vector, "SyncVectorEnv of TokenEnv", single, None),
        ("engine, steps", engine, "SyncVectorEnv, written by hand", by_hand, None),
        ("vector face, steps", vector, "SyncVectorEnv, written by hand", by_hand, None),
    ]
    steps = [
        Comparison(
            name=name,
            setting=f"{TASK}, {ROWS} rows",
            peer=peer,
            unit="steps/s",
            target=target,
            ours=rate(ours),
            theirs=rate(theirs),
            warm_up=(ours, theirs),
        )
        for name, ours, peer, theirs, target in contests
    ]
    return steps + [branches(name, quick) for name in (TASK, "FrozenLake")]


def branches(name: str, quick: bool) -> Comparison:
    """Return branches per second of all rows, forked with fresh random streams against saved and restored."""
    engine = Engine(make_task(name), ROWS * (1 + BRANCHES))
    sources = np.repeat(np.arange(ROWS), BRANCHES)
    targets = ROWS + np.arange(ROWS * BRANCHES)
    streams = derive_start(SEED, targets)
    engine.reset(np.arange(ROWS), streams[:ROWS])
    pairs = list(zip(sources.tolist(), targets.tolist(), strict=True))[: 64 if quick else None]
    times = 20 if quick else 500

    def forked() -> int:
        for _ in range(times):
            engine.fork(sources, targets, starts=streams)
        return times * len(targets)

    def restored() -> int:
        for source, target in pairs:
            engine.set_state(target, engine.get_state(source))
        return len(pairs)

    return Comparison(
        name="fork, branches",
        setting=f"{name}, {ROWS} × {BRANCHES} rows",
        peer="get_state and set_state",
        unit="branches/s",
        target=50.0,
        ours=rate(forked),
        theirs=rate(restored),
        warm_up=(forked, restored),
    )


def synchronous(make: Callable[[], gymnasium.Env]) -> SyncVectorEnv:
    """Gymnasium's own vector environment, with the vector face's way of restarting rows."""
    return SyncVectorEnv([make] * ROWS, autoreset_mode=AutoresetMode.SAME_STEP)


def drive(task: Task, actions: np.ndarray) -> Callable[[], int]:
    """Step the engine as a learner does."""
    step = engine_step(task)

    def work() -> int:
        for batch in actions:
            step(batch)
        return actions.size

    return work


def stepper(envs: TokenVectorEnv | SyncVectorEnv, actions: np.ndarray) -> Callable[[], int]:
    """Step a vector environment, which restarts its rows by itself."""
    envs.reset(seed=SEED)

    def work() -> int:
        for batch in actions:
            envs.step(batch)
        return actions.size

    return work
