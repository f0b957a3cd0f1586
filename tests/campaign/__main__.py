"""The campaign's command: `python -m tests.campaign [--short] [--kills-only | --fuzz-only] [--seed N]`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch


def kill(options: argparse.Namespace, folder: Path) -> bool:
    """Run the chains, print what came of them, and return whether all went well."""
    from .kills import chains, run_chain

    print("Kills −9: each chain is one command, killed again and again, then left alone", flush=True)
    found = chains(options.short)
    for index, (chain, in_process) in enumerate(found):
        random = np.random.default_rng([options.seed, index])
        run_chain(chain, folder / f"chain-{index}", random, in_process=in_process)
        print(f"{chain.name:18} kills: {chain.delivered['aimed']:3} aimed, {chain.delivered['random']:3} random: "
              f"{chain.verdict}", flush=True)  # fmt: skip
    total = sum(sum(chain.delivered.values()) for chain, _ in found)
    good = sum(chain.verdict == "identical" for chain, _ in found)
    print(f"{total} kills delivered, {good} of {len(found)} chains bit-identical to the undisturbed run\n", flush=True)
    return good == len(found)


def fuzz(options: argparse.Namespace) -> bool:
    """Try the inputs, print what came of them, and return whether there was no fault."""
    from . import fuzz_inputs, fuzz_settings
    from .fuzzing import Tally

    areas = {**fuzz_settings.AREAS, **fuzz_inputs.AREAS}
    count = 40 if options.short else 700
    print(f"Fuzzed inputs, {count} of each sort", flush=True)
    tallies = []
    for index, (name, area) in enumerate(areas.items()):
        if options.only and name != options.only:
            continue
        started = time.monotonic()
        tally = Tally(name)
        for case in area(np.random.default_rng([options.seed, 1000 + index]), count):
            tally.add(case)
        tallies.append(tally)
        print(f"{name:18} {tally.cases:5} cases: {tally.counts['refused']:5} refused, {tally.counts['taken']:5} taken, "
              f"{len(tally.faults):3} faults  ({time.monotonic() - started:.0f} s)", flush=True)  # fmt: skip
    faults = [fault for tally in tallies for fault in tally.faults]
    print(f"{sum(t.cases for t in tallies)} inputs, {len(faults)} faults", flush=True)
    for fault in faults[: options.show]:
        print(f"  {fault}")
    return not faults


def main() -> int:
    """Run the campaign and return 0 where nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the form that the tests run")
    parser.add_argument("--kills-only", action="store_true")
    parser.add_argument("--fuzz-only", action="store_true")
    parser.add_argument("--only", help="one sort of fuzzed input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=40, help="how many faults to print")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the chains")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    good = True
    try:
        if not options.fuzz_only:
            good &= kill(options, folder)
        if not options.kills_only:
            good &= fuzz(options)
    finally:
        if options.keep:
            print(f"chains kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
