"""Measuring by ratio: two ways to do one thing, alternating in one process, median and range of several runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A ratio and what it has to be.

    `ours` and `theirs` each do the work once and return one number in `unit`, such as tokens per second; the ratio is
    the first divided by the second. Without `theirs` the number itself is judged, and nothing is divided.
    """

    name: str
    """What is compared, a few words."""
    setting: str
    """Sizes, so that the number means something."""
    peer: str
    """What it is compared with."""
    unit: str
    """Unit of both numbers."""
    ours: Callable[[], float]
    theirs: Callable[[], float] | None = None
    target: float | None = None
    """What the ratio, or the number, has to reach; None only reports it."""
    at_most: bool = False
    """Whether the target is an upper bound; otherwise it is a lower one."""
    warm_up: Sequence[Callable[[], object]] = ()
    """Called once each before the first measurement."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a comparison gave: every single run, and what follows from them."""

    comparison: Comparison = field(repr=False)
    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """One a pair of runs, or the numbers themselves where there is no peer."""
        if not self.theirs:
            return self.ours
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the median reaches the target, if there is one."""
        target = self.comparison.target
        if target is None:
            return True
        return self.ratio <= target if self.comparison.at_most else self.ratio >= target

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able data."""
        about = self.comparison
        return {
            **{name: getattr(about, name) for name in ("name", "setting", "peer", "unit", "target", "at_most")},
            "ours": self.ours,
            "theirs": self.theirs,
            "ratio": self.ratio,
            "lowest": min(self.ratios),
            "highest": max(self.ratios),
            "met": self.met,
        }


def run(comparison: Comparison, repeats: int) -> Result:
    """Measure a comparison `repeats` times, ours and theirs by turns, so that a busy machine hits both alike."""
    for prepare in comparison.warm_up:
        prepare()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats):
        ours.append(comparison.ours())
        if comparison.theirs is not None:
            theirs.append(comparison.theirs())
    return Result(comparison=comparison, ours=ours, theirs=theirs)


def rate(work: Callable[[], int], clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """Turn a function that does some work and returns how much into one that returns how much a second.

    A number that is judged without a peer is better measured by `time.process_time`: who else keeps the processor busy
    does not lower it.
    """

    def measured() -> float:
        started = clock()
        amount = work()
        return amount / (clock() - started)

    return measured


HEADINGS = ("what", "setting", "compared with", "ours", "theirs", "ratio (range)", "target", "met")


def number(value: float) -> str:
    """Return three significant digits, without exponents."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def row(result: Result) -> tuple[str, ...]:
    """Return one result as cells under `HEADINGS`."""
    about = result.comparison
    sign = "≤" if about.at_most else "≥"
    ours = f"{number(statistics.median(result.ours))} {about.unit}" if result.theirs else ""
    theirs = number(statistics.median(result.theirs)) if result.theirs else ""
    unit = "×" if result.theirs else f" {about.unit}"
    span = f"{number(result.ratio)}{unit} ({number(min(result.ratios))} … {number(max(result.ratios))})"
    target, met = "", ""
    if about.target is not None:
        target, met = f"{sign} {number(about.target)}{unit}", "yes" if result.met else "no"
    return about.name, about.setting, about.peer, ours, theirs, span, target, met


def markdown(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(row(result) for result in results)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
