"""Numbers as tokens: quantisers, spaces as digits, simulated bodies."""

from __future__ import annotations

from .physics import MOST_BINS, Floats, PhysicsTask, Sketch, captioned, checked_bounds
from .quantise import SCALES, to_digits
from .spaces import SpaceCodec

__all__ = [
    "Floats",
    "MOST_BINS",
    "PhysicsTask",
    "SCALES",
    "Sketch",
    "SpaceCodec",
    "captioned",
    "checked_bounds",
    "to_digits",
]
