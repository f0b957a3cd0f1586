"""What Stable-Baselines3 records, under the names that metrics have here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_METRICS = {
    "train/policy_gradient_loss": "policy/loss",
    "train/policy_loss": "policy/loss",
    "train/policy_objective": "policy/objective",
    "train/approx_kl": "policy/approx_kl",
    "train/kl_divergence_loss": "policy/kl",
    "train/is_line_search_success": "policy/line_search_success",
    "train/clip_fraction": "policy/clip_fraction",
    "train/value_loss": "value/loss",
    "train/explained_variance": "value/explained_variance",
    "rollout/exploration_rate": "explore/epsilon",
}


def metrics_of(
    recorded: Mapping[str, Any], returns: Sequence[float], lengths: Sequence[int], learns_q: bool
) -> dict[str, float]:
    """Return the metrics of a report.

    Args:
        recorded: what the library's logger holds.
        returns: of the episodes that ended since the last report.
        lengths: theirs, in tokens.
        learns_q: whether the library's loss is that of Qs.
    """
    metrics: dict[str, float] = {}
    if returns:
        metrics["episode/return"] = float(np.mean(returns))
        metrics["episode/length"] = float(np.mean(lengths))
    metrics |= {ours: float(recorded[theirs]) for theirs, ours in _METRICS.items() if theirs in recorded}
    if "train/entropy_loss" in recorded:
        metrics["policy/entropy"] = -float(recorded["train/entropy_loss"])
    if learns_q and "train/loss" in recorded:
        metrics["q/loss"] = float(recorded["train/loss"])
    return metrics
