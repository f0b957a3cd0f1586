"""Chunks: what is as wide as the vocabulary is held for some states at a time, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.checkpoint import checkpoint

CHUNK_BYTES = 36 << 20
"""What one tensor as wide as the vocabulary may take; a few of them are alive at a time, in any pass.

Just above 32 MiB: from there on glibc maps memory and gives it back at once. Smaller tensors come from its heap, and
the holes that they leave there doubled the peak of an update at 50,000 tokens."""


def chunks(count: int, width: int, itemsize: int = 4, limit: int | None = None) -> list[slice]:
    """Cut `count` states into runs as long as `limit` bytes allow, the last one shorter; at least one state each.

    Args:
        count: states, N.
        width: numbers a state, such as the size of the vocabulary.
        itemsize: bytes a number.
        limit: bytes of a run; None is `CHUNK_BYTES`.
    """
    most = max(1, (CHUNK_BYTES if limit is None else limit) // max(1, width * itemsize))
    return [slice(first, min(first + most, count)) for first in range(0, max(count, 1), most)]


def checkpointed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and keep only its arguments for the backward pass, which calls it again."""
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
