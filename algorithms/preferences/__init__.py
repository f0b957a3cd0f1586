"""Learning from comparisons of completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Preferences
    from .dpo import DPO
    from .online_dpo import OnlineDPO
    from .rrhf import RRHF

__all__ = [
    "DPO",
    "OnlineDPO",
    "Preferences",
    "RRHF",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DPO": "dpo",
        "OnlineDPO": "online_dpo",
        "Preferences": "base",
        "RRHF": "rrhf",
    },
)
