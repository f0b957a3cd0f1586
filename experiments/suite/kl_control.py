"""The tables and pictures of the study on KL control: where it rests, what is estimated, and three ways to steer it.

`python -m tokengym.experiments.suite.kl_control results/kl-fixed-points` prints the tables for
`docs/studies/kl-control.md` and draws its pictures, from the finished study of that name in that folder; what is
steered is trained on the way.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..console import told_in_a_line
from ..report import collect, style
from ..study import find_study, load_study
from .kl_fixed_points import TREES, estimate_picture, estimate_table, estimates, rest_picture, rest_table, turns
from .kl_steering import all_runs, steering_picture, steering_table

_FOLDER = Path("docs") / "studies"


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Print the tables and draw the pictures; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the folder of the finished study kl-fixed-points")
    parser.add_argument("--out", type=Path, default=_FOLDER, help="where the pictures go")
    options = parser.parse_args(arguments)
    points = collect(load_study(find_study("kl-fixed-points")), options.results)
    found = estimates(TREES["uniform"]())
    print(f"{rest_table(points)}\n\n{estimate_table(found)}\n\n{turns(found)}\n", flush=True)
    runs = all_runs()
    print(steering_table(runs))
    options.out.mkdir(parents=True, exist_ok=True)
    with style():
        for name, figure in (
            ("kl-fixed-points", rest_picture(points)),
            ("kl-estimators", estimate_picture(found)),
            ("kl-control", steering_picture(runs)),
        ):
            figure.savefig(options.out / f"{name}.png", metadata={"Software": None}, dpi=80)
    return 0


if __name__ == "__main__":
    sys.exit(main())
