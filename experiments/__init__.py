"""What compares: command line, study runner, statistics, plots and reports. Nothing here imports torch by itself."""

from __future__ import annotations

from .callbacks import EvaluateEvery
from .evaluation import Evaluation, References, evaluate_agent, references
from .results import StudyResults, collect
from .runner import run_study
from .study import Study
from .study_file import load_study
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
