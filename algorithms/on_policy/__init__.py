"""Learning from fresh episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .a2c import A2C
    from .actor_critic import ActorCritic
    from .base import OnPolicy, Targets
    from .expert_iteration import ExpertIteration
    from .ppo import PPO
    from .raft import RAFT

__all__ = [
    "A2C",
    "ActorCritic",
    "ExpertIteration",
    "OnPolicy",
    "PPO",
    "RAFT",
    "Targets",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "A2C": "a2c",
        "ActorCritic": "actor_critic",
        "ExpertIteration": "expert_iteration",
        "OnPolicy": "base",
        "PPO": "ppo",
        "RAFT": "raft",
        "Targets": "base",
    },
)
