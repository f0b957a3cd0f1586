"""On-policy against off-policy: which methods bear old data, where rewards are dense, sparse or in turns.

`python -m tokengym.experiments.zoo.on_off_policy` tunes and runs every cell of docs/studies/on-and-off-policy.yaml,
each run a few seconds with a table, goes on where it was interrupted, and prints the page's tables and draws its
pictures. Policies are judged exactly, by enumeration.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...algorithms import ALGORITHMS, Callback
from ...envs import FiniteTask, evaluate_policy, make_task, solve
from .old_data_report import at_the_end, pictures, tables
from .runs_file import RunsFile

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "docs" / "studies" / "on-and-off-policy.yaml"


@dataclass(frozen=True)
class Run:
    """One run: a cell of the study, a learning rate and a seed."""

    task: str
    data: str
    method: str
    rate: float
    seed: int

    @property
    def cell(self) -> tuple[str, str, str]:
        """Task, data and method."""
        return self.task, self.data, self.method


def read(path: Path = STUDY) -> dict[str, Any]:
    """Return the study's file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def cells(study: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (task, data, method) of every cell."""
    for task in study["tasks"]:
        for data in study["data"]:
            for method, given in study["methods"].items():
                of = given or {}
                if data in of.get("data", study["data"]) and task in of.get("tasks", study["tasks"]):
                    yield task, data, method


def configured(study: Mapping[str, Any], task: str, data: str, method: str) -> tuple[str, dict[str, Any]]:
    """Return the algorithm of a cell, and its configuration without a learning rate."""
    given = study["methods"][method] or {}
    name = given.get("algorithm", method)
    beta = study["tasks"][task].get("beta", 0.0)
    config = {**study["common"], **given.get("config", {}), **study["data"][data]}
    config |= {**given.get(data, {}), **given.get(task, {})}
    if beta:
        config |= {"kl_coef": beta, "kl_reference": "uniform"}
    if "entropy_coef" in {field.name for field in dataclasses.fields(ALGORITHMS.config(name))}:
        config["entropy_coef"] = 0.0 if beta else 0.01
    return name, config


class Judge(Callback):
    """Notes every so many tokens what the policy is worth, exactly, and what it has cost."""

    def __init__(self, task: FiniteTask, beta: float, tokens: int, points: int) -> None:
        self.task, self.beta, self.every, self.due = task, beta, tokens / points, 0.0
        solution = solve(task, beta=beta) if beta else solve(task)
        best = solution.kl_optimal_return if beta else solution.optimal_return
        assert best is not None
        self.worst, self.best = float(solution.random_return), float(best)
        self.rows: list[list[float]] = []
        self.judging, self.steps, self.begun = 0.0, 0, time.process_time()

    def on_start(self, algorithm: Any) -> None:
        """Count the optimiser's steps from here on."""
        algorithm.optimizer.register_step_post_hook(self._stepped)

    def _stepped(self, *_: Any) -> None:
        self.steps += 1

    def score(self, agent: Any) -> float:
        """0 is play at random, 1 the optimum: of E[R] − β·KL, or of the return of the likeliest tokens."""

        def likeliest(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
            said = agent.probabilities(tokens, lengths)
            chosen = np.zeros_like(said)
            chosen[np.arange(len(said)), said.argmax(axis=1)] = 1.0
            return chosen

        if self.beta:
            worth = evaluate_policy(self.task, agent.probabilities).kl_regularised(self.beta)
        else:
            worth = evaluate_policy(self.task, likeliest).expected_return
        return (worth - self.worst) / (self.best - self.worst)

    def on_update(self, algorithm: Any, metrics: Mapping[str, float]) -> bool:
        """Judge, where it is time."""
        if algorithm.num_timesteps >= self.due:
            self.due += self.every
            began = time.process_time()
            score = self.score(algorithm.agent)
            self.judging += time.process_time() - began
            seconds = time.process_time() - self.begun - self.judging
            self.rows.append([float(algorithm.num_timesteps), float(self.steps), seconds, score])
        return True


def perform(job: tuple[Mapping[str, Any], Run]) -> dict[str, Any]:
    """Learn, and return the run with its rows of tokens, gradient steps, seconds of the processor and score."""
    study, run = job
    import torch

    torch.set_num_threads(1)
    of = study["tasks"][run.task]
    name, config = configured(study, *run.cell)
    task: Any = make_task(of["id"], **of.get("kwargs", {}))
    judge = Judge(task, of.get("beta", 0.0), of["tokens"], study["points"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*within every one of the collected groups")
        algorithm: Any = ALGORITHMS[name](task, {"kind": "table"}, seed=run.seed, learning_rate=run.rate, **config)
        algorithm.learn(of["tokens"], callback=judge)
    return {**dataclasses.asdict(run), "rows": judge.rows}


Results = RunsFile[Run, np.ndarray]
"""Of each finished run its rows, (points, 4): tokens, gradient steps, seconds and score."""


def read_results(path: Path) -> Results:
    """Return the finished runs of a file."""
    return RunsFile(path, Run, lambda row: np.asarray(row["rows"]))


def chosen_rate(study: Mapping[str, Any], results: Results, cell: tuple[str, str, str]) -> float | None:
    """Return the learning rate of a cell, or None as long as not all of them were tried."""
    found = []
    for rate in study["rates"]:
        runs = [Run(*cell, rate, seed) for seed in study["tuning_seeds"]]
        if any(run not in results.rows for run in runs):
            return None
        found.append(float(np.mean([at_the_end(results.rows[run]) for run in runs])))
    return study["rates"][int(np.argmax(found))]


def missing(study: Mapping[str, Any], results: Results, task: str, tuning: bool) -> list[Run]:
    """Return the runs of a task that are still to be done."""
    runs = []
    for cell in cells(study):
        if cell[0] != task:
            continue
        rates = study["rates"] if tuning else [chosen_rate(study, results, cell)]
        seeds = study["tuning_seeds"] if tuning else study["seeds"]
        runs += [Run(*cell, rate, seed) for rate in rates for seed in seeds if rate is not None]
    return [run for run in runs if run not in results.rows]


def run_all(study: Mapping[str, Any], results: Results, workers: int) -> None:
    """Tune and run what is missing, task after task."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for task in study["tasks"]:
            for tuning in (True, False):
                jobs = [(study, run) for run in missing(study, results, task, tuning)]
                for number, _ in enumerate(results.do(pool, perform, jobs), 1):
                    if number % 20 == 0 or number == len(jobs):
                        print(f"{task}, {'tuning' if tuning else 'runs'}: {number} of {len(jobs)}", flush=True)


def curves(study: Mapping[str, Any], results: Results) -> dict[tuple[str, str, str], tuple[float, np.ndarray]]:
    """Return of each finished cell the learning rate and the rows of all seeds, (seeds, points, 4)."""
    found = {}
    for cell in cells(study):
        rate = chosen_rate(study, results, cell)
        runs = [] if rate is None else [results.rows.get(Run(*cell, rate, seed)) for seed in study["seeds"]]
        kept = [rows for rows in runs if rows is not None]
        if rate is not None and kept and len(kept) == len(runs):
            points = min(len(rows) for rows in kept)
            found[cell] = rate, np.stack([rows[:points] for rows in kept])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, print its tables and draw its pictures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("results/on-and-off-policy"))
    parser.add_argument("--pictures", type=Path, default=STUDY.parent, help="where the pictures go")
    options = parser.parse_args(arguments)
    study = read()
    results = read_results(options.results / "runs.jsonl")
    run_all(study, results, options.workers)
    found = curves(study, results)
    print(tables(study, found))
    pictures(study, found, options.pictures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
