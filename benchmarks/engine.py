"""The engine and the vector face against Gymnasium's `SyncVectorEnv`: same task, same seeds, same tokens.

A step is one token of one row. All three restart a row whose episode ends, within the measured time. Alone:
`python -m benchmarks.run engine`.
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tokengym.envs import Task, TokenEnv, TokenVectorEnv, make_task

from .handwritten import HandwrittenLattice
from .measure import Comparison, rate
from .suite import ROWS, SEED, engine_step

TASK = "Lattice"
BATCHES, PEER_BATCHES = 1000, 60
"""Batches of steps in one run, of ours and of the peer: long enough for the clock, short enough to alternate often."""


def comparisons(quick: bool) -> list[Comparison]:
    """Return steps per second of the engine and of the vector face, each against `SyncVectorEnv`.

    The peer holds single environments of this library, and, without a target, ones written by hand for one task.
    """
    task = make_task(TASK)
    rng = np.random.default_rng(SEED)
    size = (100 if quick else BATCHES, ROWS)
    actions = rng.integers(task.vocabulary.num_actions, size=size)
    few = actions[: 10 if quick else PEER_BATCHES]
    engine, vector = drive(task, actions), stepper(TokenVectorEnv(ROWS, task), actions)
    single = stepper(synchronous(lambda: TokenEnv(task)), few)
    by_hand = stepper(synchronous(HandwrittenLattice), few)
    contests = [
        ("engine, steps", engine, "SyncVectorEnv of TokenEnv", single, 20.0),
        ("vector face, steps", vector, "SyncVectorEnv of TokenEnv", single, 10.0),
        ("engine, steps", engine, "SyncVectorEnv, written by hand", by_hand, None),
        ("vector face, steps", vector, "SyncVectorEnv, written by hand", by_hand, None),
    ]
    return [
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
