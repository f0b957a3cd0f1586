"""What acts: models, heads, cached decoding and players.

`build_agent` makes an `Agent` from a name, a dict, a checkpoint folder or a transformers model. What needs torch is
imported when it is first asked for: checking a specification does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..envs.lazy import lazy_names
from .specs import check_agent_spec

if TYPE_CHECKING:
    from .agent import Agent, Evaluation
    from .build import build_agent, rebuild_agent
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
    "check_agent_spec",
    "rebuild_agent",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Agent": "agent",
        "Evaluation": "agent",
        "ExpertPlayer": "players",
        "HumanPlayer": "players",
        "OptimalPlayer": "players",
        "RandomPlayer": "players",
        "Sampler": "sampling",
        "Session": "session",
        "StepOutput": "session",
        "build_agent": "build",
        "rebuild_agent": "build",
    },
)
