"""What a study found: results, tables, plots and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from . import tables
    from .differences import difference_table
    from .drawing import grid, palette, style
    from .html import embedded, installed_version, made_by, page_of
    from .page import write_report
    from .plots import learning_curves
    from .reliability import accuracy_by_flips, reliability_diagram
    from .results import RunResult, StudyResults, cell_interval, collect, kl_ends, subset, summary
    from .tables import Cell, Table, to_markdown

__all__ = [
    "Cell",
    "RunResult",
    "StudyResults",
    "Table",
    "accuracy_by_flips",
    "cell_interval",
    "collect",
    "difference_table",
    "embedded",
    "grid",
    "installed_version",
    "kl_ends",
    "learning_curves",
    "made_by",
    "page_of",
    "palette",
    "reliability_diagram",
    "style",
    "subset",
    "summary",
    "tables",
    "to_markdown",
    "write_report",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Cell": "tables",
        "RunResult": "results",
        "StudyResults": "results",
        "Table": "tables",
        "accuracy_by_flips": "reliability",
        "cell_interval": "results",
        "collect": "results",
        "difference_table": "differences",
        "embedded": "html",
        "grid": "drawing",
        "installed_version": "html",
        "kl_ends": "results",
        "learning_curves": "plots",
        "made_by": "html",
        "page_of": "html",
        "palette": "drawing",
        "reliability_diagram": "reliability",
        "style": "drawing",
        "subset": "results",
        "summary": "results",
        "tables": "",
        "to_markdown": "tables",
        "write_report": "page",
    },
)
