"""Causal models: transformers, GRU, MLP and table, and how each decodes with a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .build import TransformerTrunk, build_trunk, quiet_bars
    from .table import PrefixIndex, TableTrunk, shares_prefixes, sharing_prefixes
    from .trunk import Decoder, Trunk

__all__ = [
    "Decoder",
    "PrefixIndex",
    "TableTrunk",
    "TransformerTrunk",
    "Trunk",
    "build_trunk",
    "quiet_bars",
    "shares_prefixes",
    "sharing_prefixes",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Decoder": "trunk",
        "PrefixIndex": "table",
        "TableTrunk": "table",
        "TransformerTrunk": "build",
        "Trunk": "trunk",
        "build_trunk": "build",
        "quiet_bars": "build",
        "shares_prefixes": "table",
        "sharing_prefixes": "table",
    },
)
