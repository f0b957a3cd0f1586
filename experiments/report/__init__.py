"""What a study found: results, tables, plots and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from . import tables
    from .differences import difference_table
    from .drawing import style
    from .html import installed_version
    from .page import write_report
    from .plots import learning_curves
    from .reliability import accuracy_by_flips, reliability_diagram
    from .results import RunResult, StudyResults, cell_interval, collect, subset, summary

__all__ = [
    "RunResult",
    "StudyResults",
    "accuracy_by_flips",
    "cell_interval",
    "collect",
    "difference_table",
    "installed_version",
    "learning_curves",
    "reliability_diagram",
    "style",
    "subset",
    "summary",
    "tables",
    "write_report",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "RunResult": "results",
        "StudyResults": "results",
        "accuracy_by_flips": "reliability",
        "cell_interval": "results",
        "collect": "results",
        "difference_table": "differences",
        "installed_version": "html",
        "learning_curves": "plots",
        "reliability_diagram": "reliability",
        "style": "drawing",
        "subset": "results",
        "summary": "results",
        "tables": "",
        "write_report": "page",
    },
)
