"""From an engine to episodes: the play loop, rollouts and their recordings.

Playing needs no torch; what does is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .playing import Observer, Starts, Step, play, queue
    from .recording import Recording
    from .rollout import Collector

__all__ = [
    "Collector",
    "Observer",
    "Recording",
    "Starts",
    "Step",
    "play",
    "queue",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Collector": "rollout",
        "Observer": "playing",
        "Recording": "recording",
        "Starts": "playing",
        "Step": "playing",
        "play": "playing",
        "queue": "playing",
    },
)
