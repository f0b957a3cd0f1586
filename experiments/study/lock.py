"""A lock on a folder, so that no two processes write one run or one study."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...envs import TokenGymError

LOCK = ".lock"
"""The name of the file that is locked; it stays in the folder and says nothing."""


@contextmanager
def sole_use(folder: Path, what: str) -> Iterator[None]:
    """Hold a lock on a folder, which the system releases when the process ends, however it does.

    Args:
        folder: The folder, which is there.
        what: What another process would be doing in it, for the message, such as ``"running the study"``.

    Raises:
        TokenGymError: If another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # a system without POSIX locks
        yield
        return
    with open(folder / LOCK, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise  # a file system without locks, which is not the other process's fault
            raise TokenGymError(
                f"another process is {what} in {folder}; wait for it, or choose another --out"
            ) from None
        yield
