"""The configurations of all algorithms, read and checked without torch, which takes seconds."""

from __future__ import annotations

from .base import Config
from .labels import LabelConfig, LabellerConfig
from .off_policy import DQNConfig, OffPolicyConfig, Prioritisation, SACConfig
from .offline import BCConfig, CloningConfig, FilteredBCConfig, OfflineConfig, SFTConfig
from .on_policy import RATIO_TOLERANCES, A2CConfig, ActorCriticConfig, OnPolicyConfig, PPOConfig
from .overrides import (
    A2COverrides,
    BCOverrides,
    DPOOverrides,
    DQNOverrides,
    ExpertIterationOverrides,
    FilteredBCOverrides,
    OnlineDPOOverrides,
    PPOOverrides,
    RAFTOverrides,
    RRHFOverrides,
    SACOverrides,
    SB3A2COverrides,
    SB3DQNOverrides,
    SB3PPOOverrides,
    SFTOverrides,
)
from .parts import (
    AdaptiveKLConfig,
    AlgorithmConfig,
    KLConfig,
    LearningConfig,
    OnlineConfig,
    OptimiserConfig,
    PolicyConfig,
    RewardConfig,
    RolloutConfig,
    SampledKLConfig,
)
from .preferences import DPOConfig, OnlineDPOConfig, PairLossConfig, PreferencesConfig, RRHFConfig
from .reward_models import RewardModelConfig
from .sb3 import SB3A2CConfig, SB3Config, SB3DQNConfig, SB3OnPolicyConfig, SB3PPOConfig
from .schedule import Schedule, ends, linear, value_at
from .selection import ExpertIterationConfig, RAFTConfig, SelectionConfig

__all__ = [
    "A2CConfig",
    "A2COverrides",
    "ActorCriticConfig",
    "AdaptiveKLConfig",
    "AlgorithmConfig",
    "BCConfig",
    "BCOverrides",
    "CloningConfig",
    "Config",
    "DPOConfig",
    "DPOOverrides",
    "DQNConfig",
    "DQNOverrides",
    "ExpertIterationConfig",
    "ExpertIterationOverrides",
    "FilteredBCConfig",
    "FilteredBCOverrides",
    "KLConfig",
    "LabelConfig",
    "LabellerConfig",
    "LearningConfig",
    "OffPolicyConfig",
    "OfflineConfig",
    "OnPolicyConfig",
    "OnlineConfig",
    "OnlineDPOConfig",
    "OnlineDPOOverrides",
    "OptimiserConfig",
    "PPOConfig",
    "PPOOverrides",
    "PairLossConfig",
    "PolicyConfig",
    "PreferencesConfig",
    "Prioritisation",
    "RAFTConfig",
    "RAFTOverrides",
    "RATIO_TOLERANCES",
    "RRHFConfig",
    "RRHFOverrides",
    "RewardConfig",
    "RewardModelConfig",
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
    "SFTConfig",
    "SFTOverrides",
    "SampledKLConfig",
    "Schedule",
    "SelectionConfig",
    "ends",
    "linear",
    "value_at",
]
