"""Where methods with a KL come to rest, and what the estimators of the KL are worth, on trees that can be listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from ...envs import FiniteTask, evaluate_policy
from ...envs.tasks.diagnostics import KLTree
from ..audit import fixed_point, kl_estimators, optimum, regret, table_agent
from ..report import StudyResults, kl_ends
from ..student import told

Array = npt.NDArray[np.float64]

BETA = 0.2
TREES: Mapping[str, Callable[[], KLTree]] = {"uniform": KLTree, "one-leaf": lambda: KLTree(rewards="one_leaf")}
"""The environments of the study `kl-fixed-points`, by their names there."""
RESTS: Mapping[str, str] = {
    "k1-reward": "optimum",
    "sequence-k2-loss": "optimum",
    "exact-both": "optimum",
    "token-k2-loss": "token_k2",
    "exact-loss": "token_k2",
    "token-k3-loss": "token_k3",
    "sequence-k3-loss": "sequence_k3",
}
"""The fixed point that theory names, by the study's algorithms."""
BETAS = np.geomspace(5.0, 0.01, 80)
SPREADS = np.geomspace(0.05, 3.0, 16)
"""Sizes of the logits of policies at growing distance from the reference."""
DRAWS = range(10)
_SHOWN = (("exact", "token"), ("k1", "token"), ("k2", "token"), ("k3", "token"), ("k2", "sequence"), ("k3", "sequence"))
_VIEWS: Mapping[str, Any] = {"uniform": {"xlim": (0.35, 0.75), "ylim": (0.76, 0.86)}}
_COLOURS = ("#444444", "#d1495b", "#0b6fb8", "#2e8b57", "#7fb3d9", "#8fcfa8", "#8a5fbf")


def rest_table(results: StudyResults) -> str:
    """Return regret, return and KL where theory says that each ends, and where runs ended, as Markdown."""
    lines = [
        "| tree | the KL | theory: regret | return | KL | runs | regret | return | KL |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for tree, make in TREES.items():
        task = make()
        best, start = _value(task, optimum(task, BETA)), _value(task, None)
        for name, kind in RESTS.items():
            policy = fixed_point(task, BETA, kind)  # pyright: ignore[reportArgumentType]
            at_rest = evaluate_policy(task, policy)
            ends = kl_ends(results, tree, name)
            cells = [f"{number:.3f}" for number in (regret(task, policy, BETA), at_rest.expected_return, at_rest.kl)]
            cells.append(str(len(ends)))
            missed = (best - (ends[:, 0] - BETA * ends[:, 1])) / (best - start)
            cells += [told(missed), told(ends[:, 0]), told(ends[:, 1])]
            lines.append(f"| {tree} | {name} | {' | '.join(cells)} |".replace("| -0.000", "| 0.000"))
    return "\n".join(lines)


def rest_picture(results: StudyResults) -> Figure:
    """Return expected return against the KL: the frontier, the fixed points (rings) and the runs (crosses)."""
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, (tree, make) in zip(axes, TREES.items(), strict=True):
        task = make()
        frontier = [evaluate_policy(task, optimum(task, float(beta))) for beta in BETAS]
        axis.plot([one.kl for one in frontier], [one.expected_return for one in frontier], color="#9aa5b1", zorder=0)
        for (name, kind), colour in zip(RESTS.items(), _COLOURS, strict=True):
            at_rest = evaluate_policy(task, fixed_point(task, BETA, kind))  # pyright: ignore[reportArgumentType]
            size = {"exact-both": 190, "sequence-k2-loss": 110, "exact-loss": 110}.get(name, 50)
            axis.scatter(
                at_rest.kl, at_rest.expected_return, s=size, facecolors="none", edgecolors=colour, linewidths=1.6
            )
            runs = kl_ends(results, tree, name)
            axis.plot(runs[:, 1], runs[:, 0], "x", color=colour, markersize=6, label=name)
        axis.set(
            title=f"KLTree, {tree}, β = {BETA:g}", xlabel="KL from the reference, in nats", ylabel="expected return"
        )
        axis.set(**_VIEWS.get(tree, {}))
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside right center",
        title="crosses: runs\nrings: theory\nline: best at each KL",
    )
    return figure


@dataclass(frozen=True)
class Estimates:
    """What estimators are worth at growing distance from the reference, of several policies at each.

    Attributes:
        kl: The exact KL, (S, D) for S sizes of the logits and D draws.
        bias: Expectation less the exact KL, as a share of it, (estimators, S, D), in the order of `_SHOWN`.
        deviation: Standard deviation of one episode's estimate, as a share of the exact KL, likewise.
    """

    kl: Array
    bias: Array
    deviation: Array

    def turn(self, first: int, second: int) -> Array:
        """Return for each draw the smallest KL from which the first estimator varies more, NaN where it never does."""
        found = np.full(self.kl.shape[1], np.nan)
        for draw in range(self.kl.shape[1]):
            gap = np.log(self.deviation[first, :, draw]) - np.log(self.deviation[second, :, draw])
            above = np.flatnonzero(gap > 0)
            if len(above) and above[0] > 0:
                place = above[0] - 1
                share = -gap[place] / (gap[place + 1] - gap[place])
                kl = np.log(self.kl[place : place + 2, draw])
                found[draw] = np.exp(kl[0] + share * (kl[1] - kl[0]))
        return found


def estimates(task: FiniteTask, spreads: Array = SPREADS, draws: range = DRAWS) -> Estimates:
    """Return what estimators are worth on policies with normal logits of these sizes, one direction a draw."""
    kl = np.zeros((len(spreads), len(draws)))
    bias, deviation = (np.zeros((len(_SHOWN), *kl.shape)) for _ in range(2))
    for column, draw in enumerate(draws):
        agent = table_agent(task)
        table = agent.readouts["policy"].weight
        assert isinstance(table, torch.Tensor)
        noise = torch.randn(table.shape, generator=torch.Generator().manual_seed(draw), dtype=torch.float64)
        for row, spread in enumerate(spreads):
            with torch.no_grad():
                table.copy_(float(spread) * noise)
            exact, found = kl_estimators(task, agent.probabilities)
            kl[row, column] = exact
            of = {(one.name, one.level): one for one in found}
            for place, which in enumerate(_SHOWN):
                bias[place, row, column] = (of[which].mean - exact) / exact
                deviation[place, row, column] = np.sqrt(of[which].variance) / exact
    return Estimates(kl, bias, deviation)


def estimate_table(found: Estimates) -> str:
    """Return bias and deviation at the sizes nearest to some KLs, medians over the draws, as Markdown."""
    mean_kl = np.median(found.kl, axis=1)
    rows = [int(np.abs(np.log(mean_kl / kl)).argmin()) for kl in (0.01, 0.1, 0.3, 1.0, 3.0)]
    lines = [
        "| estimator | " + " | ".join(f"KL {mean_kl[row]:.2g}" for row in rows) + " |",
        "|---" + "|--:" * len(rows) + "|",
    ]
    for place, (name, level) in enumerate(_SHOWN):
        cells = [
            f"{np.median(found.bias[place, row]):+.3f}, {np.median(found.deviation[place, row]):.2f}".replace("-", "−")
            for row in rows
        ]
        cells = [cell.replace("+0.000", "0").replace("−0.000", "0") for cell in cells]
        lines.append(f"| {name} of the {level} | {' | '.join(cells)} |")
    return "\n".join(lines)


def turns(found: Estimates) -> str:
    """Return where the order of the variances turns, a sentence a pair."""
    lines = []
    for first, second in ((3, 1), (2, 1), (5, 1), (4, 1)):
        kl = found.turn(first, second)
        there = kl[np.isfinite(kl)]
        names = [f"{_SHOWN[one][0]} of the {_SHOWN[one][1]}" for one in (first, second)]
        told = (
            "never"
            if not len(there)
            else f"from a KL of {np.median(there):.2f} ({there.min():.2f} to {there.max():.2f})"
        )
        lines.append(f"{names[0]} varies more than {names[1]} {told} ({len(there)} of {len(kl)} policies)")
    return "\n".join(lines)


def estimate_picture(found: Estimates) -> Figure:
    """Return bias and deviation of each estimator against the KL, medians over the draws."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    bias, deviation = figure.subplots(1, 2)
    kl = np.median(found.kl, axis=1)
    for place, ((name, level), colour) in enumerate(zip(_SHOWN, _COLOURS, strict=False)):
        line = "--" if level == "sequence" else "-"
        label = f"{name}, {level}" if name in ("k2", "k3") else name
        bias.plot(kl, np.median(found.bias[place], axis=1), line, color=colour, label=label)
        deviation.plot(kl, np.median(found.deviation[place], axis=1), line, color=colour, label=label)
    bias.set(xscale="log", title="bias", xlabel="exact KL, in nats", ylabel="bias / KL")
    deviation.set(
        xscale="log", yscale="log", title="spread of one episode's estimate", xlabel="exact KL, in nats",
        ylabel="standard deviation / KL",
    )  # fmt: skip
    deviation.legend(fontsize=8)
    return figure


def _value(task: FiniteTask, policy: Callable[..., np.ndarray] | None) -> float:
    width = task.vocabulary.num_actions
    said = policy or (lambda tokens, lengths: np.full((len(lengths), width), 1 / width))
    return evaluate_policy(task, said).kl_regularised(BETA)
