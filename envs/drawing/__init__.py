"""Pictures of positions, for terminals and as pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names
from .picture import Cell, Picture

if TYPE_CHECKING:
    from .pixels import draw_text, fit, subtitle

__all__ = [
    "Cell",
    "Picture",
    "draw_text",
    "fit",
    "subtitle",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "draw_text": "pixels",
        "fit": "pixels",
        "subtitle": "pixels",
    },
)
