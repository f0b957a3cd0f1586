"""What compares: command line, study runner, statistics, plots and reports, without torch until a run needs it."""

from __future__ import annotations

from .audit import audit
from .callbacks import EvaluateEvery
from .evaluation import Evaluation, References, evaluate_agent, references
from .report import StudyResults, collect
from .study import Study, load_study, run_study
from .transcribing import transcripts

__all__ = [
    "EvaluateEvery",
    "Evaluation",
    "References",
    "Study",
    "StudyResults",
    "audit",
    "collect",
    "evaluate_agent",
    "load_study",
    "references",
    "run_study",
    "transcripts",
]
