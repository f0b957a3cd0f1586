"""The fuzzer: what a case is, how it is judged, and the counting of what came of it."""

from __future__ import annotations

import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tokengym.envs.checking.errors import TokenGymError

SECONDS = 20
"""A case that takes longer hangs."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        text: What it is, for whoever has to find the fault.
        call: Gives the input to the library. What it returns is not looked at.
        right: "refused" for an input that has to raise `TokenGymError`, "taken" for one that has to work, "either"
            where only the manner counts: no other error, no hang.
    """

    text: str
    call: Callable[[], Any]
    right: Literal["refused", "taken", "either"]


Area = Callable[[np.random.Generator, int], Iterator[Case]]
"""Makes a number of cases; the generator is its only source of chance."""


@dataclass
class Tally:
    """What came of the cases of one area."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def add(self, case: Case) -> None:
        """Try one case and judge it."""
        outcome, detail = judge(case)
        self.counts[outcome] += 1
        if outcome.startswith("fault"):
            self.faults.append(f"{self.name}: {outcome}: {case.text}: {detail}")


def judge(case: Case) -> tuple[str, str]:
    """Return what came of a case, and for a fault what to look at."""
    try:
        with time_limit(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.call()
    except TokenGymError as error:
        if case.right == "taken":
            return "fault: a right input refused", str(error)
        if not str(error).strip():
            return "fault: no message", repr(error)
        return "refused", ""
    except TimeoutError:
        return "fault: hangs", f"over {SECONDS} s"
    except Accepted as wrong:
        return "fault: harm done", str(wrong)
    except BaseException as error:  # also what would end the process
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "fault: bare error", f"{type(error).__name__}: {str(error)[:200]} ({last.filename}:{last.lineno})"
    if case.right == "refused":
        return "fault: a wrong input taken", ""
    return "taken", ""


class Accepted(Exception):
    """A refused input left something changed, or a command ended otherwise than commands end."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` in whatever runs longer."""

    def ring(number: int, frame: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pick(random: np.random.Generator, items: Any) -> Any:
    """Return one of the items, whatever their types."""
    items = list(items)
    return items[int(random.integers(len(items)))]


def show(value: Any) -> str:
    """Return a short text of a value."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<no repr: {error!r}>"
    return text if len(text) < 120 else text[:117] + "…"
