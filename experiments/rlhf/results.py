"""What a pipeline found, gathered from its stages' folders; nothing here runs or imports an algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..statistics import Interval, summarise
from .running import plan
from .spec import MethodPart, Pipeline
from .stages import BEFORE, COMPARISONS, MODEL


@dataclass(frozen=True)
class SeedResults:
    """What one seed found.

    Attributes:
        seed: the seed.
        facts: what every finished stage found, by the stage's name.
        seconds: how long it took.
        costs: what each cost beside that; see `cost_since`.
        missing: the stages that are not done.
    """

    seed: int
    facts: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    costs: dict[str, dict[str, float]]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class PipelineResults:
    """What a pipeline found.

    Attributes:
        pipeline: the pipeline.
        seeds: one entry a seed.
    """

    pipeline: Pipeline
    seeds: tuple[SeedResults, ...]

    @property
    def methods(self) -> list[MethodPart]:
        """The methods of which at least one seed is done."""
        return [part for part in self.pipeline.methods if self.of(part.name)]

    @property
    def has_proxy(self) -> bool:
        """Whether there is a reward model."""
        return self.pipeline.reward_model is not None

    def of(self, stage: str) -> list[dict[str, Any]]:
        """Return what a stage found, one entry a seed that is done."""
        return [one.facts[stage] for one in self.seeds if stage in one.facts]

    def final(self, stage: str, name: str) -> Interval | None:
        """Return what all seeds say together of how a method ended: its ``gold``, ``proxy`` or ``kl``.

        One seed has the interval of its completions: 1.96 standard errors to both sides.
        """
        found = [facts["final"] for facts in self.of(stage)]
        values = [one[name] for one in found if one.get(name) is not None]
        if not values:
            return None
        error = found[0].get(f"{name}_error")
        if len(values) == 1 and error is not None:
            return Interval(values[0], values[0] - 1.96 * error, values[0] + 1.96 * error, statistic="mean")
        return summarise(np.array(values))

    def curve(self, stage: str, name: str) -> list[np.ndarray]:
        """Return one curve a seed of what was judged on the way, from where all began; NaN where it is not known."""
        curves = []
        for one in self.seeds:
            if stage in one.facts and BEFORE in one.facts:
                points = [one.facts[BEFORE]["final"], *one.facts[stage].get("points", ())]
                if name == "kl":  # all begin where the KL is measured to
                    points[0] = {**points[0], "kl": 0.0}
                curves.append(np.array([np.nan if p.get(name) is None else p[name] for p in points], float))
        return curves


def gather(pipeline: Pipeline, out: str | Path) -> PipelineResults:
    """Gather what a pipeline's folder holds of it.

    Raises:
        TokenGymError: A stage was done under other settings, or cannot be read.
    """
    seeds = []
    for seed in pipeline.seeds:
        facts, seconds, costs, missing = {}, {}, {}, []
        for stage in plan(pipeline, Path(out), seed):
            if stage.state() == "done":
                facts[stage.name], seconds[stage.name], costs[stage.name] = stage.facts(), stage.seconds, stage.cost
            else:
                missing.append(stage.name)
        seeds.append(SeedResults(seed, facts, seconds, costs, tuple(missing)))
    return PipelineResults(pipeline, tuple(seeds))


def summary(results: PipelineResults) -> dict[str, Any]:
    """Return the numbers of a pipeline as JSON-able data: what each method ended with, seed by seed."""
    finals = {
        name: [{"seed": one.seed, **one.facts[name]["final"]} for one in results.seeds if name in one.facts]
        for name in (BEFORE, *(part.name for part in results.pipeline.methods))
    }
    told: dict[str, Any] = {
        stage: [
            {"seed": one.seed, **{k: v for k, v in one.facts[stage].items() if k not in ("examples", "calibration")}}
            for one in results.seeds
            if stage in one.facts
        ]
        for stage in (COMPARISONS, MODEL)
    }
    errors = {
        part.name: [{"seed": one.seed, "ratio_error": one.facts[part.name]["ratio_error"]} for one in results.seeds
                    if "ratio_error" in one.facts.get(part.name, {})]
        for part in results.pipeline.methods
    }  # fmt: skip
    told["ratio_errors"] = {name: found for name, found in errors.items() if found}
    return {"name": results.pipeline.name, "methods": finals, **{k: v for k, v in told.items() if v}}
