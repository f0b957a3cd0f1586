"""Who acts: the one protocol, policies of agents, whole turns, players that do not learn, and what makes one of each.

Only the policies of agents need torch; they are imported when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .beside import ReferenceExploring
    from .given import GivenPredictions, GivenProbabilities, policy_of
    from .nucleus import NucleusPolicy
    from .of_agents import AgentPolicy, LaggedPolicy, MaskedPolicy
    from .players import ExpertPlayer, HumanPlayer, OptimalPlayer, Player, RandomPlayer
    from .policy import Act, Policy, ProbabilityPolicy, certain, draw_actions
    from .turns import BestOfN, ExternalPolicy

__all__ = [
    "Act",
    "AgentPolicy",
    "BestOfN",
    "ExpertPlayer",
    "ExternalPolicy",
    "GivenPredictions",
    "GivenProbabilities",
    "HumanPlayer",
    "LaggedPolicy",
    "MaskedPolicy",
    "NucleusPolicy",
    "OptimalPlayer",
    "Player",
    "Policy",
    "ProbabilityPolicy",
    "RandomPlayer",
    "ReferenceExploring",
    "certain",
    "draw_actions",
    "policy_of",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Act": "policy",
        "AgentPolicy": "of_agents",
        "BestOfN": "turns",
        "ExpertPlayer": "players",
        "ExternalPolicy": "turns",
        "GivenPredictions": "given",
        "GivenProbabilities": "given",
        "HumanPlayer": "players",
        "LaggedPolicy": "of_agents",
        "MaskedPolicy": "of_agents",
        "NucleusPolicy": "nucleus",
        "OptimalPlayer": "players",
        "Player": "players",
        "Policy": "policy",
        "ProbabilityPolicy": "policy",
        "RandomPlayer": "players",
        "ReferenceExploring": "beside",
        "certain": "policy",
        "draw_actions": "policy",
        "policy_of": "given",
    },
)
