"""Runs a study on persistent local processes, reruns only what is missing, and records every failure.

This module imports no torch; each worker process does, on one thread. A run that raises, hangs or takes its process
down is recorded as failed with what is known about it, and the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from ..envs.errors import TokenGymError
from . import worker as worker_process
from .lock import sole_use
from .runs import RunFolder, run_folder
from .study import RunSpec, Study

_POLL_SECONDS = 0.5
_LOG_TAIL = 4000


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, for whoever shows progress."""

    kind: Literal["started", "alive", "done", "failed"]
    """What happened."""
    spec: RunSpec
    """The run."""
    tokens: int = 0
    """Agent tokens so far."""
    score: float | None = None
    """Latest or, when done, final normalised score."""
    error: str = ""
    """One-line error of a failed run."""
    seconds: float = 0.0
    """Seconds since the run was started."""


def plan(study: Study, out: str | Path, *, replace_changed: bool = False) -> list[RunSpec]:
    """Return the runs that are not finished, in the study's order.

    Args:
        study: The study.
        out: Folder of its results.
        replace_changed: Run again what was finished under another configuration, instead of raising.

    Raises:
        TokenGymError: If a run folder is corrupt, or holds a finished run of another configuration.
    """
    todo = []
    for spec in study.runs():
        folder = run_folder(out, spec)
        if folder.state(spec, changed_counts_as_missing=replace_changed) != "done":
            todo.append(spec)
    return todo


def run_study(
    study: Study,
    out: str | Path,
    *,
    workers: int | None = None,
    replace_changed: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
    on_plan: Callable[[list[RunSpec]], None] = lambda todo: None,
) -> int:
    """Run what is missing of a study and return the number of runs that failed.

    Args:
        study: The study.
        out: Folder of its results; created if needed.
        workers: Processes; by default one for each core, and never more than there are runs.
        replace_changed: As in `plan`.
        on_event: Called for everything that happens to a run.
        on_plan: Called once with the runs that will be run.

    Raises:
        TokenGymError: Before the first run, if the study asks for something impossible or a run folder is corrupt.
        KeyboardInterrupt: After the workers were ended; finished runs stay, calling again does the rest.
    """
    if workers is not None and workers <= 0:
        raise TokenGymError(f"workers must be greater than 0, got {workers}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with sole_use(out, "running the study"):
        todo = plan(study, out, replace_changed=replace_changed)
        on_plan(todo)
        if not todo:
            return 0
        pool = _Pool(min(workers or _cores(), len(todo)), out, study.stall_timeout, on_event)
        with pool, _terminate_as_interrupt():
            pool.check(todo)
            return pool.run(todo)


class _Worker:
    """A worker process and the run that it is busy with."""

    def __init__(self, log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.log = log
        self.log_start = log.stat().st_size if log.exists() else 0
        self.connection: Connection
        self.connection, child = context.Pipe()
        self.process = context.Process(target=worker_process.main, args=(child, str(log)), daemon=True)
        with _one_thread():
            self.process.start()
        child.close()
        self.spec: RunSpec | None = None
        self.started = self.heard = time.monotonic()

    def give(self, spec: RunSpec, folder: RunFolder) -> None:
        self.spec = spec
        self.started = self.heard = time.monotonic()
        self.send({"kind": "run", "spec": spec.to_dict(), "folder": str(folder.path)})

    def send(self, job: dict[str, Any] | None) -> None:
        try:
            self.connection.send(job)
        except OSError:
            pass  # the process died; its sentinel tells

    def messages(self) -> Iterator[tuple[Any, ...]]:
        try:
            while self.connection.poll():
                message = self.connection.recv()
                self.heard = time.monotonic()
                yield message
        except (EOFError, OSError):
            return

    def end(self) -> None:
        self.process.terminate()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()

    def printed(self) -> str:
        """Return the end of what the process printed, which names a crash better than its exit code."""
        if not self.log.exists():
            return ""
        data = self.log.read_bytes()[self.log_start :]
        return data[-_LOG_TAIL:].decode(errors="replace")


class _Pool:
    def __init__(self, size: int, out: Path, stall_timeout: float, on_event: Callable[[Event], None]) -> None:
        self.out, self.stall_timeout, self.on_event = out, stall_timeout, on_event
        self.size = size
        self.workers: list[_Worker] = []

    def __enter__(self) -> _Pool:
        self.workers = [self._hire(index) for index in range(self.size)]
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers:
            worker.send(None)
        for worker in self.workers:
            if error[0] is None:
                worker.process.join(5)
            worker.end()

    def _hire(self, index: int) -> _Worker:
        return _Worker(self.out / "logs" / f"worker-{index}.log")

    def check(self, todo: list[RunSpec]) -> None:
        """Let a worker build every algorithm once and raise what it finds wrong with the input."""
        cells = {(spec.environment, spec.label): spec.to_dict() for spec in todo}
        worker = self.workers[0]
        worker.send({"kind": "check", "specs": list(cells.values())})
        while True:
            wait([worker.connection, worker.process.sentinel], timeout=_POLL_SECONDS)
            for message in worker.messages():
                if message[0] == "checked":
                    if message[1]:
                        raise TokenGymError(message[1])
                    return
            if not worker.process.is_alive():
                raise TokenGymError(
                    f"a worker process could not start (exit code {worker.process.exitcode}); "
                    f"the end of {worker.log}: {worker.printed().strip()[-500:]}"
                )

    def run(self, todo: list[RunSpec]) -> int:
        """Run everything and return the number of failures."""
        waiting, failures = list(reversed(todo)), 0
        while waiting or any(worker.spec for worker in self.workers):
            for index, worker in enumerate(self.workers):
                if worker.spec is None and waiting:
                    if not worker.process.is_alive():
                        worker.end()
                        worker = self.workers[index] = self._hire(index)
                    spec = waiting.pop()
                    folder = run_folder(self.out, spec)
                    folder.begin(spec)  # here too: a process that dies at once leaves a folder that tells what failed
                    worker.give(spec, folder)
                    self.on_event(Event("started", spec))
            busy = [worker for worker in self.workers if worker.spec is not None]
            handles = [handle for worker in busy for handle in (worker.connection, worker.process.sentinel)]
            wait(handles, timeout=_POLL_SECONDS)
            for worker in busy:
                failures += self._attend(worker)
        return failures

    def _attend(self, worker: _Worker) -> int:
        """Take in what a busy worker said, or that it says nothing any more; return 1 if its run failed."""
        spec = worker.spec
        assert spec is not None
        alive = worker.process.is_alive()  # asked before reading, so that no last message is lost
        for message in worker.messages():
            seconds = time.monotonic() - worker.started
            if message[0] == "alive":
                self.on_event(Event("alive", spec, tokens=message[1], score=message[2], seconds=seconds))
            elif message[0] == "done":
                worker.spec = None
                self.on_event(Event("done", spec, spec.total_tokens, message[1], seconds=seconds))
                return 0
            elif message[0] == "failed":
                return self._failed(worker, message[1], message[2])
        if not alive:
            error = f"its process died with exit code {worker.process.exitcode}"
            return self._failed(worker, error, worker.printed())
        if time.monotonic() - worker.heard > self.stall_timeout:
            worker.end()
            error = f"no sign of life for {self.stall_timeout:g} seconds; its process was ended"
            return self._failed(worker, error, worker.printed())
        return 0

    def _failed(self, worker: _Worker, error: str, traceback: str) -> int:
        spec = worker.spec
        assert spec is not None
        worker.spec = None
        run_folder(self.out, spec).fail(error, traceback)
        self.on_event(Event("failed", spec, error=error, seconds=time.monotonic() - worker.started))
        return 1


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let a process that starts meanwhile inherit one thread for each of the numerical libraries."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that the workers are ended either way; possible in the main thread only."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
