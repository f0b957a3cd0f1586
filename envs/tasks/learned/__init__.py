"""Rewards that were learned from comparisons, with the gold reward that they stand for beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

if TYPE_CHECKING:
    from .gold_proxy import GoldProxy
    from .length_bias import LengthBias
    from .noisy_pref import NoisyPref
    from .proxy_task import Optimised, ProxyTask

__all__ = [
    "GoldProxy",
    "LengthBias",
    "NoisyPref",
    "Optimised",
    "ProxyTask",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "GoldProxy": "gold_proxy",
        "LengthBias": "length_bias",
        "NoisyPref": "noisy_pref",
        "Optimised": "proxy_task",
        "ProxyTask": "proxy_task",
    },
)
