"""From an engine to episodes: rollouts and their recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .rollout import Collector

__all__ = [
    "Collector",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Collector": "rollout",
    },
)
