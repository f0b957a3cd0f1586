"""Tasks with closed-form scores, each for one ability of a learner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

if TYPE_CHECKING:
    from .basics import Copy, TokenBandit, not_negative
    from .delay_chain import DelayChain
    from .lock import Lock, SlipLock
    from .probes import Probe1, Probe2, Probe3, Probe4, Probe5
    from .random_walks import RandomWalks
    from .tree import KLTree
    from .umbrella import Umbrella
    from .vocab_scale import VocabScale

__all__ = [
    "Copy",
    "DelayChain",
    "KLTree",
    "Lock",
    "Probe1",
    "Probe2",
    "Probe3",
    "Probe4",
    "Probe5",
    "RandomWalks",
    "SlipLock",
    "TokenBandit",
    "Umbrella",
    "VocabScale",
    "not_negative",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Copy": "basics",
        "DelayChain": "delay_chain",
        "KLTree": "tree",
        "Lock": "lock",
        "Probe1": "probes",
        "Probe2": "probes",
        "Probe3": "probes",
        "Probe4": "probes",
        "Probe5": "probes",
        "RandomWalks": "random_walks",
        "SlipLock": "lock",
        "TokenBandit": "basics",
        "Umbrella": "umbrella",
        "VocabScale": "vocab_scale",
        "not_negative": "basics",
    },
)
