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
    from .grpo import GRPO
    from .ppo import PPO
    from .raft import RAFT
    from .reinforce import Reinforce
    from .reinforce_pp import ReinforcePP
    from .rloo import RLOO
    from .topr import TOPR
    from .vine_ppo import VinePPO
    from .vtrace import VTrace

__all__ = [
    "A2C",
    "ActorCritic",
    "AsymRE",
    "ExpertIteration",
    "GRPO",
    "OnPolicy",
    "PPO",
    "RAFT",
    "RLOO",
    "Reinforce",
    "ReinforcePP",
    "TOPR",
    "Targets",
    "VTrace",
    "VinePPO",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "A2C": "a2c",
        "ActorCritic": "actor_critic",
        "AsymRE": "asymre",
        "ExpertIteration": "expert_iteration",
        "GRPO": "grpo",
        "OnPolicy": "base",
        "PPO": "ppo",
        "RAFT": "raft",
        "RLOO": "rloo",
        "Reinforce": "reinforce",
        "ReinforcePP": "reinforce_pp",
        "TOPR": "topr",
        "Targets": "base",
        "VTrace": "vtrace",
        "VinePPO": "vine_ppo",
    },
)
