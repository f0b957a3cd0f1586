"""Reward functions for text: the named rules, the checked call, and guarded processes."""

from __future__ import annotations

from .functions import RewardFunction, build_reward, read_under, reward_of_functions
from .guarded import GuardedReward
from .learned_model import ids_fit, open_reward_model, refusal
from .scorer import Scorer

__all__ = [
    "GuardedReward",
    "RewardFunction",
    "Scorer",
    "build_reward",
    "ids_fit",
    "open_reward_model",
    "read_under",
    "refusal",
    "reward_of_functions",
]
