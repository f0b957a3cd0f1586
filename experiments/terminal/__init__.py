"""Playing and watching in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .compare import Person
    from .filming import Film
    from .guide import MOST_NODES, Guide
    from .named_players import SCRIPTED, learned, saved_player, scripted
    from .play import play_episodes
    from .watch import show

__all__ = [
    "Film",
    "Guide",
    "MOST_NODES",
    "Person",
    "SCRIPTED",
    "learned",
    "play_episodes",
    "saved_player",
    "scripted",
    "show",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Film": "filming",
        "Guide": "guide",
        "MOST_NODES": "guide",
        "Person": "compare",
        "SCRIPTED": "named_players",
        "learned": "named_players",
        "play_episodes": "play",
        "saved_player": "named_players",
        "scripted": "named_players",
        "show": "watch",
    },
)
