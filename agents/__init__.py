"""What acts: models, heads, cached decoding, policies and players.

`build_agent` makes an `Agent` from a name, a dict, a checkpoint folder or a transformers model. What needs torch is
imported when it is first asked for: checking a specification does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..envs.lazy import lazy_names
from .specs import check_agent_spec

if TYPE_CHECKING:
    from .agent import Agent, Evaluation
    from .base_weights import stands_on_same
    from .build import adapt_agent, build_agent, rebuild_agent
    from .decoding import AdvantageWeighted, Exploring, OwnDistribution, joint_q
    from .policies import (
        Act,
        AgentPolicy,
        BestOfN,
        ExpertPlayer,
        ExternalPolicy,
        HumanPlayer,
        LaggedPolicy,
        MaskedPolicy,
        NucleusPolicy,
        OptimalPlayer,
        Player,
        Policy,
        RandomPlayer,
        ReferenceExploring,
        certain,
        policy_of,
    )
    from .sampling import Sampler
    from .scoring import ReferenceLogits, Scores
    from .session import Session, StepOutput

__all__ = [
    "Act",
    "AdvantageWeighted",
    "Agent",
    "AgentPolicy",
    "BestOfN",
    "Evaluation",
    "ExpertPlayer",
    "Exploring",
    "OwnDistribution",
    "ExternalPolicy",
    "HumanPlayer",
    "LaggedPolicy",
    "MaskedPolicy",
    "NucleusPolicy",
    "OptimalPlayer",
    "Player",
    "Policy",
    "RandomPlayer",
    "ReferenceExploring",
    "ReferenceLogits",
    "Sampler",
    "Scores",
    "Session",
    "StepOutput",
    "joint_q",
    "adapt_agent",
    "build_agent",
    "certain",
    "check_agent_spec",
    "policy_of",
    "rebuild_agent",
    "stands_on_same",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Act": "policies",
        "AdvantageWeighted": "decoding",
        "Agent": "agent",
        "AgentPolicy": "policies",
        "BestOfN": "policies",
        "Evaluation": "agent",
        "ExpertPlayer": "policies",
        "Exploring": "decoding",
        "OwnDistribution": "decoding",
        "ExternalPolicy": "policies",
        "HumanPlayer": "policies",
        "LaggedPolicy": "policies",
        "MaskedPolicy": "policies",
        "NucleusPolicy": "policies",
        "OptimalPlayer": "policies",
        "Player": "policies",
        "Policy": "policies",
        "RandomPlayer": "policies",
        "ReferenceExploring": "policies",
        "ReferenceLogits": "scoring",
        "Sampler": "sampling",
        "Scores": "scoring",
        "Session": "session",
        "StepOutput": "session",
        "joint_q": "decoding",
        "adapt_agent": "build",
        "build_agent": "build",
        "certain": "policies",
        "policy_of": "policies",
        "rebuild_agent": "build",
        "stands_on_same": "base_weights",
    },
)
