"""Every speed comparison in one process, one table of ratios: `make bench`, or `python -m benchmarks.run --quick`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from . import measure

PARTS = ("engine", "single", "suite", "decoding", "memory", "training", "grpo", "algorithms")
RESULTS = Path("results")


def main() -> int:
    """Measure, print the table, write ``results/bench.json`` and ``results/bench.md``; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"which of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes and two runs, to see that everything works")
    parser.add_argument("--repeats", type=int, default=5, help="alternating runs behind each median (5)")
    options = parser.parse_args()
    repeats = 2 if options.quick else options.repeats
    torch.set_num_threads(1)  # tiny models are fastest on one thread, and both sides get the same

    results: list[measure.Result] = []
    for part in options.parts or PARTS:
        for comparison in importlib.import_module(f"benchmarks.{part}").comparisons(options.quick):
            print(f"{part}: {comparison.name}, {comparison.setting} …", file=sys.stderr, flush=True)
            results.append(measure.run(comparison, repeats))

    about = f"{'QUICK TRIAL, small sizes. ' if options.quick else ''}Medians of {repeats} alternating runs, one thread"
    table = Table(*measure.HEADINGS, title=f"{about}; ratios only, times belong to a machine")
    for result in results:
        table.add_row(*measure.row(result))
    Console(width=None if sys.stdout.isatty() else 200).print(table)

    RESULTS.mkdir(exist_ok=True)
    machine = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    record = {"quick": options.quick, "repeats": repeats, "machine": machine}
    record["results"] = [result.to_dict() for result in results]
    (RESULTS / "bench.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (RESULTS / "bench.md").write_text(f"{about}.\n\n{measure.markdown(results)}\n", encoding="utf-8")
    print(f"written to {RESULTS / 'bench.json'} and {RESULTS / 'bench.md'}")
    missed = [result.comparison.name for result in results if not result.met]
    if missed and not options.quick:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
