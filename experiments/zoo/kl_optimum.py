"""Who reaches the KL-regularised optimum: the table and the picture of the study `kl-optimum`.

`python -m tokengym.experiments.zoo.kl_optimum results/kl-optimum` prints the table of `docs/studies/kl-optimum.md` and
draws its picture, from the finished study of that name in that folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ...envs import FiniteTask, TokenGymError, evaluate_policy, make_task, solve
from ..audit import fixed_point, optimum, regret
from ..console import told_in_a_line
from ..report import StudyResults, collect, kl_ends, style
from ..student import told
from ..study import EnvironmentSpec, find_study, load_study

Array = npt.NDArray[np.float64]

LIMITS: Mapping[str, float] = {"uniform": 0.05, "one-leaf": 0.05, "text": 0.1}
"""Below which regret an environment counts as solved: of a table, and of a network."""
ELSEWHERE: Mapping[str, tuple[str, dict[str, Any]] | None] = {
    "token-k2": ("token_k2", {}),
    "token-k3": ("token_k3", {}),
    "grpo": ("token_k3", {"standardised": True}),
    "online-dpo-sure": None,
}
"""The study's algorithms that claim another fixed point than the optimum, or none inside."""
BETAS = np.geomspace(8.0, 0.004, 40)
_TITLES = {"uniform": "KLTree, rewards everywhere", "one-leaf": "KLTree, one text of 256 pays", "text": "LengthBias"}
_STYLES: Mapping[str, tuple[str, str]] = {
    "token-k2": ("s", "#d1495b"),
    "token-k3": ("D", "#e08214"),
    "grpo": ("^", "#8a5fbf"),
    "online-dpo": ("v", "#7a7a7a"),
    "online-dpo-sure": ("P", "#333333"),
}
"""Markers and colours of what does not claim the optimum, and of what claims it without getting there."""


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Print the table and draw the picture; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the folder of the study kl-optimum")
    parser.add_argument("--out", type=Path, default=Path("docs") / "studies", help="where the picture goes")
    options = parser.parse_args(arguments)
    results = collect(load_study(find_study("kl-optimum")), options.results)
    print(table(results))
    options.out.mkdir(parents=True, exist_ok=True)
    with style():
        picture(results).savefig(options.out / "kl-optimum.png", metadata={"Software": None}, dpi=80)
    return 0


def regrets(results: StudyResults, environment: EnvironmentSpec, algorithm: str) -> Array:
    """Return (V* − V)/(V* − V_ref) of the finished runs of a cell, V = E[R] − β·KL to the uniform policy, (runs,)."""
    best, start = _ends_of(environment)
    ends, beta = kl_ends(results, environment.name, algorithm), environment.beta
    assert beta is not None
    return (best - (ends[:, 0] - beta * ends[:, 1])) / (best - start)


def rest(environment: EnvironmentSpec, algorithm: str) -> float | None:
    """Return the regret where theory says that a method comes to rest, or None where it says nothing."""
    if algorithm not in ELSEWHERE:
        return 0.0
    point = _point(environment, algorithm)
    return None if point is None else regret(_task(environment), point, _beta(environment))


def table(results: StudyResults) -> str:
    """Return regrets as Markdown: where theory says that a method rests, where runs ended, how many reached it."""
    environments = results.study.environments
    lines = [
        "| method | "
        + " | ".join(f"{one.name}: theory | runs | below {LIMITS[one.name]:g}" for one in environments)
        + " |",
        "|---|" + "--:|--:|--:|" * len(environments),
    ]
    for algorithm in results.study.algorithms:
        cells = []
        for one in environments:
            found, theory = regrets(results, one, algorithm.name), rest(one, algorithm.name)
            reached = f"{int((found < LIMITS[one.name]).sum())} of {len(found)}"
            cells += ["" if theory is None else f"{theory + 0.0:.3f}", told(found), reached]
        lines.append(f"| {algorithm.name} | {' | '.join(cells)} |".replace("| -0.000", "| 0.000"))
    return "\n".join(lines)


def picture(results: StudyResults) -> Figure:
    """Return expected return against the KL: the frontier, the optimum, fixed points (rings) and runs."""
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    axes = figure.subplots(1, len(results.study.environments))
    for axis, one in zip(axes, results.study.environments, strict=True):
        task, beta = _task(one), _beta(one)
        frontier = [evaluate_policy(task, optimum(task, float(other))) for other in BETAS]
        axis.plot([at.kl for at in frontier], [at.expected_return for at in frontier], color="#9aa5b1", zorder=0)
        best = evaluate_policy(task, optimum(task, beta))
        for algorithm in results.study.algorithms:
            runs = kl_ends(results, one.name, algorithm.name)
            claimed = algorithm.name not in _STYLES
            marker, colour = ("x", "#0b6fb8") if claimed else _STYLES[algorithm.name]
            label = "claim the optimum" if claimed else algorithm.name
            axis.plot(
                runs[:, 1], runs[:, 0], marker, color=colour, markersize=5, alpha=0.7, label=label, linestyle="none"
            )
            point = _point(one, algorithm.name) if algorithm.name in ELSEWHERE else None
            if point is not None:
                at = evaluate_policy(task, point)
                axis.scatter(at.kl, at.expected_return, s=120, facecolors="none", edgecolors=colour, linewidths=1.6)
        axis.scatter(
            best.kl, best.expected_return, s=260, marker="*", facecolors="none", edgecolors="#1b7837", zorder=5,
            linewidths=1.6, label="the optimum",
        )  # fmt: skip
        axis.set(title=f"{_TITLES[one.name]}, β = {beta:g}", xlabel="KL from the reference, in nats")
    axes[0].set(ylabel="expected return")
    handles, labels = axes[0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(
        once.values(), once.keys(), loc="outside right center", title="line: best at each KL\nrings: theory", fontsize=9
    )
    return figure


def _beta(environment: EnvironmentSpec) -> float:
    assert environment.beta is not None
    return float(environment.beta)


def _task(environment: EnvironmentSpec) -> FiniteTask:
    return _made(environment.task_id, tuple(sorted(environment.kwargs.items())))


@lru_cache(maxsize=8)
def _made(name: str, kwargs: tuple[tuple[str, Any], ...]) -> FiniteTask:
    task = make_task(name, **dict(kwargs))
    assert isinstance(task, FiniteTask)
    return task


def _ends_of(environment: EnvironmentSpec) -> tuple[float, float]:
    """V of the optimum and of the uniform policy."""
    solved = solve(_task(environment), beta=_beta(environment))
    assert solved.kl_optimal_return is not None
    return solved.kl_optimal_return, solved.random_return


def _point(environment: EnvironmentSpec, algorithm: str) -> Any:
    """The policy at which theory says that a method rests, or None."""
    kind = ELSEWHERE[algorithm]
    if kind is None:
        return None
    return _rests(environment.task_id, tuple(sorted(environment.kwargs.items())), _beta(environment), algorithm)


@lru_cache(maxsize=16)
def _rests(name: str, kwargs: tuple[tuple[str, Any], ...], beta: float, algorithm: str) -> Any:
    kind = ELSEWHERE[algorithm]
    assert kind is not None
    try:
        return fixed_point(_made(name, kwargs), beta, kind[0], **kind[1])  # pyright: ignore[reportArgumentType]
    except TokenGymError:
        return None


if __name__ == "__main__":
    sys.exit(main())
