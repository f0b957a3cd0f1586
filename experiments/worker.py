"""The process that runs a study's runs one after another; it alone of the two imports torch.

A worker receives jobs over a pipe and answers with plain tuples: ``("ready",)``, ``("alive", tokens, score)``,
``("checked", message)``, ``("done", score)``, ``("failed", error, traceback)``. What its libraries print goes to a log.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .study import RunSpec

_SECONDS_BETWEEN_SIGNS = 0.3


def main(connection: Connection, log: str) -> None:
    """Work off jobs until None arrives or the parent is gone.

    Args:
        connection: The worker's end of the pipe.
        log: File that takes what the process prints.
    """
    # Ctrl-C reaches the whole group; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _print_to(log)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    # Tiny models on more threads than free cores are several times slower than on one.
    torch.set_num_threads(1)
    from . import training  # noqa: F401  (imported here, so that a job does not wait for it)

    connection.send(("ready",))
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return
        connection.send(_check(job["specs"]) if job["kind"] == "check" else _run(connection, job))


def _check(specs: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Build the algorithm of each run once, so that bad input stops a study before its first run."""
    from ..envs.errors import TokenGymError
    from .training import make_algorithm

    for data in specs:
        spec = RunSpec.from_dict(data)
        try:
            make_algorithm(spec)
        except TokenGymError as error:
            return ("checked", f"{spec.environment}/{spec.label}: {error}")
        except Exception:
            # Not bad input but a fault: it shall fail its own runs and leave the others alone.
            traceback.print_exc()
    return ("checked", "")


def _run(connection: Connection, job: dict[str, Any]) -> tuple[Any, ...]:
    from .runs import RunFolder
    from .training import train_run

    last = [0.0]

    def sign_of_life(tokens: int, score: float | None) -> None:
        now = time.monotonic()
        if now - last[0] > _SECONDS_BETWEEN_SIGNS:
            last[0] = now
            connection.send(("alive", tokens, score))

    folder = RunFolder(job["folder"])
    try:
        return ("done", train_run(RunSpec.from_dict(job["spec"]), folder, sign_of_life))
    except Exception as error:
        return ("failed", f"{type(error).__name__}: {error}", traceback.format_exc())


def _print_to(log: str) -> None:
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.enable()


def _leave_with_parent() -> None:
    """End this process when the parent is gone, so that an orphan never writes beside a study that runs again."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
