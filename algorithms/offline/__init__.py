"""Learning from a dataset: nothing is played, budgets count updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Offline
    from .bc import BC
    from .cql import CQL
    from .filtered_bc import FilteredBC
    from .ilql import ILQL
    from .mc_returns import MCReturns
    from .offline_qrpo import OfflineQRPO
    from .playing import named_player, record, sample_best_of
    from .q_sharp import QSharp
    from .sft import SFT
    from .texts import is_text_file, read_texts, write_texts

__all__ = [
    "BC",
    "CQL",
    "FilteredBC",
    "ILQL",
    "MCReturns",
    "Offline",
    "OfflineQRPO",
    "QSharp",
    "SFT",
    "is_text_file",
    "named_player",
    "read_texts",
    "record",
    "sample_best_of",
    "write_texts",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "BC": "bc",
        "CQL": "cql",
        "FilteredBC": "filtered_bc",
        "ILQL": "ilql",
        "MCReturns": "mc_returns",
        "Offline": "base",
        "OfflineQRPO": "offline_qrpo",
        "QSharp": "q_sharp",
        "SFT": "sft",
        "is_text_file": "texts",
        "named_player": "playing",
        "read_texts": "texts",
        "record": "playing",
        "sample_best_of": "playing",
        "write_texts": "texts",
    },
)
