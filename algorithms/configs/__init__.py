"""The configurations of all algorithms, read and checked without torch, which takes seconds."""

from __future__ import annotations

from .base import AlgorithmConfig, Config
from .off_policy import DQNConfig, OffPolicyConfig, Prioritisation, SACConfig
from .on_policy import A2CConfig, ActorCriticConfig, OnPolicyConfig, PPOConfig
from .overrides import (
    A2COverrides,
    DQNOverrides,
    PPOOverrides,
    SACOverrides,
    SB3A2COverrides,
    SB3DQNOverrides,
    SB3PPOOverrides,
)
from .sb3 import SB3A2CConfig, SB3Config, SB3DQNConfig, SB3OnPolicyConfig, SB3PPOConfig

__all__ = [
    "A2CConfig",
    "A2COverrides",
    "ActorCriticConfig",
    "AlgorithmConfig",
    "Config",
    "DQNConfig",
    "DQNOverrides",
    "OffPolicyConfig",
    "OnPolicyConfig",
    "PPOConfig",
    "PPOOverrides",
    "Prioritisation",
    "SACConfig",
    "SACOverrides",
    "SB3A2CConfig",
    "SB3A2COverrides",
    "SB3Config",
    "SB3DQNConfig",
    "SB3DQNOverrides",
    "SB3OnPolicyConfig",
    "SB3PPOConfig",
    "SB3PPOOverrides",
]
