"""What compares: command line, study runner, statistics, plots and reports. Nothing here imports torch by itself."""

from __future__ import annotations

from .callbacks import EvaluateEvery
from .evaluation import Evaluation, References, evaluate_agent, references
from .report.results import StudyResults, collect
from .study.file import load_study
from .study.runner import run_study
from .study.spec import Study
from .transcribing import transcripts

__all__ = [
    "EvaluateEvery",
    "Evaluation",
    "References",
    "Study",
    "StudyResults",
    "collect",
    "evaluate_agent",
    "load_study",
    "references",
    "run_study",
    "transcripts",
]
