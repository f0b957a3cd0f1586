"""The worker processes of a study as the study sees them: jobs in, what became of them out.

Whatever a job does (raise, hang, take its process down, leave it in another state) is its own affair: it is reported,
what it left is thrown away, and the next job begins in a process in which no job ran before.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from ...envs import TokenGymError
from . import jobs as study_jobs
from . import worker as worker_process

_POLL_SECONDS = 0.5
_LOG_TAIL = 4000
_START_SECONDS = 300.0
_MOST_STARTS = 3

CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"  # a Mac's own libraries break in a forked process
"""Whether every job gets a forked process; else a worker is replaced after each."""

JOBS = study_jobs
"""Module that prepares and performs jobs."""

UNGUARDED = (
    "a program that runs a study starts worker processes, which import it again: put what it does under "
    "`if __name__ == '__main__':`, so that they find its functions and run nothing"
)
UNGUARDED_EXIT_CODE = 79
"""With which a worker ends that was started by such a program and would run the study again."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job, or a sign that it is at work."""

    job: dict[str, Any]
    """The job."""
    kind: Literal["started", "alive", "told", "result", "refused", "full", "failed", "lost"]
    """Told is something to know of it; refused is bad input; full is a full disk; failed is all else that was raised;
    lost took its process down or had to be ended."""
    values: tuple[Any, ...] = ()
    """What it told or returned; error and traceback where it failed."""
    seconds: float = 0.0
    """Seconds since it was started."""


class Pool:
    """A number of worker processes.

    Args:
        size: How many.
        logs: Folder of their logs.
        stall_timeout: Seconds without a sign of life after which a job's process is ended.
        algorithms: Names of the algorithms that the jobs will ask for.
    """

    def __init__(self, size: int, logs: Path, stall_timeout: float, algorithms: Iterable[str]) -> None:
        self.logs, self.stall_timeout, self.algorithms = logs, stall_timeout, sorted(set(algorithms))
        self.folder = os.getcwd()
        self.size = size
        self.workers: list[_Worker] = []
        self.failed_starts = 0

    def __enter__(self) -> Pool:
        """Start the workers."""
        for index in range(self.size):
            self.workers.append(self._hire(index))
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers, gently where nothing went wrong."""
        for worker in self.workers:
            worker.send(None)
        for worker in self.workers:
            if error[0] is None:
                worker.process.join(5)
            worker.end()

    def work(self, jobs: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
        """Do jobs, in their order as workers come free, and yield what happens to each until all have ended.

        Raises:
            TokenGymError: If no worker process can be started.
        """
        waiting = list(jobs)[::-1]
        while waiting or any(worker.job for worker in self.workers):
            for index, worker in enumerate(self.workers):
                if worker.job is None and waiting:
                    job = waiting.pop()
                    if not worker.process.is_alive() or not worker.fit_for(job):
                        worker.end()
                        worker = self.workers[index] = self._hire(index)
                    yield Outcome(job, "started")
                    worker.give(job)
            busy = [worker for worker in self.workers if worker.job is not None]
            wait([handle for worker in busy for handle in worker.handles], timeout=_POLL_SECONDS)
            for worker in busy:
                yield from self._attend(worker)

    def _hire(self, index: int) -> _Worker:
        return _Worker(self.logs / f"worker-{index}.log", self.folder, self.algorithms)

    def _attend(self, worker: _Worker) -> Iterator[Outcome]:
        """Take in what a busy worker said, or that it says nothing any more."""
        job = worker.job
        assert job is not None
        alive = worker.process.is_alive()  # asked before reading, so that no last message is lost
        for message in worker.messages():
            seconds = time.monotonic() - worker.started
            if message[0] == "ready":
                self.failed_starts = 0
            elif message[0] in ("alive", "told"):
                yield Outcome(job, message[0], message[1:], seconds)
            elif message[0] == "ended":
                yield worker.outcome(message[1])
                return
        if not alive and not worker.ready:
            self._failed_start(worker)
        elif not alive:
            yield worker.outcome(worker.process.exitcode)
        elif worker.ready and time.monotonic() - worker.heard > self.stall_timeout:
            worker.end()
            error = f"no sign of life for {self.stall_timeout:g} seconds; its process was ended"
            worker.answer = ("lost", error, "")
            yield worker.outcome(None)
        elif not worker.ready and time.monotonic() - worker.heard > max(_START_SECONDS, self.stall_timeout):
            self._failed_start(worker)

    def _failed_start(self, worker: _Worker) -> None:
        """Start a worker again that died or hung before it was ready, or raise if that goes on."""
        self.failed_starts += 1
        worker.end()
        code = worker.process.exitcode
        if code == UNGUARDED_EXIT_CODE:
            raise TokenGymError(UNGUARDED)
        main = getattr(sys.modules["__main__"], "__file__", None)
        if main is not None and not os.path.exists(main):
            raise TokenGymError(
                f"the workers of a study import the program that runs it, but {main} is no file: save it"
            )
        if self.failed_starts >= _MOST_STARTS or code == 1:  # 1: an error that would come again
            told = " ".join(worker.printed().split())[-500:] or "nothing; see what was printed above"
            raise TokenGymError(f"a worker process could not start (exit code {code}); it said in {worker.log}: {told}")
        index = self.workers.index(worker)
        self.workers[index] = self._hire(index)
        assert worker.job is not None
        self.workers[index].give(worker.job)


class _Worker:
    """A worker process and the job that it is busy with."""

    def __init__(self, log: Path, folder: str, algorithms: list[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.log = log
        self.connection: Connection
        self.connection, child = context.Pipe()
        arguments = (child, str(log), folder, JOBS.prepare, JOBS.perform, algorithms, CAN_FORK)
        # No daemon, which could not start processes of its own; it ends with us by itself.
        self.process = context.Process(target=worker_process.main, args=arguments)
        with _one_thread():
            self.process.start()
        child.close()
        self.job: dict[str, Any] | None = None
        self.answer: tuple[Any, ...] | None = None  # what came of it, once it said so
        self.ready = self.used = False
        self.log_start = self._log_size()
        self.started = self.heard = time.monotonic()

    @property
    def handles(self) -> tuple[Connection, int]:
        """What becomes ready when there is something to attend to."""
        return self.connection, self.process.sentinel

    def fit_for(self, job: dict[str, Any]) -> bool:
        """Return whether the job would begin in a process in which none ran before, which a check need not."""
        return CAN_FORK or not self.used or job["kind"] == "check"

    def give(self, job: dict[str, Any]) -> None:
        """Let it do a job."""
        self.job, self.answer = job, None
        self.log_start = self._log_size()
        self.started = self.heard = time.monotonic()
        self.send(job)

    def send(self, job: dict[str, Any] | None) -> None:
        """Send a job, or None to let it leave."""
        try:
            self.connection.send(job)
        except OSError:
            pass  # the process died; its sentinel tells

    def messages(self) -> Iterator[tuple[Any, ...]]:
        """Yield what it said since."""
        try:
            while self.connection.poll():
                message = self.connection.recv()
                self.heard = time.monotonic()
                if message[0] == "ready":
                    self.ready = True
                elif message[0] in ("result", "refused", "full", "failed"):
                    self.answer = message
                yield message
        except (EOFError, OSError):
            return

    def outcome(self, exit_code: int | None) -> Outcome:
        """Return what became of its job, which has ended."""
        job, answer = self.job, self.answer
        assert job is not None
        self.job, self.answer, self.used = None, None, True
        if answer is None:
            answer = ("lost", f"its process died with exit code {exit_code}", "")
        if answer[0] == "lost":
            answer = (*answer[:2], self.printed())
        kind: Any = answer[0]
        return Outcome(job, kind, answer[1:], time.monotonic() - self.started)

    def end(self) -> None:
        """End the process, at last by force."""
        self.process.terminate()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()

    def printed(self) -> str:
        """Return the end of what was printed since the job began, which names a crash better than an exit code."""
        if not self.log.exists():
            return ""
        with open(self.log, "rb") as file:
            file.seek(max(self.log_start, self._log_size() - _LOG_TAIL))
            return file.read().decode(errors="replace")

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let a process that starts meanwhile inherit one thread for numerical libraries, and one order of hashes."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in (*names, "PYTHONHASHSEED")}
    os.environ.update(dict.fromkeys(names, "1"))
    os.environ.setdefault("PYTHONHASHSEED", "0")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
