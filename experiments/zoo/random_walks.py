"""The study of learning from poor data: ``python -m tokengym.experiments.zoo.random_walks [FOLDER]``.

Records datasets, tunes every offline method on seeds that are not reported, learns, evaluates, and writes results,
tables and the picture. Runs that are in the folder already are not run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...algorithms import ALGORITHMS
from ..evaluation import evaluate_agent
from .runs_file import RunsFile
from .walks_data import DATA, dataset_of, task_of
from .walks_pages import Row, differences, draw, tables

Setting = Mapping[str, Any]

_ILQL = [(4.0, 0.5, 0.01), (4.0, 0.7, 0.01), (4.0, 0.9, 0.01), (4.0, 0.7, 0.1)]
_ILQL += [(16.0, 0.5, 0.01), (16.0, 0.7, 0.01), (16.0, 0.9, 0.01), (16.0, 0.9, 0.1)]

METHODS: Mapping[str, tuple[str, Sequence[Setting]]] = {
    "cloning": ("bc", [{}]),
    "filtered cloning": (
        "filtered-bc",
        [{"best_share": share} for share in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)],
    ),
    "mc-returns": (
        "mc-returns",
        [{"beta": beta, "cql_coef": coef} for beta, coef in product((1.0, 4.0, 8.0, 16.0), (0.01, 0.1))],
    ),
    "cql": (
        "cql",
        [
            {"cql_coef": coef, "returns": "n_step", "n_step": steps}
            for coef, steps in product((0.03, 0.1, 0.3, 1.0), (1, 3))
        ],
    ),
    "ilql": (
        "ilql",
        [
            {"beta": beta, "expectile": expectile, "cql_coef": coef, "target_polyak": 0.05}
            for beta, expectile, coef in _ILQL
        ],
    ),
}
"""Methods by how they are called here, with the algorithm and the settings that are tried on each dataset: eight each,
and cloning has nothing to set."""


@dataclass(frozen=True)
class Run:
    """A dataset by name, a method by name, the number of its setting and a seed."""

    data: str
    method: str
    setting: int
    seed: int


def learn(run: Run) -> Row:
    """Learn by one method from one dataset and return what came of it."""
    torch.set_num_threads(1)
    data = DATA[run.data]
    task = task_of(data, run.seed)
    dataset = dataset_of(data, task, run.seed)
    returns = dataset.episodes.returns
    algorithm, settings = METHODS[run.method]
    config = settings[run.setting]
    # The masks of the dataset are dropped at the door: nobody is told what is legal.
    learner = ALGORITHMS[algorithm](
        task, data.agent, dataset=dataset, seed=run.seed, batch_episodes=data.batch, **config
    )
    learner.learn(data.updates)
    greedy = evaluate_agent(learner, task, deterministic=True, episodes=1000)
    sampled = evaluate_agent(learner, task, deterministic=False, episodes=1000)
    return {
        **dataclasses.asdict(run),
        "greedy": greedy.expected_return,
        "sampled": sampled.expected_return,
        "behaviour": float(returns.mean()),
        "worst": float(returns.min()),
        "best": float(returns.max()),
    }


def chosen(rows: Mapping[Run, Row], data: str, method: str) -> int | None:
    """Return which setting a method takes on a dataset, or None as long as not all were tried.

    That with the highest mean of greedy and sampled returns over the seeds of tuning; of equals the first.
    """
    count, tried = len(METHODS[method][1]), []
    if count == 1:
        return 0
    for setting in range(count):
        runs = [Run(data, method, setting, seed) for seed in DATA[data].tuning_seeds]
        if any(run not in rows for run in runs):
            return None
        tried.append(float(np.mean([rows[run]["greedy"] + rows[run]["sampled"] for run in runs])))
    return int(np.argmax(tried))


def tuning() -> Iterator[Run]:
    """Yield the runs that settings are chosen by; none of a method that has nothing to set."""
    for data, (method, (_, settings)) in product(DATA, METHODS.items()):
        for setting in range(len(settings) if len(settings) > 1 else 0):
            yield from (Run(data, method, setting, seed) for seed in DATA[data].tuning_seeds)


def reported(rows: Mapping[Run, Row]) -> Iterator[Run]:
    """Yield the runs that are reported, of methods whose setting is chosen."""
    for data, method in product(DATA, METHODS):
        setting = chosen(rows, data, method)
        if setting is not None:
            yield from (Run(data, method, setting, seed) for seed in DATA[data].seeds)


def settings_table(rows: Mapping[Run, Row]) -> str:
    """Return the chosen settings as a Markdown table."""
    lines = ["| | " + " | ".join(DATA) + " |", "|---|" + "---|" * len(DATA)]
    for method, (_, settings) in METHODS.items():
        taken = [settings[chosen(rows, data, method) or 0] for data in DATA]
        told = [", ".join(f"{name} {value}" for name, value in setting.items()) or "–" for setting in taken]
        lines.append(f"| {method} | " + " | ".join(told) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and write tables and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/random-walks"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    done: RunsFile[Run, Row] = RunsFile(options.folder / "runs.jsonl", Run, dict)
    rows = done.rows
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for name, wanted in (("tuning", tuning), ("runs", lambda: reported(rows))):
            runs = [run for run in wanted() if run not in rows]
            for number, row in enumerate(done.do(pool, learn, runs), 1):
                which = f"{row['data']} {row['method']} seed {row['seed']}"
                told = f"greedy {row['greedy']:.3f}  sampled {row['sampled']:.3f}"
                print(f"{name} {number}/{len(runs)} {which}  {told}", flush=True)
    shown = [rows[run] for run in reported(rows)]
    print("\n".join([settings_table(rows), tables(shown), differences(shown, "ilql")]))
    draw(shown).savefig(options.folder / "random-walks.png", dpi=100)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
