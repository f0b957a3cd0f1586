"""Learning from a replay of whole episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import OffPolicy
    from .dqn import DQN
    from .replayed import Replayed
    from .sac import SAC

__all__ = [
    "DQN",
    "OffPolicy",
    "Replayed",
    "SAC",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DQN": "dqn",
        "OffPolicy": "base",
        "Replayed": "replayed",
        "SAC": "sac",
    },
)
