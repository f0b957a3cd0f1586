"""Causal models: transformers, GRU, MLP and table, and how each decodes with a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .build import build_trunk
    from .table import PrefixIndex, TableTrunk, shares_prefixes, sharing_prefixes
    from .trunk import Decoder, Trunk

__all__ = [
    "Decoder",
    "PrefixIndex",
    "TableTrunk",
    "TransformerTrunk",
    "Trunk",
    "build_trunk",
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
        "shares_prefixes": "table",
        "sharing_prefixes": "table",
    },
)
