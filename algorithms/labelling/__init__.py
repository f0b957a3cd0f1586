"""Who says which of two is better, and which pairs they are asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .asking import Comparisons, Labeller, label_episodes, label_in_rounds, label_pairs, rank_episodes
    from .choosing import choose_pairs
    from .judging import ModelJudge, Question, TextJudge, both_orders
    from .questions import read_questions
    from .scoring import score_episodes
    from .simulated import SimulatedLabeller

__all__ = [
    "Comparisons",
    "Labeller",
    "ModelJudge",
    "Question",
    "SimulatedLabeller",
    "TextJudge",
    "both_orders",
    "choose_pairs",
    "label_episodes",
    "label_in_rounds",
    "label_pairs",
    "rank_episodes",
    "read_questions",
    "score_episodes",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Comparisons": "asking",
        "Labeller": "asking",
        "ModelJudge": "judging",
        "Question": "judging",
        "SimulatedLabeller": "simulated",
        "TextJudge": "judging",
        "both_orders": "judging",
        "choose_pairs": "choosing",
        "label_episodes": "asking",
        "label_in_rounds": "asking",
        "label_pairs": "asking",
        "rank_episodes": "asking",
        "read_questions": "questions",
        "score_episodes": "scoring",
    },
)
