"""Ways to steer the KL of a learner on a learned reward, followed exactly: a weight, an adaptive one, a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.optimize import brentq

from ...algorithms import PPO, Callback
from ...envs import evaluate_policy, make_task
from ...envs.tasks.learned import ProxyTask
from .length_bias import interval

Array = npt.NDArray[np.float64]

TARGETS = (1, 2, 4)
WAYS = ("fixed", "adaptive", "budget")
INSTANCES = range(10)
"""What is learnt on, once each; the run's seed is the instance's number."""
TUNING = range(1000, 1010)
TOKENS = 12_000
_GRID = np.linspace(0, TOKENS, 49)


@dataclass(frozen=True)
class Steered:
    """A run, at its beginning and after each update.

    Attributes:
        tokens: Agent tokens so far, (P,).
        kl: KL from random play in nats, exact, (P,).
        gold: Expected gold reward, exact, (P,).
    """

    tokens: Array
    kl: Array
    gold: Array

    def held(self, values: Array) -> Array:
        """Return values (P,) at equally spaced tokens; a run that ended stays as it is."""
        return np.interp(_GRID, self.tokens, values)


def instance(number: int) -> ProxyTask:
    """Return a proxy fitted to 200 comparisons of which a quarter is labelled wrongly."""
    return cast(ProxyTask, make_task("GoldProxy", length=6, num_labels=200, flips=0.25, instance_seed=number))


@cache
def fixed_weight(target: float) -> float:
    """Return the median over the tuning instances of the weight whose exact optimum has this KL."""

    def beyond(log_beta: float, task: ProxyTask) -> float:
        return task.tilted(float(np.exp(log_beta))).kl - target

    found = [cast(float, brentq(beyond, -4, 4, args=(instance(number),))) for number in TUNING]
    return round(float(np.exp(np.median(found))), 2)


def options(way: str, target: float) -> Mapping[str, Any]:
    """Return how PPO is told to steer to a KL; nothing for a way "none"."""
    if way == "none":
        return {}
    kinds = {
        "fixed": lambda: {"kl_coef": fixed_weight(target)},
        "adaptive": lambda: {"kl_coef": 0.5, "kl_target": float(target), "kl_horizon": 500},
        "budget": lambda: {"kl_budget": float(target)},
    }
    return {"kl_reference": "uniform", **kinds[way]()}


def steer(number: int, way: str, target: float, tokens: int = TOKENS) -> Steered:
    """Train PPO on an instance and return how its KL and gold went."""
    look = _Look()
    PPO(instance(number), seed=number, rollout_tokens=768, **options(way, target)).learn(tokens, callback=look)
    return Steered(*(np.array(column, np.float64) for column in zip(*look.seen, strict=True)))


def all_runs() -> dict[tuple[str, float], list[Steered]]:
    """Return the runs of every way and target, one an instance."""
    cells = [("none", 0.0), *((way, float(target)) for target in TARGETS for way in WAYS)]
    return {(way, target): [steer(number, way, target) for number in INSTANCES] for way, target in cells}


def steering_table(runs: Mapping[tuple[str, float], Sequence[Steered]]) -> str:
    """Return KL and gold at the end of each way, means with 95% intervals over the instances, as Markdown."""
    lines = [
        "| target | how | tokens used | KL at the end | off the target by | largest KL on the way | gold at the end |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for (way, target), found in sorted(runs.items(), key=lambda one: (one[0][1], one[0][0] != "fixed", one[0][0])):
        kl = np.array([one.kl[-1] for one in found])
        off = interval(np.abs(kl - target)) if target else ""
        most, gold = [one.kl.max() for one in found], [one.gold[-1] for one in found]
        cells = [
            f"{np.mean([one.tokens[-1] for one in found]):,.0f}",
            interval(kl),
            off,
            interval(most),
            interval(gold),
        ]
        lines.append(f"| {f'{target:g}' if target else ''} | {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def steering_picture(runs: Mapping[tuple[str, float], Sequence[Steered]]) -> Figure:
    """Return the KL (above) and gold (below) by tokens, a column a target: means, and bands over all the instances."""
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    axes = figure.subplots(2, len(TARGETS), sharex=True, sharey="row")
    for column, target in enumerate(TARGETS):
        for way, colour in zip((*WAYS, "none"), ("#0b6fb8", "#e08a00", "#2e8b57", "#9aa5b1"), strict=True):
            found = runs[way, 0.0 if way == "none" else float(target)]
            for axis, values in zip(
                axes[:, column],
                (np.array([one.held(one.kl) for one in found]), np.array([one.held(one.gold) for one in found])),
                strict=True,
            ):
                axis.plot(_GRID, values.mean(axis=0), color=colour, label=way)
                axis.fill_between(_GRID, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axes[0, column].axhline(target, color="#444444", linewidth=0.8, linestyle=":")
        axes[0, column].set(title=f"target {target}")
        axes[1, column].set_xlabel("agent tokens")
    axes[0, 0].set_ylabel("KL from random play, in nats")
    axes[1, 0].set_ylabel("gold")
    axes[0, 0].legend(loc="upper left", fontsize=8)
    return figure


class _Look(Callback):
    """Evaluates the policy exactly at the beginning and after each update."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float]] = []

    def on_start(self, algorithm: Any) -> None:
        self._look(algorithm)

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> None:
        self._look(algorithm)

    def _look(self, algorithm: Any) -> None:
        found = evaluate_policy(algorithm.task, algorithm.agent.probabilities)
        self.seen.append((float(algorithm.num_timesteps), found.kl, found.columns["gold"]))
