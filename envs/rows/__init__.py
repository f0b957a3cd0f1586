"""What an engine's rows are made of, and other ways to move them than a token for all."""

from __future__ import annotations

from .arguments import as_array, read_fork, read_row, read_rows, read_streams, read_turns
from .buffer import TokenBuffer
from .copies import CopiedRows
from .results import AppendResult, RowResult, StepResult, reordered
from .single import SingleRows, only_row

__all__ = [
    "AppendResult",
    "CopiedRows",
    "RowResult",
    "SingleRows",
    "StepResult",
    "TokenBuffer",
    "as_array",
    "only_row",
    "read_fork",
    "read_row",
    "read_rows",
    "read_streams",
    "read_turns",
    "reordered",
]
