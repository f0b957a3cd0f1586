"""The configurations of all algorithms. Nothing here imports torch: they are read and checked in a moment."""

from __future__ import annotations

from .base import AlgorithmConfig, Config
from .off_policy import DQNConfig, OffPolicyConfig, SACConfig
from .on_policy import A2CConfig, OnPolicyConfig, PPOConfig
from .sb3 import SB3A2CConfig, SB3Config, SB3DQNConfig, SB3OnPolicyConfig, SB3PPOConfig

__all__ = [
    "A2CConfig",
    "AlgorithmConfig",
    "Config",
    "DQNConfig",
    "OffPolicyConfig",
    "OnPolicyConfig",
    "PPOConfig",
    "SACConfig",
    "SB3A2CConfig",
    "SB3Config",
    "SB3DQNConfig",
    "SB3OnPolicyConfig",
    "SB3PPOConfig",
]
