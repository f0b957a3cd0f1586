"""Learning from fresh episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .a2c import A2C
    from .ppo import PPO

__all__ = [
    "A2C",
    "PPO",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "A2C": "a2c",
        "PPO": "ppo",
    },
)
