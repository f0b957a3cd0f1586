"""Reward models: fitted to comparisons, judged, saved, and used as the reward of an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .classifier import Classifier
    from .export import export_reward_model
    from .fitting import fit_from_tokens, fit_reward_model
    from .judging import Calibration, calibration, log_odds, pair_accuracy, reliability
    from .loading import load_reward_model
    from .losses import bradley_terry
    from .model import RewardModel
    from .reading import Sequences, sequences_of
    from .small import fit_scores

__all__ = [
    "Calibration",
    "Classifier",
    "RewardModel",
    "Sequences",
    "bradley_terry",
    "calibration",
    "export_reward_model",
    "fit_from_tokens",
    "fit_reward_model",
    "fit_scores",
    "load_reward_model",
    "log_odds",
    "pair_accuracy",
    "reliability",
    "sequences_of",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Calibration": "judging",
        "Classifier": "classifier",
        "RewardModel": "model",
        "Sequences": "reading",
        "bradley_terry": "losses",
        "calibration": "judging",
        "export_reward_model": "export",
        "fit_from_tokens": "fitting",
        "fit_reward_model": "fitting",
        "fit_scores": "small",
        "load_reward_model": "loading",
        "log_odds": "judging",
        "pair_accuracy": "judging",
        "reliability": "judging",
        "sequences_of": "reading",
    },
)
