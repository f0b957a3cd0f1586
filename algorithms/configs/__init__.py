"""The configurations of all algorithms, read and checked without torch, which takes seconds."""

from __future__ import annotations

from .base import Config
from .labels import LabelConfig, LabellerConfig
from .off_policy import DQNConfig, OffPolicyConfig, Prioritisation, SACConfig
from .on_policy import RATIO_TOLERANCES, A2CConfig, ActorCriticConfig, OnPolicyConfig, PPOConfig
from .overrides import (
    A2COverrides,
    DQNOverrides,
    PPOOverrides,
    SACOverrides,
    SB3A2COverrides,
    SB3DQNOverrides,
    SB3PPOOverrides,
)
from .parts import (
    AdaptiveKLConfig,
    AlgorithmConfig,
    KLConfig,
    OptimiserConfig,
    PolicyConfig,
    RewardConfig,
    RolloutConfig,
    SampledKLConfig,
)
from .sb3 import SB3A2CConfig, SB3Config, SB3DQNConfig, SB3OnPolicyConfig, SB3PPOConfig
from .schedule import Schedule, linear, value_at

__all__ = [
    "A2CConfig",
    "A2COverrides",
    "ActorCriticConfig",
    "AdaptiveKLConfig",
    "AlgorithmConfig",
    "Config",
    "DQNConfig",
    "DQNOverrides",
    "KLConfig",
    "LabelConfig",
    "LabellerConfig",
    "OffPolicyConfig",
    "OnPolicyConfig",
    "OptimiserConfig",
    "PPOConfig",
    "PPOOverrides",
    "PolicyConfig",
    "Prioritisation",
    "RATIO_TOLERANCES",
    "RewardConfig",
    "RolloutConfig",
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
    "SampledKLConfig",
    "Schedule",
    "linear",
    "value_at",
]
