"""Chooses one step size for each algorithm and kind of model of a study, by one rule and an equal budget for all.

`python -m tokengym.experiments.zoo.tuning zoo` runs every cell of the packaged study `zoo` with a third, once and three
times the step size that it has by default, on a seed that the study does not report. Of the three an algorithm takes,
for all environments with one kind of model, the one with the highest mean score on them, which is written into the
study's file. Interrupted, or with further algorithms in the file, the same command does what is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...agents.specs import NAMES, learning_rate
from ...algorithms import ALGORITHMS
from ...envs import TokenGymError
from ...envs.checking import unknown_name
from ..console import told_in_a_line
from ..report import StudyResults, collect
from ..study import AlgorithmSpec, EnvironmentSpec, Study, find_study, load_study, run_study

FACTORS = (1 / 3, 1.0, 3.0)
"""What the default step size is multiplied by; all algorithms have the same ones."""
SEEDS = (100,)
"""Seeds of tuning, which no study reports."""
CLOSE = 0.01
"""Mean scores this near the best are as good: of them the default is taken, or what is nearest to it."""
NAMES_OF_FACTORS = {1 / 3: "third", 1.0: "default", 3.0: "triple"}


def kind_of(algorithm: AlgorithmSpec, environment: EnvironmentSpec) -> str:
    """Return the kind of model that an algorithm learns with on an environment, such as "table"."""
    spec: Any = environment.agent if algorithm.agent is None else algorithm.agent
    return str(spec["kind"]) if isinstance(spec, Mapping) else NAMES.get(str(spec), str(spec))


def default_rate(algorithm: AlgorithmSpec, environment: EnvironmentSpec) -> float:
    """Return the step size that an algorithm has on an environment where the study says nothing of it."""
    config = ALGORITHMS.config(algorithm.registered_name)().replace(**_without_rate(algorithm.config))
    rate: Any = getattr(config, "learning_rate")  # noqa: B009
    if rate is None:
        rate = learning_rate(kind_of(algorithm, environment))
    if not isinstance(rate, float):
        raise TokenGymError(f"the step size of {algorithm.name!r} is {rate!r}, no number that can be tried larger")
    return rate


def tuning_study(study: Study, seeds: Sequence[int] = SEEDS, on: Sequence[str] | None = None) -> Study:
    """Return the study that tries each factor in each cell of `study`, evaluated at its end alone.

    Args:
        study: what is tuned.
        seeds: those of tuning.
        on: names of the environments to tune on; None for all.

    Raises:
        TokenGymError: a seed of tuning is one that the study reports, or an environment is none of its own.
    """
    names = [environment.name for environment in study.environments]
    for name in on or ():
        if name not in names:
            raise unknown_name("environment", name, names)
    places = [one for one in study.environments if on is None or one.name in on]
    reported = sorted(set(seeds) & set(study.seeds))
    if reported:
        raise TokenGymError(f"seed {reported[0]} is reported by the study {study.name!r}: tune on others")
    tried = []
    for algorithm in study.algorithms:
        for factor in FACTORS:
            overrides = {
                environment.name: {
                    **_without_rate(algorithm.overrides.get(environment.name, {})),
                    "learning_rate": _rounded(factor * default_rate(algorithm, environment)),
                }
                for environment in places
                if study.covers(algorithm, environment)
            }
            if not overrides:
                continue
            tried.append(
                dataclasses.replace(
                    algorithm,
                    name=label(algorithm.name, factor),
                    algorithm=algorithm.registered_name,
                    config=_without_rate(algorithm.config),
                    overrides=overrides,
                    environments=tuple(overrides),
                )
            )
    evaluation = dataclasses.replace(study.evaluation, points=0, samples=0)
    return dataclasses.replace(
        study,
        name=f"{study.name}-tuning",
        seeds=tuple(seeds),
        evaluation=evaluation,
        environments=tuple(places),
        algorithms=tuple(tried),
    )


def label(algorithm: str, factor: float) -> str:
    """Return the name of an algorithm with a factor in the study of tuning."""
    return f"{algorithm}.{NAMES_OF_FACTORS[factor]}"


def chosen(scores: Mapping[float, float]) -> float:
    """Return the factor with the highest mean score; of those within `CLOSE` of it the nearest to 1, then the smaller.

    Args:
        scores: mean final score by factor.
    """
    best = max(scores.values())
    near = [factor for factor, score in scores.items() if score >= best - CLOSE]
    return min(near, key=lambda factor: (round(abs(math.log(factor)), 6), factor))


def chosen_rates(study: Study, results: StudyResults) -> dict[str, dict[str, float]]:
    """Return by algorithm and environment the step sizes that are not the default, from a tuning.

    An environment on which a factor has no finished run is left out of the means, and has what they say all the same.
    """
    rates: dict[str, dict[str, float]] = {}
    for algorithm in study.algorithms:
        there = [environment for environment in study.environments if study.covers(algorithm, environment)]
        for kind in dict.fromkeys(kind_of(algorithm, environment) for environment in there):
            alike = [environment for environment in there if kind_of(algorithm, environment) == kind]
            cells = [
                [results.scores(environment.name, label(algorithm.name, factor)) for factor in FACTORS]
                for environment in alike
                if environment.name in results.environments
            ]
            whole = [[scores.mean() for scores in cell] for cell in cells if all(map(len, cell))]
            if not whole:
                continue
            factor = chosen(dict(zip(FACTORS, np.mean(whole, axis=0).tolist(), strict=True)))
            if factor != 1.0:
                for environment in alike:
                    rate = _rounded(factor * default_rate(algorithm, environment))
                    rates.setdefault(algorithm.name, {})[environment.name] = rate
    return rates


def with_rates(text: str, study: Study, rates: Mapping[str, Mapping[str, float]]) -> str:
    """Return a study's file with its algorithms written anew, each with its step sizes; what stands above stays."""
    above, mark, _ = text.partition("\nalgorithms:\n")
    if not mark:
        raise TokenGymError(f"the file of study {study.name!r} has no line 'algorithms:' of its own; add one")
    lines = []
    for algorithm in study.algorithms:
        given = {field.name: getattr(algorithm, field.name) for field in dataclasses.fields(algorithm)}
        usual = {field.name: field.default for field in dataclasses.fields(algorithm)}
        overrides = {name: _without_rate(values) for name, values in algorithm.overrides.items()}
        for name, rate in rates.get(algorithm.name, {}).items():
            overrides[name] = {**overrides.get(name, {}), "learning_rate": rate}
        given["overrides"] = {name: values for name, values in overrides.items() if values}
        kept: dict[str, Any] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if name not in ("name",) and value != usual[name] and value not in ({}, ())
        }
        tuned: dict[str, Any] = kept.pop("overrides", {})
        lines.append(f"  {algorithm.name}:" + ("" if kept or tuned else " {}"))
        lines += [f"    {name}: {_flow(value)}" for name, value in kept.items()]
        lines += ["    overrides:"] if tuned else []
        lines += [f"      {name}: {_flow(values)}" for name, values in tuned.items()]
    return above + mark + "\n".join(lines) + "\n"


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Tune, and write what was chosen into the study's file; 1 where runs failed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", default="zoo", help="a packaged study, or a file")
    parser.add_argument("--out", type=Path, help="where its runs go; by default results/<study>-tuning")
    parser.add_argument("--workers", type=int, help="processes; by default one for each core")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="seeds of tuning")
    parser.add_argument("--on", nargs="+", help="environments to tune on; by default all")
    parser.add_argument("--choose-only", action="store_true", help="run nothing; choose from what is there")
    options = parser.parse_args(arguments)
    path = find_study(options.study)
    study = load_study(path)
    tuning = tuning_study(study, options.seeds, options.on)
    out = options.out or Path("results") / tuning.name
    failed = 0 if options.choose_only else run_study(tuning, out, workers=options.workers, on_event=_told)
    results = collect(tuning, out)
    rates = chosen_rates(study, results)
    path.write_text(with_rates(path.read_text(encoding="utf-8"), study, rates), encoding="utf-8")
    cells = sum(study.covers(one, place) for one in study.algorithms for place in study.environments)
    moved = sum(map(len, rates.values()))
    print(f"{len(results.runs)} runs, {failed} failed: {moved} of {cells} cells leave their default; written to {path}")
    return 1 if failed else 0


def _told(event: Any) -> None:
    if event.kind == "failed":
        print(f"failed {event.spec.name}: {event.error}", file=sys.stderr)


def _without_rate(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "learning_rate"}


def _rounded(rate: float) -> float:
    """Two digits are enough of a step size, and read better."""
    return float(f"{rate:.2g}")


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip().removesuffix("\n...")


if __name__ == "__main__":
    sys.exit(main())
