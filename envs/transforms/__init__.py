"""Transforms: tasks made from other tasks, so that the engine and every face have them.

A transform is named in JSON, `{"name": "time_limit", "max_tokens": 50}`, so that an environment's specification can be
written down and read back. What is finite stays finite wherever it can, so that the exact solver takes it, too.
"""

from __future__ import annotations

from .base import FiniteTransform, RewardTransform, Transform
from .clock import Clock, FiniteClock, clock
from .delay import FiniteRewardDelay, RewardDelay, reward_delay
from .history import HistoryTransform, RewardModelTransform, reward_model
from .limit import TimeLimit
from .redistribution import FiniteRedistribution, Redistribution, redistribute
from .rewards import FiniteRewardNoise, FiniteRewardScale, RewardNoise, RewardScale, reward_noise, reward_scale
from .shaping import FinitePotentialShaping, PotentialShaping, potential_shaping
from .table import TRANSFORMS, apply_transforms, check_arguments, check_transforms, types_fit
from .words import AllowedWords, FiniteAllowedWords, allowed_words

__all__ = [
    "AllowedWords",
    "Clock",
    "FiniteAllowedWords",
    "FiniteClock",
    "FinitePotentialShaping",
    "FiniteRedistribution",
    "FiniteRewardDelay",
    "FiniteRewardNoise",
    "FiniteRewardScale",
    "FiniteTransform",
    "HistoryTransform",
    "PotentialShaping",
    "Redistribution",
    "RewardDelay",
    "RewardModelTransform",
    "RewardNoise",
    "RewardScale",
    "RewardTransform",
    "TRANSFORMS",
    "TimeLimit",
    "Transform",
    "allowed_words",
    "apply_transforms",
    "check_arguments",
    "check_transforms",
    "clock",
    "potential_shaping",
    "redistribute",
    "reward_delay",
    "reward_model",
    "reward_noise",
    "reward_scale",
    "types_fit",
]
