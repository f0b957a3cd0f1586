"""What accompanies a run: callbacks, loggers and checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from . import checkpoint, state
    from .callbacks import (
        Callback,
        CallbackList,
        Callbacks,
        CallbackStates,
        SaveEvery,
        StopAfter,
        as_callback,
        load_callback_states,
    )
    from .checkpoint import MANIFEST, has_checkpoint, prune, read, sweep
    from .loggers import JsonLines, RunLogger
    from .milestones import SaveBest, StopWhen
    from .record_episodes import RecordEpisodes
    from .state import complete, load_agent, take

__all__ = [
    "Callback",
    "CallbackList",
    "CallbackStates",
    "Callbacks",
    "JsonLines",
    "MANIFEST",
    "RecordEpisodes",
    "RunLogger",
    "SaveBest",
    "SaveEvery",
    "StopAfter",
    "StopWhen",
    "as_callback",
    "checkpoint",
    "complete",
    "has_checkpoint",
    "load_agent",
    "load_callback_states",
    "prune",
    "read",
    "state",
    "sweep",
    "take",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Callback": "callbacks",
        "CallbackList": "callbacks",
        "CallbackStates": "callbacks",
        "Callbacks": "callbacks",
        "JsonLines": "loggers",
        "MANIFEST": "checkpoint",
        "RecordEpisodes": "record_episodes",
        "RunLogger": "loggers",
        "SaveBest": "milestones",
        "SaveEvery": "callbacks",
        "StopAfter": "callbacks",
        "StopWhen": "milestones",
        "as_callback": "callbacks",
        "checkpoint": "",
        "complete": "state",
        "has_checkpoint": "checkpoint",
        "load_agent": "state",
        "load_callback_states": "callbacks",
        "prune": "checkpoint",
        "read": "checkpoint",
        "state": "",
        "sweep": "checkpoint",
        "take": "state",
    },
)
