"""Chunks: what is as wide as the vocabulary is held for some states at a time, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 1 << 24
"""What one tensor as wide as the vocabulary may take. A few of them are alive at a time, in any pass."""


def chunks(count: int, width: int, itemsize: int = 4, limit: int | None = None) -> list[slice]:
    """Cut `count` states into runs of nearly equal size, each at most `limit` bytes; at least one state each.

    Args:
        count: states, N.
        width: numbers a state, such as the size of the vocabulary.
        itemsize: bytes a number.
        limit: bytes of a run; None is `CHUNK_BYTES`.
    """
    most = max(1, (CHUNK_BYTES if limit is None else limit) // max(1, width * itemsize))
    parts = max(1, -(-count // most))
    bounds = [count * part // parts for part in range(parts + 1)]
    return [slice(first, last) for first, last in pairwise(bounds)]


def checkpointed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and keep only its arguments for the backward pass, which calls it again."""
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
