"""The whole pipeline of learning from comparisons: a file, its stages, and the report that judges them by the gold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .check import check_pipeline
    from .file import find_pipeline, load_pipeline, packaged_pipelines
    from .page import write_report
    from .results import gather, summary
    from .running import StageEvent, plan, run_pipeline
    from .spec import Pipeline

__all__ = [
    "Pipeline",
    "StageEvent",
    "check_pipeline",
    "find_pipeline",
    "gather",
    "load_pipeline",
    "packaged_pipelines",
    "plan",
    "run_pipeline",
    "summary",
    "write_report",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Pipeline": "spec",
        "StageEvent": "running",
        "check_pipeline": "check",
        "find_pipeline": "file",
        "gather": "results",
        "load_pipeline": "file",
        "packaged_pipelines": "file",
        "plan": "running",
        "run_pipeline": "running",
        "summary": "results",
        "write_report": "page",
    },
)
