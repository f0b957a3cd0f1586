"""Callbacks that act on a metric: keep the best checkpoint, and stop when a run is good enough or improves no more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...envs import TokenGymError
from ...envs.checking import Count, NotNegative, checked
from .callbacks import Callback

if TYPE_CHECKING:
    from torch import Tensor

    from ..learner import Learner


class SaveBest(Callback):
    """Keeps a checkpoint of the agent at the best value of a metric; equal values keep the earlier one.

    The metric is one of the update's own, or of another callback in the list, such as `EvaluateEvery`.
    Updates that have it not are passed over.

    Args:
        folder: The checkpoint; each better one replaces it.
        metric: The metric's name.
        largest: Whether larger values are better.

    Attributes:
        best: The best value so far; None before the first.
        timesteps: The agent tokens at which it was reached.
    """

    rank = 1

    @checked
    def __init__(self, folder: str | Path, metric: str = "evaluation/return", *, largest: bool = True) -> None:
        self.folder = Path(folder)
        self.metric = metric
        self.largest = largest
        self.best: float | None = None
        self.timesteps = 0

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> None:
        """Save where the metric is better than ever."""
        value = metrics.get(self.metric)
        if value is not None and _is_better(value, self.best, self.largest):
            self.best, self.timesteps = float(value), algorithm.spent
            algorithm.save(self.folder)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The best value and when it was reached."""
        return {}, {"best": self.best, "timesteps": self.timesteps}

    def load_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.best, self.timesteps = data["best"], int(data["timesteps"])


class StopWhen(Callback):
    """Early stopping: ends learning when a metric is good enough, or has not improved for so many of its values.

    Args:
        metric: The metric's name, as in `SaveBest`; put the callback that measures it before this one.
        reaches: Stop when the metric is at least so large (at most, where smaller is better); None does not look.
        patience: Stop when so many values in a row were not better than the best one; None does not look.
        min_delta: How much better a value has to be to count as an improvement.
        largest: Whether larger values are better.

    Attributes:
        reason: Why it stopped; empty while it has not.
    """

    @checked
    def __init__(
        self,
        metric: str = "evaluation/return",
        *,
        reaches: float | None = None,
        patience: Count | None = None,
        min_delta: NotNegative = 0.0,
        largest: bool = True,
    ) -> None:
        if reaches is None and patience is None:
            raise TokenGymError(f"StopWhen({metric!r}) would never stop: give reaches=…, patience=…, or both")
        self.metric = metric
        self.reaches = reaches
        self.patience = patience
        self.min_delta = min_delta
        self.largest = largest
        self.best: float | None = None
        self.waited = 0
        self.reason = ""

    def on_start(self, algorithm: Learner) -> None:
        """Forget why it stopped: whoever learns on wants to."""
        self.reason = ""

    def on_update(self, algorithm: Learner, metrics: dict[str, float]) -> bool:
        """Return False where there is reason to stop."""
        value = metrics.get(self.metric)
        if value is None:
            return True
        if _is_better(value, self.best, self.largest, self.min_delta):
            self.best, self.waited = float(value), 0
        else:
            self.waited += 1
        if self.reaches is not None and (value >= self.reaches if self.largest else value <= self.reaches):
            self.reason = f"{self.metric} is {value:.4g} and reached {self.reaches:.4g}"
        elif self.patience is not None and self.waited >= self.patience:
            self.reason = f"{self.metric} was not better than {self.best} for {self.waited} values"
        return not self.reason

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The best value, and for how many it was not bettered."""
        return {}, {"best": self.best, "waited": self.waited}

    def load_state(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.best, self.waited = data["best"], int(data["waited"])


def _is_better(value: float, best: float | None, largest: bool, by: float = 0.0) -> bool:
    """Whether a value betters the best one; one that is no number does not."""
    if not math.isfinite(value):
        return False
    return best is None or (value > best + by if largest else value < best - by)
