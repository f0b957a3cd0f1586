"""Aimed kills: end a process, and all that it started, just before one chosen change of its files.

Python tells an audit hook of every file that is opened, renamed, removed or made. Counting those below one folder gives
each moment of a run a number that is the same every time, so that a kill can be aimed at a moment, not at a second. All
processes of a command count together, in a file: a study's own, its workers, and the one that each run is forked into.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def install(root: str, count: str, at: int | None = None, log: str | None = None) -> None:
    """Count the changes below ``root`` from now on.

    Args:
        root: The folder that is watched.
        count: A file that grows by a byte with each change, whichever process makes it.
        at: The change, counted from 1, before which all are killed; None kills nothing.
        log: A file to which each change is appended as a line; None writes none.
    """
    root = os.path.abspath(root)
    group = os.getpgrp()
    busy = False
    flush = os.fsync

    def see(what: str, path: Any) -> None:
        nonlocal busy
        if busy or not isinstance(path, (str, bytes, os.PathLike)):
            return
        # Removing a tree names its files relative to an open folder.
        name = os.fsdecode(path)
        if what not in ("os.remove", "os.rmdir") and not os.path.abspath(name).startswith(root):
            return
        if os.path.isabs(name) and not name.startswith(root):
            return
        busy = True
        with open(count, "ab", buffering=0) as file:
            file.write(b".")
            number = os.fstat(file.fileno()).st_size
        if log is not None:
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{what} {os.path.basename(name)}\n")
        busy = False
        if at is not None and number >= at:
            os.killpg(group, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)  # the run of a study has a group of its own

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            see(event, arguments[0])
        elif event in _CHANGES:
            see(event, arguments[0])

    def counted_flush(descriptor: Any) -> None:
        see("fsync", os.path.join(root, "fsync"))
        flush(descriptor)

    os.fsync = counted_flush
    sys.addaudithook(hook)
