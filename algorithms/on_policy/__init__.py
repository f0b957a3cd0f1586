"""Learning from fresh episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .a2c import A2C
    from .actor_critic import ActorCritic
    from .asymre import AsymRE
    from .base import OnPolicy, Targets
    from .expert_iteration import ExpertIteration
    from .grpo import GRPO, Grouped
    from .ppo import PPO, Proximal
    from .raft import RAFT
    from .reinforce import Reinforce
    from .reinforce_pp import ReinforcePP
    from .repeated import Repeated
    from .rloo import RLOO
    from .topr import TOPR
    from .vtrace import VTrace

__all__ = [
    "A2C",
    "ActorCritic",
    "AsymRE",
    "ExpertIteration",
    "GRPO",
    "Grouped",
    "OnPolicy",
    "PPO",
    "Proximal",
    "RAFT",
    "RLOO",
    "Reinforce",
    "ReinforcePP",
    "Repeated",
    "TOPR",
    "Targets",
    "VTrace",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "A2C": "a2c",
        "ActorCritic": "actor_critic",
        "AsymRE": "asymre",
        "ExpertIteration": "expert_iteration",
        "GRPO": "grpo",
        "Grouped": "grpo",
        "OnPolicy": "base",
        "PPO": "ppo",
        "Proximal": "ppo",
        "RAFT": "raft",
        "RLOO": "rloo",
        "Repeated": "repeated",
        "Reinforce": "reinforce",
        "ReinforcePP": "reinforce_pp",
        "TOPR": "topr",
        "Targets": "base",
        "VTrace": "vtrace",
    },
)
