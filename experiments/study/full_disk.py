"""Full disks: told apart from what is wrong with a run, whose fault they are not."""

from __future__ import annotations

import errno

REMEDY = "make room; what was finished stays, and the same command goes on from there"
"""What to do about it."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or what it came from, is that there is no room left for a file."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if f"os error {errno.ENOSPC}" in str(found):  # as libraries in Rust say it, such as safetensors
            return True
        found = found.__cause__ or found.__context__
    return False
