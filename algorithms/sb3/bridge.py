"""What calls this library's callbacks and logger from Stable-Baselines3's loop."""

from __future__ import annotations

import time
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from ..runs import Callback, RunLogger
from .metrics import metrics_of


class Bridge(BaseCallback):
    """Calls this library's callbacks and logger where Stable-Baselines3 has just finished an update."""

    def __init__(self, algorithm: Any, callbacks: Callback, logger: RunLogger) -> None:
        super().__init__()
        self.algorithm = algorithm
        self.callbacks = callbacks
        self.run_logger = logger
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.reported_at = algorithm.num_timesteps
        self.stopped = False
        self.rollout_seconds = self.update_seconds = 0.0
        self.since = time.perf_counter()

    def _on_rollout_start(self) -> None:
        now = time.perf_counter()
        self.update_seconds += now - self.since
        if self.algorithm.num_timesteps - self.reported_at >= self.algorithm.report_every:
            self._report()
        self.since = time.perf_counter()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.returns.append(info["episode"]["r"])
                self.lengths.append(info["episode"]["l"])
        return not self.stopped

    def _on_rollout_end(self) -> None:
        now = time.perf_counter()
        self.rollout_seconds += now - self.since
        self.since = now

    def _on_training_end(self) -> None:
        if not self.stopped and self.algorithm.num_timesteps > self.reported_at:
            self.update_seconds += time.perf_counter() - self.since
            self._report()

    def _report(self) -> None:
        algorithm = self.algorithm
        algorithm.num_updates += 1
        algorithm.num_episodes += len(self.returns)
        metrics = metrics_of(self.logger.name_to_value, self.returns, self.lengths, algorithm.learns_q)
        tokens = algorithm.num_timesteps - self.reported_at
        self.run_logger.log(algorithm, metrics, tokens, self.rollout_seconds, self.update_seconds)
        self.stopped = self.callbacks.on_update(algorithm, metrics) is False
        self.returns, self.lengths = [], []
        self.rollout_seconds = self.update_seconds = 0.0
        self.reported_at = algorithm.num_timesteps
