"""This checkout's speed beside another's, row by row of the benchmarks: `python -m benchmarks.against ../before`.

Ratios to a peer say nothing when the peer is this library itself, so here the numbers of both checkouts are compared.
In every round each checkout gets a new process, with its own interpreter, and both measure each row by turns, so that a
busy machine hits both alike; what is judged is the median of the ratios of all such pairs. A row that comes out more
than a tenth slower is measured anew, for longer, and judged by that alone: among 200 rows some are unlucky. The exit
code is 1 where one stays slower. Rows that only one of the checkouts has are listed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rich.console import Console
from rich.table import Table

from .measure import number
from .run import PARTS, RESULTS

HERE = Path(__file__).resolve().parents[1]
SLOWEST = 0.9
"""As fast as the other checkout, times this, a row has to be."""
ROUNDS, TIMES = 3, 2
"""New processes for each checkout, and pairs of measurements in each of them."""
AGAIN = 3
"""A row that seems slower is measured this many times as often."""


class Row(NamedTuple):
    """What a row is called, in both checkouts."""

    part: str
    name: str
    setting: str
    unit: str

    @property
    def more_is_better(self) -> bool:
        """Whether its numbers are a rate, and not a duration or a size."""
        return self.unit.endswith("/s")


@dataclass(frozen=True)
class Pairs:
    """What was measured for a row: as many numbers of this checkout as of the other, one after the other."""

    row: Row
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """How good ours is in terms of the other's, a pair: above 1 is better, whatever the unit."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [ours / theirs if self.row.more_is_better else theirs / ours for ours, theirs in pairs]

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def slower(self) -> bool:
        """Whether ours is more than a tenth slower, or larger."""
        return self.ratio < SLOWEST

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able data."""
        return {**self.row._asdict(), "ours": self.ours, "theirs": self.theirs, "ratio": self.ratio}


class Side(Protocol):
    """One checkout, while it is asked."""

    rows: list[Row]
    failed: dict[str, str]

    def measure(self, row: Row) -> float:
        """Return a number in the row's unit, or raise `RowFailed`."""
        ...

    def close(self) -> None:
        """Let it go."""


class RowFailed(Exception):
    """A checkout could not measure a row."""


class Checkout:
    """A process within a checkout that answers; see `benchmarks.checkout`.

    Args:
        folder: the checkout.
        parts: of its benchmarks.
        quick: at small sizes.
    """

    def __init__(self, folder: Path, parts: Sequence[str], quick: bool) -> None:
        own = folder / ".venv" / "bin" / "python"
        python = sys.executable if folder == HERE or not own.exists() else str(own)
        self._folder = folder
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("checkout.py")), "quick" if quick else "full", *parts],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def start(self) -> None:
        """Wait until it is ready: apart from the constructor, so that two checkouts become ready at once."""
        hello = self._answer()
        if not Path(hello["package"]).samefile(self._folder):
            self.close()
            raise SystemExit(
                f"{self._folder} has no environment of its own, its benchmarks would measure {hello['package']}: "
                f"run 'make install' in it"
            )
        self.rows = [Row(**row) for row in hello["rows"]]
        self.failed: dict[str, str] = hello["failed"]
        self._indices = {row: index for index, row in enumerate(self.rows)}

    def measure(self, row: Row) -> float:
        """Return a number in the row's unit."""
        assert self._process.stdin is not None
        print(self._indices[row], file=self._process.stdin, flush=True)
        answer = self._answer()
        if "error" in answer:
            raise RowFailed(answer["error"])
        return answer["value"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the benchmarks of {self._folder} stopped with exit code {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass
class Report:
    """What a comparison of two checkouts gave.

    Attributes:
        pairs: what was measured, of every row that both have.
        missing: what one of them lacks, or could not measure, and why.
        broken: rows that the other measures and this checkout cannot.
    """

    pairs: dict[Row, Pairs] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    @property
    def slower(self) -> list[Pairs]:
        """The rows in which this checkout is more than a tenth slower."""
        return [pairs for pairs in self.pairs.values() if pairs.slower]


def compare(
    start: Callable[[], tuple[Side, Side]],
    rounds: int,
    times: int,
    wanted: Callable[[Row], bool] = lambda row: True,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure all rows that two checkouts share, by turns.

    Args:
        start: starts both anew, this checkout first.
        rounds: how often they are started.
        times: pairs of measurements in each round.
        wanted: whether to measure a row.
        tell: is told what is going on.
    """
    report = Report()
    for turn in range(rounds):
        ours, theirs = start()
        try:
            _list_missing(report, ours, theirs, wanted)
            shared = [row for row in ours.rows if row in set(theirs.rows) and wanted(row)]
            for row in shared:
                tell(f"round {turn + 1} of {rounds}, {row.part}: {row.name}, {row.setting} …")
                _measure(report, row, ours, theirs, times)
        finally:
            ours.close()
            theirs.close()
    return report


def _list_missing(report: Report, ours: Side, theirs: Side, wanted: Callable[[Row], bool]) -> None:
    for side, other, name in ((ours, theirs, "this checkout"), (theirs, ours, "the other checkout")):
        for part, fault in side.failed.items():
            report.missing[part] = f"{name}: {fault}"
        for row in filter(wanted, other.rows):
            if row not in set(side.rows):
                report.missing[_label(row)] = f"{name} has no such row"


def _measure(report: Report, row: Row, ours: Side, theirs: Side, times: int) -> None:
    pairs = report.pairs.get(row) or Pairs(row)
    for number_of_pair in range(times):
        # Who goes first takes turns, too.
        order = [(theirs, pairs.theirs, "the other checkout"), (ours, pairs.ours, "this checkout")]
        for side, values, name in order if number_of_pair % 2 == 0 else reversed(order):
            try:
                values.append(side.measure(row))
            except RowFailed as fault:
                report.missing[_label(row)] = f"{name}: {fault}"
                if side is ours:
                    report.broken.append(_label(row))
                report.pairs.pop(row, None)
                return
    report.pairs[row] = pairs


def _label(row: Row) -> str:
    return f"{row.part}: {row.name}, {row.setting}"


def judge(
    start: Callable[[], tuple[Side, Side]],
    rounds: int,
    times: int,
    wanted: Callable[[Row], bool] = lambda row: True,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Compare, and measure the rows that seem slower anew; they are judged by the second measurement alone."""
    report = compare(start, rounds, times, wanted, tell)
    suspects = {pairs.row for pairs in report.slower}
    if suspects:
        tell(f"{len(suspects)} of {len(report.pairs)} rows seem slower: once more, {AGAIN} times as long")
        report.pairs |= compare(start, rounds, times * AGAIN, suspects.__contains__, tell).pairs
    return report


HEADINGS = ("part", "what", "setting", "other", "this", "this / other (range)", "slower")


def cells(pairs: Pairs) -> tuple[str, ...]:
    """Return a row of the table under `HEADINGS`; the ratio is a speed's, or for sizes and durations its inverse."""
    row, ratios = pairs.row, pairs.ratios
    theirs, ours = (number(statistics.median(values)) for values in (pairs.theirs, pairs.ours))
    span = f"{pairs.ratio:.2f}× ({min(ratios):.2f} … {max(ratios):.2f})"
    return row.part, row.name, row.setting, theirs, f"{ours} {row.unit}", span, "SLOWER" if pairs.slower else ""


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure both checkouts, print the table, write ``results/against.json``; 1 where a row is slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout, with its own .venv (make install)")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"which of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: only to see that it works")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name or setting holds this")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"new processes of each checkout ({ROUNDS})")
    parser.add_argument("--times", type=int, default=TIMES, help=f"pairs of measurements in each of them ({TIMES})")
    options = parser.parse_args(None if arguments is None else list(arguments))
    other = options.other.resolve()
    if not (other / "benchmarks").is_dir():
        parser.error(f"{options.other} is no checkout of this project: it has no folder 'benchmarks'")
    if min(options.rounds, options.times) < 1:
        parser.error("--rounds and --times are at least 1")

    def start() -> tuple[Side, Side]:
        both = tuple(Checkout(folder, options.parts or PARTS, options.quick) for folder in (HERE, other))
        for checkout in both:
            checkout.start()
        return both[0], both[1]

    def wanted(row: Row) -> bool:
        return options.only in row.name or options.only in row.setting

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if options.quick:
        report = compare(start, 1, 1, wanted, tell)
    else:
        report = judge(start, options.rounds, options.times, wanted, tell)

    table = Table(*HEADINGS, title="QUICK TRIAL, small sizes" if options.quick else None)
    for pairs in report.pairs.values():
        table.add_row(*cells(pairs))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    for what, why in report.missing.items():
        print(f"not compared: {what}: {why}")
    RESULTS.mkdir(exist_ok=True)
    record = {"quick": options.quick, "rounds": options.rounds, "times": options.times, "missing": report.missing}
    record["results"] = [pairs.to_dict() for pairs in report.pairs.values()]
    (RESULTS / "against.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(report.pairs)} rows, written to {RESULTS / 'against.json'}")
    if options.quick:
        return 0
    for pairs in report.slower:
        print(f"more than a tenth slower: {_label(pairs.row)}: {pairs.ratio:.2f}×", file=sys.stderr)
    for what in report.broken:
        print(f"cannot be measured any more: {what}", file=sys.stderr)
    return int(bool(report.slower or report.broken))


if __name__ == "__main__":
    sys.exit(main())
