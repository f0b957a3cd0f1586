"""What an engine's rows are made of, and other ways to move them than a token for all."""

from __future__ import annotations

from .single import SingleRows, only_row

__all__ = [
    "SingleRows",
    "only_row",
]
