"""What acts: models, heads, cached decoding and players.

`build_agent` makes an `Agent` from a name, a dict, a checkpoint folder or a transformers model.
"""

from __future__ import annotations

from .agent import Agent, Evaluation
from .build import build_agent
from .players import ExpertPlayer, HumanPlayer, OptimalPlayer, RandomPlayer
from .sampling import Sampler
from .session import Session, StepOutput

__all__ = [
    "Agent",
    "Evaluation",
    "ExpertPlayer",
    "HumanPlayer",
    "OptimalPlayer",
    "RandomPlayer",
    "Sampler",
    "Session",
    "StepOutput",
    "build_agent",
]
