"""The audit's page, `docs/audit.md`: a row for every loss, made by one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....envs.lazy import lazy_names

if TYPE_CHECKING:
    from .rows import row_of
    from .writing import main, makers, table_line, written

__all__ = [
    "main",
    "makers",
    "row_of",
    "table_line",
    "written",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "main": "writing",
        "makers": "writing",
        "row_of": "rows",
        "table_line": "writing",
        "written": "writing",
    },
)
