"""The grid of the study on over-optimisation: labels × noise × one model or an ensemble, followed exactly both ways.

An ensemble is the worst of ten models, each fitted to comparisons of its own, drawn with replacement from those that
the single model learns from. All of a task's texts can be listed, so every frontier is exact: the tilted optimum, where
reinforcement learning with a KL penalty ends ("rl"), and best-of-n.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...envs import make_task
from ...envs.tasks.learned import ProxyTask
from .frontiers import Frontier, best_of_frontier, fitted_form, tilted_frontier

LABELS = (50, 200, 1000, 5000)
FLIPS = (0.0, 0.25)
MEMBERS = 10
"""Models of an ensemble."""
WAYS: dict[str, Callable[[ProxyTask], Frontier]] = {"rl": tilted_frontier, "best-of-n": best_of_frontier}
KLS = (2.0, 4.0, 8.0)
"""Where the gold of an ensemble is held against that of a single model."""
_TEXTS = {
    "num_tokens": 32,
    "length": 3,
    "roughness": 0.5,
    "repeats_count": False,
    "reads": "repeats",
    "hidden": 0,
}


@dataclass(frozen=True)
class Cell:
    """A reward model of the grid.

    Attributes:
        labels: Comparisons that it was fitted to.
        flips: Share of them that is turned over.
        ensemble: Whether it is the worst of an ensemble and not a single model.
        settings: Further arguments of the environment, as pairs.
    """

    labels: int
    flips: float
    ensemble: bool = False
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What tables call it."""
        noise = f"{self.flips:.0%} wrong" if self.flips else "none wrong"
        more = "".join(f", {name.replace('_', ' ')} {value:g}" for name, value in self.settings)
        return f"{self.labels:,} labels, {noise}{more}{', worst of ten' if self.ensemble else ''}"

    def task(self, instance: int) -> ProxyTask:
        """Return an instance of the environment that pays this model; gold and comparisons are the same for all."""
        one: dict[str, Any] = {"members": 1}
        many = {"members": MEMBERS, "combine": "worst", "bootstrap": True}
        given = {"num_labels": self.labels, "flips": self.flips, "instance_seed": instance, **dict(self.settings)}
        return cast(ProxyTask, make_task("NoisyPref", **_TEXTS, **given, **(many if self.ensemble else one)))


CELLS = tuple(Cell(labels, flips, ensemble) for flips in FLIPS for labels in LABELS for ensemble in (False, True))
BESIDES = (
    Cell(2_000, 0.25),
    Cell(2_000, 0.25, settings=(("weight_decay", 10.0),)),
    Cell(20_000, 0.25),
    Cell(2_000, 0.0),
    Cell(20_000, 0.0),
    Cell(20_000, 0.0, ensemble=True),
)
"""Reward models beside the grid: those that PPO is run on, and others that were looked at."""


@cache
def frontiers(cell: Cell, instances: tuple[int, ...]) -> dict[str, list[Frontier]]:
    """Return a cell's frontiers by way, one an instance; the proxy is 0 under random play."""
    found: dict[str, list[Frontier]] = {way: [] for way in WAYS}
    for number in instances:
        task = cell.task(number)
        for way, follow in WAYS.items():
            one = follow(task)
            found[way].append(
                Frontier(one.kl, one.proxy - float(np.exp(task.texts.log_random) @ task.proxy), one.gold, one.start)
            )
    return found


def grid_table(cells: Iterable[Cell], instances: Sequence[int]) -> str:
    """Return what each reward model's frontiers look like, and the forms fitted to them: medians, as Markdown.

    α, β and R² are those of the forms of Gao et al., fitted to each instance's gold at 60 distances d = √KL, evenly
    from the frontier's start to its end.
    """
    lines = [
        "| reward model | how | turns over | gold's peak | at KL | proxy there | gold at the end | proxy at the end "
        "| α | β | R² |",
        f"|---|---|{'--:|' * 9}",
    ]
    for cell in cells:
        for way, found in frontiers(cell, tuple(instances)).items():
            forms = [fitted_form(one.spread(), way) for one in found]
            numbers = [
                *(np.median([getattr(one, name) for one in found]) for name in ("peak", "peak_kl", "peak_proxy")),
                *(np.median([getattr(one, name)[-1] for one in found]) for name in ("gold", "proxy")),
                *(np.median([getattr(form, name) for form in forms]) for name in ("alpha", "beta", "explained")),
            ]
            turned = f"{sum(one.turned for one in found)} of {len(found)}"
            lines.append(f"| {' | '.join([cell.name, way, turned, *map(decimal, numbers)])} |")
    return "\n".join(lines)


def ensemble_table(instances: Sequence[int], kls: Sequence[float] = KLS) -> str:
    """Return how much more gold the worst of ten keeps than a single model at equal KL, as Markdown.

    Means over the instances of the difference on each, with 95% percentile intervals of a bootstrap of the instances.
    """
    lines = [
        f"| labels | wrong | how | {' | '.join(f'KL {kl:g}' for kl in kls)} |",
        f"|--:|--:|---|{'--:|' * len(kls)}",
    ]
    for flips in reversed(FLIPS):
        for labels in LABELS:
            many, one = (frontiers(Cell(labels, flips, ensemble), tuple(instances)) for ensemble in (True, False))
            for way in WAYS:
                cells = []
                for kl in kls:
                    pairs = zip(many[way], one[way], strict=True)
                    reached = [(a, b) for a, b in pairs if min(a.kl[-1], b.kl[-1]) >= kl]
                    gains = np.array([a.gold_at(kl) - b.gold_at(kl) for a, b in reached])
                    cells.append(interval(gains) if len(gains) == len(instances) else "–")
                lines.append(f"| {labels:,} | {flips:.0%} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plain_ensemble_table(instances: Sequence[int], kls: Sequence[float] = KLS) -> str:
    """Return what the worst of five models that saw the same comparisons keeps, on NoisyPref with 200 labels."""

    def followed(number: int, **model: Any) -> Frontier:
        task = make_task("NoisyPref", num_labels=200, instance_seed=number, **model)
        return tilted_frontier(cast(ProxyTask, task))

    pairs = [(followed(number, combine="worst"), followed(number, members=1)) for number in instances]
    cells = (interval(np.array([many.gold_at(kl) - one.gold_at(kl) for many, one in pairs])) for kl in kls)
    heads = (f"KL {kl:g}" for kl in kls)
    return f"| {' | '.join(heads)} |\n|{'--:|' * len(kls)}\n| {' | '.join(cells)} |"


def interval(values: npt.NDArray[np.float64], resamples: int = 10_000) -> str:
    """Return a mean with the 95% percentile interval of a bootstrap, as tables write it."""
    drawn = np.random.default_rng(0).choice(values, (resamples, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{decimal(float(values.mean()))} [{decimal(low)}, {decimal(high)}]"


def decimal(value: float) -> str:
    """Return a number with two decimals, as tables write it; what rounds to 0 has no sign."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
