"""What labels cost and how good they are, where comparisons are bought of a simulated labeller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...envs.checking import Range
from .base import Config, Interval, NotNegative


@dataclass(frozen=True, kw_only=True)
class LabellerConfig(Config):
    """A simulated labeller, and his faults."""

    label_temperature: NotNegative = 1.0
    """Noise of the answers, in units of the gold reward: the better of two is preferred with probability
    σ(difference / this). 0 always prefers the better."""
    label_flips: Annotated[float, Range(least=0, most=0.5)] = 0.0
    """The part of answers that are reversed, whatever was compared; 0 to 0.25."""
    length_preference: Annotated[float, Range(least=-1_000_000, most=1_000_000)] = 0.0
    """What each token more is worth to the labeller, in units of the gold reward, though it is worth nothing."""


@dataclass(frozen=True, kw_only=True)
class LabelConfig(LabellerConfig):
    """The labels that are bought of a simulated labeller, once and for all."""

    labels: Interval = 1000
    """Comparisons that are answered in all. More is better, up to a point, and costs."""
