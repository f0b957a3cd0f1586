"""Runs a study on local processes, one for each run, reruns only what is missing, and records every failure.

This module imports no torch; the worker processes do, on one thread. A run that raises, hangs or takes its process down
is recorded as failed with what is known about it, and the others go on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from typing import Annotated, Any, Literal

from ...envs import TokenGymError
from ...envs.checking import Range, checked
from .check import check_study
from .folder import run_folder
from .full_disk import REMEDY
from .lock import sole_use
from .pool import UNGUARDED_EXIT_CODE, Outcome, Pool
from .spec import RunSpec, Study, reference_key


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, for whoever shows progress."""

    kind: Literal["checking", "solving", "started", "alive", "told", "done", "failed"]
    """What happened; before the first run starts, algorithms are checked and environments solved."""
    spec: RunSpec
    """The run."""
    tokens: int = 0
    """Agent tokens so far."""
    score: float | None = None
    """Latest or, when done, final normalised score."""
    error: str = ""
    """One-line error of a failed run."""
    text: str = ""
    """What was told: where an interrupted run goes on, or why it starts again."""
    seconds: float = 0.0
    """Seconds since the run was started."""


@checked
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


@checked
def run_study(
    study: Study,
    out: str | Path,
    *,
    workers: Annotated[int, Range(least=1, most=4096)] | None = None,
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
        on_plan: Called once with the runs that will be run, when all that they need was found to be right.

    Raises:
        TokenGymError: Before the first run, if the study asks for something impossible or a run folder is corrupt.
        KeyboardInterrupt: After the workers were ended; finished runs stay, calling again does the rest.
    """
    if getattr(current_process(), "_inheriting", False):
        # We are a worker of this very study, in the middle of importing the program that runs it.
        sys.exit(UNGUARDED_EXIT_CODE)
    out = Path(out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    with sole_use(out, "running the study"):
        todo = plan(study, out, replace_changed=replace_changed)
        if not todo:
            on_plan(todo)
            return 0
        check_study(study)
        names = {spec.algorithm for spec in todo}
        progress = _Progress(out, on_event)
        with _terminate_as_interrupt(), Pool(_size(workers, todo), out / "logs", study.stall_timeout, names) as pool:
            broken = progress.check(pool, todo, study.device)
            on_plan(todo)
            todo, found = progress.solve(pool, progress.without(todo, broken))
            progress.run(pool, todo, found, {"save_every": study.save_every, "device": study.device})
        return progress.failures


_Broken = dict[tuple[str, str], tuple[str, str]]
"""The environment and label of cells that cannot be run, with the error and its traceback."""


class _Progress:
    """Takes what the pool reports, keeps the run folders, and counts failures."""

    def __init__(self, out: Path, on_event: Callable[[Event], None]) -> None:
        self.out, self.on_event = out, on_event
        self.failures = 0

    def check(self, pool: Pool, todo: list[RunSpec], device: str) -> _Broken:
        """Let the workers build every algorithm once; return the cells whose algorithm could not be built, and why.

        An algorithm that hangs or takes its process down fails its own runs. One that raises by a fault, not by bad
        input, is left to its runs, which say where.

        Raises:
            TokenGymError: For bad input, so that a study stops before its first run.
        """
        cells = {(spec.environment, spec.label): spec for spec in todo}
        broken: _Broken = {}
        jobs = ({"kind": "check", "spec": spec.to_dict(), "device": device} for spec in cells.values())
        for outcome in _work(pool, jobs):
            spec = RunSpec.from_dict(outcome.job["spec"])
            if outcome.kind == "started":
                self.on_event(Event("checking", spec))
            elif outcome.kind == "refused":
                raise TokenGymError(f"{spec.environment}/{spec.label}: {outcome.values[0]}")
            elif outcome.kind == "lost":
                error = f"{outcome.values[0]}, while its algorithm was built"
                broken[spec.environment, spec.label] = error, outcome.values[1]
        return broken

    def solve(self, pool: Pool, todo: list[RunSpec]) -> tuple[list[RunSpec], dict[str, Any]]:
        """Solve every environment once for all its runs; return the runs that it worked for, and what was found."""
        tasks = {reference_key(spec): spec for spec in todo}
        found: dict[str, Any] = {}
        broken: dict[str, tuple[str, str]] = {}
        for outcome in _work(pool, ({"kind": "solve", "spec": spec.to_dict()} for spec in tasks.values())):
            spec = RunSpec.from_dict(outcome.job["spec"])
            if outcome.kind == "started":
                self.on_event(Event("solving", spec))
            elif outcome.kind == "result":
                found[reference_key(spec)] = outcome.values[0]
            elif outcome.kind != "alive":
                broken[reference_key(spec)] = (
                    f"{_error(outcome)}, while the environment was solved",
                    outcome.values[1],
                )
        failed = {
            (spec.environment, spec.label): broken[reference_key(spec)]
            for spec in todo
            if reference_key(spec) in broken
        }
        return self.without(todo, failed), found

    def run(self, pool: Pool, todo: list[RunSpec], found: dict[str, Any], how: dict[str, Any]) -> None:
        """Make the runs; ``how`` is what the study says of all of them."""
        jobs = (
            {
                "kind": "run",
                "spec": spec.to_dict(),
                "folder": str(run_folder(self.out, spec).path),
                "references": found[reference_key(spec)],
                **how,
            }
            for spec in todo
        )
        for outcome in _work(pool, jobs):
            spec, seconds = RunSpec.from_dict(outcome.job["spec"]), outcome.seconds
            folder = run_folder(self.out, spec)
            if outcome.kind == "started":
                folder.prepare(spec)  # here too: a process that dies at once leaves a folder that tells what failed
                self.on_event(Event("started", spec))
            elif outcome.kind == "alive":
                self.on_event(Event("alive", spec, *outcome.values, seconds=seconds))
            elif outcome.kind == "told":
                self.on_event(Event("told", spec, text=outcome.values[0], seconds=seconds))
            elif outcome.kind == "result":
                self.on_event(Event("done", spec, spec.total_tokens, outcome.values[0], seconds=seconds))
            elif folder.sealed():  # its process died after its last word was written
                score = folder.verify()["score"]
                self.on_event(Event("done", spec, spec.total_tokens, score, seconds=seconds))
            else:
                self._failed(spec, _error(outcome), outcome.values[1], seconds, lost=outcome.kind == "lost")

    def without(self, todo: list[RunSpec], broken: _Broken) -> list[RunSpec]:
        """Record the runs of broken cells as failed, and return the others."""
        for spec in todo:
            if (spec.environment, spec.label) in broken:
                run_folder(self.out, spec).begin(spec)
                self.on_event(Event("started", spec))
                self._failed(spec, *broken[spec.environment, spec.label])
        return [spec for spec in todo if (spec.environment, spec.label) not in broken]

    def _failed(self, spec: RunSpec, error: str, traceback: str, seconds: float = 0.0, *, lost: bool = False) -> None:
        self.failures += 1
        run_folder(self.out, spec).fail(error, traceback, lost=lost)
        self.on_event(Event("failed", spec, error=error, seconds=seconds))


def _work(pool: Pool, jobs: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
    """Let the pool do jobs; a full disk, which is no run's fault and would fail all others, ends it."""
    for outcome in pool.work(jobs):
        if outcome.kind == "full":
            name = RunSpec.from_dict(outcome.job["spec"]).name
            raise TokenGymError(f"the disk is full: {name} could not be written ({outcome.values[0]}); {REMEDY}")
        yield outcome


def _error(outcome: Outcome) -> str:
    return ("TokenGymError: " if outcome.kind == "refused" else "") + outcome.values[0]


def _size(workers: int | None, todo: list[RunSpec]) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(workers or cores, len(todo))


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
