"""Chunks: what is as wide as the vocabulary is held for some states at a time, forward and backward."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 36 << 20
"""What one tensor as wide as the vocabulary may take; a few of them are alive at a time, in any pass.

Just above 32 MiB: from there on glibc maps memory and gives it back at once. Smaller tensors come from its heap, and
the holes that they leave there doubled the peak of an update at 50,000 tokens."""

WIDE = 8_192
"""From so many actions on, what is as wide as the vocabulary counts as large, and runs take half of `CHUNK_BYTES`: such
agents have glibc give smaller blocks back, too (`return_large_blocks`)."""


@lru_cache(maxsize=1)
def return_large_blocks() -> bool:
    """Let glibc give blocks of 8 MiB and more back to the system when they are freed, from now on in this process.

    By itself it raises that limit, up to 32 MiB, when such blocks are freed, and keeps the next ones in its heap, where
    the holes that tensors of many widths leave add up: learning at 50,000 tokens took a third more memory, and the more
    the longer it went on. Where the environment sets ``MALLOC_MMAP_THRESHOLD_``, or with another C library, nothing is
    changed.

    Returns:
        Whether the limit was set.
    """
    if not sys.platform.startswith("linux") or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 8 << 20))
    except (AttributeError, OSError):  # another C library
        return False


def return_free_memory() -> bool:
    """Have glibc give back at once all that its heap holds free; it takes some milliseconds.

    A model of 135 million parameters in float32 consists of blocks of a few megabytes, which the heap keeps when they
    are freed: half a gigabyte after each model that was built and let go.

    Returns:
        Whether there was anything to give back; False with another C library.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):  # another C library
        return False


_M_MMAP_THRESHOLD = -3


def chunks(count: int, width: int, itemsize: int = 4, limit: int | None = None) -> list[slice]:
    """Cut `count` states into runs as long as `limit` bytes allow, the last one shorter; at least one state each.

    Args:
        count: states, N.
        width: numbers a state, such as the size of the vocabulary.
        itemsize: bytes a number.
        limit: bytes of a run; None is `CHUNK_BYTES`, or half of it from `WIDE` actions on.
    """
    if limit is None:
        limit = CHUNK_BYTES // 2 if width >= WIDE else CHUNK_BYTES
    most = max(1, limit // max(1, width * itemsize))
    return [slice(first, min(first + most, count)) for first in range(0, max(count, 1), most)]


def checkpointed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and keep only its arguments for the backward pass, which calls it again."""
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
