"""What a study's worker processes do: check an algorithm, solve an environment, make a run.

A job is a dictionary with its ``kind`` and the ``spec`` of a run; what it returns is plain data. Importing this
needs no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from .spec import RunSpec

_SECONDS_BETWEEN_SIGNS = 0.3

Tell = Callable[[tuple[Any, ...]], None]
"""Sends a message to the study, such as ``("alive", tokens, score)``."""


def prepare(algorithms: Sequence[str]) -> None:
    """Import what every job needs, so that none waits for it.

    Args:
        algorithms: Registered names of the algorithms that will be asked for; unknown ones are left to their job.
    """
    import torch

    # Tiny models on more threads than free cores are several times slower than on one.
    torch.set_num_threads(1)
    from ...algorithms import ALGORITHMS
    from . import run as training  # noqa: F401

    for name in algorithms:
        if name in ALGORITHMS.built_in:  # others may be a file of the user's own, which may fail: left to its job
            ALGORITHMS[name]


def perform(job: dict[str, Any], tell: Tell) -> Any:
    """Do a job and return what came of it.

    Args:
        job: ``kind`` is "check" (build the algorithm, so that bad input stops a study before its first run), "solve"
            (random and optimal return of the environment) or "run" (the run itself, which also takes its ``folder``,
            the ``references`` that were solved, and ``save_every``); what builds an algorithm takes a ``device``.
        tell: Takes signs of life.

    Raises:
        TokenGymError: Bad input.
    """
    from ...agents.seeding import seed_process
    from ...envs import make_task
    from ..evaluation import References
    from .folder import RunFolder
    from .lock import sole_use
    from .run import Saving, make_algorithm, run_references, train_run

    spec = RunSpec.from_dict(job["spec"])
    # Ours draws from generators of its own; what a user's reward draws from the process's is the run's, too.
    seed_process(spec.seed)
    if job["kind"] == "check":
        make_algorithm(spec, device=job["device"])
        return None
    if job["kind"] == "solve":
        return run_references(spec, make_task(spec.env_id, **spec.env_kwargs)).to_dict()
    last = [0.0]

    def sign_of_life(tokens: int, score: float | None) -> None:
        now = time.monotonic()
        if now - last[0] > _SECONDS_BETWEEN_SIGNS:
            last[0] = now
            tell(("alive", tokens, score))

    folder = RunFolder(job["folder"])
    folder.path.mkdir(parents=True, exist_ok=True)
    with sole_use(folder.path, "training"):
        return train_run(
            spec,
            folder,
            sign_of_life,
            References(**job["references"]),
            saving=Saving(every=job["save_every"]),
            device=job["device"],
            tell=lambda text: tell(("told", text)),
        )
