"""Causal models: transformers, GRU, MLP and table, and how each decodes with a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .adapters import adapt, adapted, add_nothing, merge, parameters_of, sharing, take_off
    from .build import TransformerTrunk, build_trunk, quiet_bars
    from .table import PrefixIndex, TableTrunk, shares_prefixes, sharing_prefixes
    from .trunk import Decoder, Trunk

__all__ = [
    "Decoder",
    "PrefixIndex",
    "TableTrunk",
    "TransformerTrunk",
    "Trunk",
    "adapt",
    "adapted",
    "add_nothing",
    "build_trunk",
    "merge",
    "parameters_of",
    "quiet_bars",
    "shares_prefixes",
    "sharing",
    "sharing_prefixes",
    "take_off",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Decoder": "trunk",
        "PrefixIndex": "table",
        "TableTrunk": "table",
        "TransformerTrunk": "build",
        "Trunk": "trunk",
        "adapt": "adapters",
        "adapted": "adapters",
        "add_nothing": "adapters",
        "build_trunk": "build",
        "merge": "adapters",
        "parameters_of": "adapters",
        "quiet_bars": "build",
        "shares_prefixes": "table",
        "sharing": "adapters",
        "sharing_prefixes": "table",
        "take_off": "adapters",
    },
)
