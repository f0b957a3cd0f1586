"""Interrupting a training: the update under way is finished and saved, and only a second signal ends it at once."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from ...algorithms import Callback

_SAID = b"\nfinishing the update under way, then saving; once more ends at once\n"


class StopOnSignal(Callback):
    """Stops learning after the update in which SIGINT (Ctrl-C) or SIGTERM comes; a context manager.

    A second signal raises `KeyboardInterrupt` where it comes. Outside the main thread, where Python takes no signals,
    it does nothing.

    Attributes:
        stopped: whether a signal has come.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._take)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> bool:
        """Return False once a signal has come."""
        return not self.stopped

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        os.write(2, _SAID)  # not through a stream, which may be in the middle of a write itself
