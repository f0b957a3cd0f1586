"""What the methods of the library do in expectation: their own code, over every batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....envs.lazy import lazy_names

if TYPE_CHECKING:
    from .entry import audit, listable

__all__ = [
    "audit",
    "listable",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "audit": "entry",
        "listable": "entry",
    },
)
