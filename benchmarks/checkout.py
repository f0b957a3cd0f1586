"""Runs within a checkout, of whatever age, and measures one row of its benchmarks whenever it is asked to.

`python -m benchmarks.against` starts it in both checkouts, always this very file, with the checkout as the working
directory, so that `benchmarks` and `tokengym` are the checkout's own. All that it asks of them: `benchmarks.<part>` has
`comparisons(quick)`, which returns objects with ``name``, ``setting``, ``unit`` and ``ours``, a function that does the
work once and returns a number in that unit.

Lines of JSON are spoken. First it says which rows there are; then each line that it reads is the number of a row, and
each line that it answers is ``{"value": …}`` or ``{"error": …}``. It ends when its input does.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO


def told(fault: Exception) -> str:
    """Return an exception in one line."""
    return "".join(traceback.format_exception_only(type(fault), fault)).strip()


def find(
    parts: Iterable[str], quick: bool, module: Callable[[str], Any] = importlib.import_module
) -> tuple[list[tuple[dict[str, str], Callable[[], float]]], dict[str, str]]:
    """Return what each row is and what measures it, each once however many peers it has, and why parts have none."""
    rows: dict[tuple[str, ...], Callable[[], float]] = {}
    failed: dict[str, str] = {}
    for part in parts:
        try:
            for comparison in module(f"benchmarks.{part}").comparisons(quick):
                key = (part, comparison.name, comparison.setting, comparison.unit)
                rows.setdefault(key, comparison.ours)
        except Exception as fault:
            failed[part] = told(fault)
    described = [dict(zip(("part", "name", "setting", "unit"), key, strict=True)) for key in rows]
    return list(zip(described, rows.values(), strict=True)), failed


def serve(measures: list[Callable[[], float]], questions: Iterable[str], answers: TextIO) -> None:
    """Measure the rows that are asked for; each runs once uncounted before it is first measured."""
    warm: set[int] = set()
    for question in questions:
        index = json.loads(question)
        try:
            if index not in warm:
                measures[index]()
                warm.add(index)
            answer: dict[str, Any] = {"value": float(measures[index]())}
        except Exception as fault:
            answer = {"error": told(fault)}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Say which rows there are, and measure until the input ends."""
    parts, quick = sys.argv[2:], sys.argv[1] == "quick"
    # What the measured code prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    sys.path[0] = os.getcwd()
    package = Path(str(importlib.import_module("tokengym.envs").__file__)).parents[1]
    found, failed = find(parts, quick)
    hello = {"package": str(package), "rows": [row for row, _ in found], "failed": failed}
    print(json.dumps(hello), file=answers, flush=True)
    serve([measure for _, measure in found], sys.stdin, answers)


if __name__ == "__main__":
    main()
