"""Finished run folders with made-up numbers, so that results, plots and reports are tested without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tokengym.algorithms import ALGORITHMS
from tokengym.experiments.study.file import study_from_mapping
from tokengym.experiments.study.folder import RunFolder
from tokengym.experiments.study.spec import RunSpec, Study

FINAL = {"ppo": 0.97, "a2c": 0.9, "dqn": 0.8, "sac": 0.6, "sb3-ppo": 0.85}


def make_study(*, environments=("Copy", "KLTree", "Lattice", "CartPole"), algorithms=tuple(FINAL), seeds=4) -> Study:
    entries = {name: {} for name in environments}
    if "KLTree" in entries:
        entries["KLTree"] = {"agent": "table", "beta": 0.2}
    if "CartPole" in entries:
        entries["CartPole"] = {"total_tokens": 40_000}
    return study_from_mapping(
        {
            "name": "synthetic",
            "description": "Made-up numbers that look like learning.",
            "total_tokens": 20_000,
            "seeds": seeds,
            "environments": entries,
            "algorithms": {
                name: {
                    "algorithm": name if name in ALGORITHMS else "ppo",
                    "reference": name.startswith("sb3-"),
                    "config": {"learning_rate": 0.001},
                }
                for name in algorithms
            },
        }
    )


def write_run(out: Path, spec: RunSpec, *, final: float | None = None, columns: bool = False) -> RunFolder:
    generator = np.random.default_rng([spec.seed, len(spec.environment), len(spec.label)])
    low, high = (20.0, 500.0) if spec.environment == "CartPole" else (0.1, 1.0)
    final = FINAL.get(spec.label, 0.5) if final is None else final
    folder = RunFolder(out / "runs" / spec.name)
    folder.begin(spec)
    references = {"random": low, "optimal": high}
    score = 0.0
    for point in range(11):
        fraction = point / 10
        score = min(1.0, final * (1 - np.exp(-4 * fraction)) / (1 - np.exp(-4)) + 0.03 * generator.normal())
        tokens = round(fraction * spec.total_tokens)
        folder.append(
            "evaluations.jsonl",
            {
                "kind": "training",
                "target_tokens": tokens,
                "tokens": tokens,
                "mode": spec.score_by,
                "value": low + score * (high - low),
                "score": score,
                **references,
                **(reported(score, fraction) if columns else {}),
            },
        )
        folder.append(
            "timings.jsonl", {"kind": "evaluation", "tokens": tokens, "seconds": 10 * fraction * (1 + spec.seed)}
        )
    for update in range(1, 41):
        tokens = round(update / 40 * spec.total_tokens)
        folder.append(
            "metrics.jsonl",
            {
                "tokens": tokens,
                "objective/kl": 0.05 * update + 0.1 * generator.random(),
                "policy/entropy": 2.0 * np.exp(-update / 15) + 0.05 * generator.random(),
                "episode/length": 5 + generator.random(),
            },
        )
    folder.append(
        "episodes.jsonl",
        {
            "text": "a b &",
            "segments": [["task", "a b | "], ["agent", "a b <b>&"]],
            "return": 1.0,
            "mode": "greedy",
            "start": 7,
        },
    )
    evaluation = {
        "return": low + score * (high - low),
        "value": low + score * (high - low),
        "score": score,
        "exact": True,
        **(reported(score, 1.0) if columns else {}),
    }
    folder.finish(
        {
            "score": score,
            "tokens": spec.total_tokens,
            "references": references,
            "greedy": evaluation,
            "sampled": evaluation,
        }
    )
    return folder


def reported(score: float, fraction: float) -> dict:
    """What a task reports whose proxy goes on rising when its gold has turned."""
    gold = score * (1.5 - fraction)
    return {"expected_return": score, "columns": {"gold": gold, "format": min(1.0, 2 * score)}}


def write_study(
    out: Path,
    study: Study,
    *,
    failed: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
) -> None:
    for spec in study.runs():
        if spec.name in missing:
            continue
        folder = write_run(out, spec, columns=spec.environment in columns)
        if spec.name in failed:
            folder.begin(spec)
            folder.fail("ValueError: loss is NaN", "Traceback (most recent call last):\n  …\nValueError: loss is NaN\n")
