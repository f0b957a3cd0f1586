"""The process that does a study's jobs, each in a process of its own that ends with it.

The worker imports what all jobs need, torch among it, and then forks a child for every job: a copy of a process in
which nothing ever ran. Whatever a job changes (default types, the working folder, environment variables, random
generators, patched modules, memory) ends with its child, so that no run can depend on the one before. A fork takes some
hundredths of a second where importing torch takes seconds. Where the system cannot fork safely, the worker does the job
itself, and the study replaces it afterwards.

Answers are plain tuples: ``("ready",)`` once, and for each job what it tells, ``("result", value)``,
``("refused", error, traceback)``, ``("full", error, traceback)`` where the disk is full, or
``("failed", error, traceback)``, and last ``("ended", exit code)``. What is
printed goes to a log.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import Pipe, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ...envs import TokenGymError
from ..streams import make_readable
from .full_disk import is_disk_full

_POLL_SECONDS = 1.0
_LONGEST = 4000


def main(
    connection: Connection,
    log: str,
    folder: str,
    prepare: Callable[[Sequence[str]], None],
    perform: Callable[..., Any],
    algorithms: Sequence[str],
    fork: bool,
) -> None:
    """Do jobs until None arrives or the parent is gone.

    Args:
        connection: The worker's end of the pipe.
        log: File that takes what the process prints.
        folder: Working folder, to which the relative paths of a study belong.
        prepare: Imports what the jobs need.
        perform: Does one job.
        algorithms: Names that it prepares for.
        fork: Whether every job gets a child of its own.
    """
    # Ctrl-C reaches the whole group; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(folder)
    _print_to(log)
    parent = parent_process()
    sentinel = parent.sentinel if parent is not None else None
    if fork:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the child is ended, too
    elif sentinel is not None:
        threading.Thread(target=_leave_with, args=(sentinel,), daemon=True).start()
    prepare(algorithms)
    gc.collect()
    gc.freeze()  # a child's collector then leaves the memory that it shares alone
    connection.send(("ready",))
    while True:
        wait([connection] if sentinel is None else [connection, sentinel])
        if not connection.poll():  # only the sentinel: the parent is gone
            return
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return
        if not fork:
            _perform(perform, job, connection.send)
            connection.send(("ended", 0))
        elif not _perform_in_child(perform, job, connection, sentinel):
            return


def _perform_in_child(perform: Callable[..., Any], job: Any, connection: Connection, sentinel: int | None) -> bool:
    """Do a job in a forked process and hand its messages on; return False if the parent is gone."""
    reading, writing = Pipe(duplex=False)
    lifeline, held = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)  # a group of its own, with all that it may start
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            reading.close()
            connection.close()
            os.close(held)
            threading.Thread(target=_leave_with, args=(lifeline,), daemon=True).start()
            _perform(perform, job, writing.send)
            code = 0
        finally:
            # No clean-up of what the parent's process began, and no exception beyond this point.
            _flush_output()
            os._exit(code)
    writing.close()
    os.close(lifeline)
    status: int | None = None
    try:
        while status is None:
            ready = wait([reading] if sentinel is None else [reading, sentinel], timeout=_POLL_SECONDS)
            if sentinel in ready:
                return False
            if reading not in ready:
                # Asked for besides the end of the pipe, which something that the job started may hold open.
                ended, code = os.waitpid(child, os.WNOHANG)
                status = code if ended else None
            elif not _hand_on(reading, connection):
                status = os.waitpid(child, 0)[1]
        while reading.poll() and _hand_on(reading, connection):
            pass
    finally:
        _end_group(child, reap=status is None)
        reading.close()
        os.close(held)
    connection.send(("ended", os.waitstatus_to_exitcode(status or 0)))
    return True


def _hand_on(reading: Connection, connection: Connection) -> bool:
    """Hand one message on; return False at the end of the pipe."""
    try:
        message = reading.recv()
    except (EOFError, OSError):
        return False
    connection.send(message)
    return True


def _perform(perform: Callable[..., Any], job: Any, tell: Callable[[tuple[Any, ...]], None]) -> None:
    try:
        answer: tuple[Any, ...] = ("result", perform(job, tell))
    except BaseException as error:  # a reward that leaves the program fails its own run
        if is_disk_full(error):
            answer = ("full", _short(str(error)), _short(traceback.format_exc()))
        elif isinstance(error, TokenGymError):
            answer = ("refused", _short(str(error)), _short(traceback.format_exc()))
        else:
            answer = ("failed", _short(f"{type(error).__name__}: {error}"), _short(traceback.format_exc()))
    tell(answer)


def _short(text: str) -> str:
    """Return a text of a length that a pipe takes in one piece, so that no message can be cut."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 4]}\n…\n{text[-_LONGEST * 3 // 4 :]}"


def _end_group(child: int, reap: bool) -> None:
    """Kill what is left of a child's process group."""
    for kill in (os.killpg, os.kill) if reap else (os.killpg,):  # it may not have its own group yet
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    if reap:
        os.waitpid(child, 0)


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def _print_to(log: str) -> None:
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    _flush_output()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    make_readable()  # what a reward prints may not fail for want of Unicode
    faulthandler.enable()


def _leave_with(other: int) -> None:
    """End this process, and what it started, when the process at the other end is gone.

    An orphan would write beside a study that runs again.
    """
    wait([other])
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
