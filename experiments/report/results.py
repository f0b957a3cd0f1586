"""The results of a study, gathered from its run folders for tables, plots and the report.

Nothing here runs or imports an algorithm: whatever is shown can be drawn again from the folders alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...envs import TokenGymError
from ...envs.checking import checked
from ..statistics import (
    MIN_RUNS,
    Interval,
    interquartile_mean,
    mean,
    optimality_gap,
    probability_of_improvement,
    stratified_bootstrap,
    summarise,
)
from ..study import WARNINGS, RunFolder, RunSpec, Study, run_folder

Status = Literal["done", "failed", "missing"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What one run left behind."""

    spec: RunSpec
    """The run."""
    status: Status
    """Whether it finished, failed, or has not been (completely) run."""
    score: float | None = None
    """Normalised score of the final evaluation; None unless finished."""
    summary: dict[str, Any] = field(default_factory=dict)
    """Final evaluations: ``greedy`` and ``sampled`` records, ``references``, ``tokens``."""
    curve: tuple[dict[str, Any], ...] = ()
    """Evaluations during training: ``fraction``, ``tokens``, ``score`` …, in order."""
    seconds: tuple[float | None, ...] = ()
    """Training seconds at each point of the curve, evaluation apart."""
    metrics: tuple[dict[str, Any], ...] = ()
    """What the algorithm logged, in order."""
    episodes: tuple[dict[str, Any], ...] = ()
    """Sampled episodes as text."""
    machine: dict[str, str] = field(default_factory=dict)
    """What it was made on, as `machine.machine` told there; empty where it was not noted."""
    starts: tuple[int, ...] = ()
    """The tokens at which it was started: 0, and after each interruption where it went on from, or 0 again."""
    warnings: tuple[str, ...] = ()
    """What it warned of, each once, in order."""
    error: str = ""
    """One-line error of a failed run."""
    traceback: str = ""
    """Traceback of a failed run."""


@dataclass(frozen=True)
class StudyResults:
    """All runs of a study, in the study's order."""

    study: Study
    """The study."""
    runs: tuple[RunResult, ...]
    """One result a run of ``study.runs()``."""

    @cached_property
    def _known(self) -> dict[Any, Any]:
        return {}

    def once(self, what: Any, compute: Callable[[], Any]) -> Any:
        """Return what `compute` gives, computed at the first call under this name alone.

        Tables, pictures, page and console show the same intervals, whose bootstraps take longest of all.
        """
        if what not in self._known:
            self._known[what] = compute()
        return self._known[what]

    @property
    def environments(self) -> list[str]:
        """Names of the environments, in order."""
        return [environment.name for environment in self.study.environments]

    @property
    def algorithms(self) -> list[str]:
        """Names of the algorithms, in order."""
        return [algorithm.name for algorithm in self.study.algorithms]

    @checked
    def cell(self, environment: str, algorithm: str) -> list[RunResult]:
        """Return the runs of one algorithm on one environment, by seed; empty where the study leaves the cell out."""
        return [run for run in self.runs if run.spec.environment == environment and run.spec.label == algorithm]

    @checked
    def scores(self, environment: str, algorithm: str) -> np.ndarray:
        """Return the normalised scores of the finished runs of a cell, shape (runs,)."""
        return np.array([run.score for run in self.cell(environment, algorithm) if run.score is not None], dtype=float)

    @checked
    def covered(self, algorithm: str) -> bool:
        """Return whether the algorithm has a finished run on every environment, so that it can be aggregated."""
        return all(len(self.scores(environment, algorithm)) for environment in self.environments)

    @checked
    def scores_by_task(self, algorithm: str) -> list[np.ndarray]:
        """Return one array of scores an environment, as the functions of `statistics` take them."""
        return [self.scores(environment, algorithm) for environment in self.environments]

    def failures(self) -> list[RunResult]:
        """Return the failed runs."""
        return [run for run in self.runs if run.status == "failed"]

    def missing(self) -> list[RunResult]:
        """Return the runs that were never finished."""
        return [run for run in self.runs if run.status == "missing"]

    def warnings(self) -> dict[str, list[RunResult]]:
        """Return what runs warned of, that of the most runs first, each with those runs."""
        found: dict[str, list[RunResult]] = {}
        for run in self.runs:
            for text in run.warnings:
                found.setdefault(text, []).append(run)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def counts(self) -> list[int]:
        """Return how many finished runs each cell of the study has."""
        cells = ((environment, algorithm) for environment in self.environments for algorithm in self.algorithms)
        return [len(self.scores(*cell)) for cell in cells]

    def other_play(self) -> dict[str, str]:
        """Return by which rule algorithms without a policy sample, where sampled play is what they are scored by."""
        found = {}
        for run in self.runs:
            play = run.summary.get(run.spec.score_by, {}).get("play", "")
            if play not in ("", "greedy", "sampled"):
                found[run.spec.label] = play
        return found

    @checked
    def references(self, environment: str) -> dict[str, Any] | None:
        """Return random and optimal return of an environment, from any of its finished runs."""
        for run in self.runs:
            if run.spec.environment == environment and run.status == "done":
                return run.summary.get("references")
        return None


@dataclass(frozen=True)
class Aggregate:
    """An algorithm's aggregates over all environments of a study."""

    algorithm: str
    """Name of the algorithm."""
    iqm: Interval | None
    """Interquartile mean of the normalised scores; None where an environment has no finished run, or where there are
    fewer than four runs in all, of which nothing can be trimmed."""
    mean: Interval | None
    """Mean of the normalised scores."""
    gap: Interval | None
    """Optimality gap."""
    finished: int
    """Finished runs."""
    failed: int
    """Failed runs."""
    expected: int
    """Runs that the study asks for."""


@checked
def collect(study: Study, out: str | Path) -> StudyResults:
    """Read every run folder of a study below ``out``.

    Raises:
        TokenGymError: If a run folder is corrupt or belongs to another configuration.
    """
    return StudyResults(study, tuple(_collect_run(spec, run_folder(out, spec)) for spec in study.runs()))


def subset(results: StudyResults, environments: Sequence[str], algorithms: Sequence[str]) -> StudyResults:
    """Return the results of some environments and algorithms of a study alone, in the study's order."""
    study = replace(
        results.study,
        environments=tuple(spec for spec in results.study.environments if spec.name in environments),
        algorithms=tuple(
            replace(spec, environments=None, overrides={})
            for spec in results.study.algorithms
            if spec.name in algorithms
        ),
    )
    runs = (run for run in results.runs if run.spec.environment in environments and run.spec.label in algorithms)
    return StudyResults(study, tuple(runs))


def aggregates(results: StudyResults, *, seed: int = 0) -> list[Aggregate]:
    """Return the aggregates of every algorithm, in the study's order."""
    return results.once(("aggregates", seed), lambda: _aggregates(results, seed))


def _aggregates(results: StudyResults, seed: int) -> list[Aggregate]:
    rows = []
    for algorithm in results.algorithms:
        runs = [run for run in results.runs if run.spec.label == algorithm]
        intervals: list[Interval | None] = [None, None, None]
        if results.covered(algorithm):
            scores = results.scores_by_task(algorithm)
            intervals = [
                stratified_bootstrap(scores, statistic, seed=seed)
                for statistic in (interquartile_mean, mean, optimality_gap)
            ]
            if sum(map(len, scores)) < MIN_RUNS:
                intervals[0] = None
        finished = sum(run.status == "done" for run in runs)
        failed = sum(run.status == "failed" for run in runs)
        rows.append(Aggregate(algorithm, *intervals, finished=finished, failed=failed, expected=len(runs)))
    return rows


def cell_interval(results: StudyResults, environment: str, algorithm: str, *, seed: int = 0) -> Interval | None:
    """Return what the finished runs of a cell say together, as `summarise` has it; None without one."""
    scores = results.scores(environment, algorithm)
    if not len(scores):
        return None
    return results.once(("cell", environment, algorithm, seed), lambda: summarise(scores, seed=seed))


def kl_ends(results: StudyResults, environment: str, algorithm: str) -> np.ndarray:
    """Return expected return and KL where the finished runs of a cell with a beta ended, float64 (runs, 2)."""
    runs = [run for run in results.cell(environment, algorithm) if run.status == "done"]
    found = [(run.curve[-1]["expected_return"], run.curve[-1]["kl"]) for run in runs]
    return np.array(found, np.float64).reshape(-1, 2)


def improvement_matrix(results: StudyResults, *, seed: int = 0) -> tuple[list[str], dict[tuple[str, str], Interval]]:
    """Return the probability of improvement of each algorithm (first) over each other (second).

    Only algorithms with a finished run on every environment take part.
    """
    return results.once(("improvement", seed), lambda: _improvement_matrix(results, seed))


def _improvement_matrix(results: StudyResults, seed: int) -> tuple[list[str], dict[tuple[str, str], Interval]]:
    names = [name for name in results.algorithms if results.covered(name)]
    matrix = {
        (first, second): probability_of_improvement(
            results.scores_by_task(first), results.scores_by_task(second), seed=seed
        )
        for first in names
        for second in names
        if first != second
    }
    return names, matrix


def summary(results: StudyResults) -> dict[str, Any]:
    """Return a JSON-able summary: every score, interval and failure, without any time."""
    return {
        "study": results.study.name,
        "environments": {
            environment: {
                "references": results.references(environment),
                "summary": {
                    algorithm: _interval(cell_interval(results, environment, algorithm))
                    for algorithm in results.algorithms
                },
                "scores": {
                    algorithm: {str(run.spec.seed): run.score for run in results.cell(environment, algorithm)}
                    for algorithm in results.algorithms
                },
            }
            for environment in results.environments
        },
        "aggregates": {
            row.algorithm: {
                "iqm": _interval(row.iqm),
                "mean": _interval(row.mean),
                "optimality_gap": _interval(row.gap),
                "finished": row.finished,
                "failed": row.failed,
                "expected": row.expected,
            }
            for row in aggregates(results)
        },
        "probability_of_improvement": [
            {"first": first, "second": second, **(_interval(interval) or {})}
            for (first, second), interval in improvement_matrix(results)[1].items()
        ],
        "failures": {run.spec.name: run.error for run in results.failures()},
        "missing": [run.spec.name for run in results.missing()],
    }


def _collect_run(spec: RunSpec, folder: RunFolder) -> RunResult:
    state = folder.state(spec)
    told = tuple(dict.fromkeys(str(row.get("text")) for row in folder.read(WARNINGS)))
    if state == "failed":
        failure = folder.failure()
        return RunResult(
            spec=spec, status="failed", error=failure["error"], traceback=failure["traceback"], warnings=told
        )
    if state != "done":
        return RunResult(spec=spec, status="missing", warnings=told)
    content = folder.verify()
    score = content.get("score")
    if not isinstance(score, float | int):
        raise TokenGymError(
            f"the run folder {folder.path} is corrupt: its seal holds no score; move or delete the folder"
        )
    curve = tuple(record for record in folder.read("evaluations.jsonl") if record.get("kind") == "training")
    timings = list(folder.read("timings.jsonl"))
    times = {one.get("tokens"): one.get("seconds") for one in timings if one.get("kind") == "evaluation"}
    noted = next((one for one in reversed(timings) if one.get("kind") == "machine"), {})
    return RunResult(
        spec=spec,
        status="done",
        score=float(score),
        summary=content,
        curve=curve,
        machine={key: str(value) for key, value in noted.items() if key not in ("kind", "tokens")},
        starts=tuple(int(one.get("tokens", 0)) for one in timings if one.get("kind") == "machine"),
        seconds=tuple(times.get(record["tokens"]) for record in curve),
        metrics=tuple(folder.read("metrics.jsonl")),
        episodes=tuple(folder.read("episodes.jsonl")),
        warnings=told,
    )


def _interval(interval: Interval | None) -> Mapping[str, Any] | None:
    return None if interval is None else asdict(interval)
