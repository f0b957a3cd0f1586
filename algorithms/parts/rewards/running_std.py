"""Running statistics: the scale that rewards are divided by."""

from __future__ import annotations

import numpy as np


class RunningStd:
    """Standard deviation of everything seen so far, merged batch by batch (Chan et al. 1979).

    Used on returns-to-go: dividing rewards by it gives a critic targets of unit variance, whatever the task pays, and
    makes one learning rate fit tasks whose returns differ by orders of magnitude.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def update(self, values: np.ndarray) -> None:
        """Take in float (N,) values."""
        if not len(values):
            return
        values = np.asarray(values, np.float64)
        total = self.count + len(values)
        mean = float(values.mean())
        difference = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + difference**2 * self.count * len(values) / total
        self.mean += difference * len(values) / total
        self.count = total

    @property
    def std(self) -> float:
        """The population standard deviation; 0 before the second value."""
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0

    @property
    def scale(self) -> float:
        """What to divide by: the standard deviation, or 1 where the values do not vary beyond rounding."""
        std = self.std
        return std if std > 1e-6 * max(1.0, abs(self.mean)) else 1.0

    def state(self) -> dict[str, float]:
        """Return what `load_state` needs, as JSON-able numbers."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state(self, state: dict[str, float]) -> None:
        """Go on from a saved `state`."""
        self.count, self.mean, self.squares = int(state["count"]), float(state["mean"]), float(state["squares"])
