"""The tables and the picture of the study on feedback efficiency.

`python -m tokengym.experiments.suite.feedback_efficiency` prints the tables of `docs/studies/feedback-efficiency.md`
and draws its picture, from nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..report import style
from .feedback import HOWS, LABELS, SETTINGS, Array, Setting, gold_bought, gold_possible
from .proxy_grid import decimal, interval

INSTANCES = range(300, 310)
"""Nothing was chosen on them."""
KLS = (4.0, 8.0)
"""Where models are optimised to: as far as the policy whose texts are compared online, and twice as far."""
_COLOURS = {"random": "#6b6b6b", "active": "#0b6fb8", "online": "#e08a00"}
_PICTURE = Path("docs") / "studies" / "feedback-efficiency.png"

Reached = dict[str, Array]
"""Gold (instances, labels, kls) by how the labels were bought."""


def reached(setting: Setting, instances: Sequence[int] = INSTANCES, labels: Sequence[int] = LABELS) -> Reached:
    """Return the gold that each way of buying labels reaches."""
    return {how: np.stack([gold_bought(setting, one, how, KLS, labels) for one in instances]) for how in HOWS}


def gold_table(found: Reached, kl: int, labels: Sequence[int] = LABELS) -> str:
    """Return gold at the KL of that number against the labels bought, as Markdown.

    Means over the instances; what a way gains beyond random pairs on the same instance with the 95% percentile
    interval of a bootstrap of the instances.
    """
    ways = [how for how in found if how != "random"]
    gained = [f"{how} − random" for how in ways]
    lines = [f"| {' | '.join(['labels', *found, *gained])} |", f"|{'--:|' * (1 + len(found) + len(gained))}"]
    for row, count in enumerate(labels):
        gold = {how: values[:, row, kl] for how, values in found.items()}
        cells = [f"{count:,}", *(decimal(float(values.mean())) for values in gold.values())]
        lines.append(f"| {' | '.join(cells + [interval(gold[how] - gold['random']) for how in ways])} |")
    return "\n".join(lines)


def picture(results: dict[str, Reached], possible: dict[str, Sequence[float]]) -> Figure:
    """Return gold against labels with 95% intervals of the mean: a row a setting, a column a KL."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.subplots(len(results), len(KLS), sharex=True, sharey="row", squeeze=False)
    draw = np.random.default_rng(0)
    for row, (title, found) in zip(axes, results.items(), strict=True):
        for kl, axis in enumerate(row):
            for how, values in found.items():
                gold = values[:, :, kl]
                means = gold[draw.integers(len(gold), size=(5000, len(gold)))].mean(axis=1)
                axis.fill_between(
                    LABELS, *np.percentile(means, (2.5, 97.5), axis=0), color=_COLOURS[how], alpha=0.2, linewidth=0
                )
                axis.plot(LABELS, gold.mean(axis=0), "o-", color=_COLOURS[how], markersize=3, label=how)
            axis.axhline(possible[title][kl], color="black", linestyle=":", linewidth=1, label="optimum of gold itself")
            axis.axhline(0, color="grey", linewidth=0.5)
            axis.set(xscale="log", title=f"{title}, KL {KLS[kl]:g}")
        row[0].set_ylabel("gold")
    for axis in axes[-1]:
        axis.set_xlabel("labels bought")
        axis.set_xticks(LABELS, [f"{count:,}" for count in LABELS], minor=False)
        axis.minorticks_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Print the tables and draw the picture."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    results: dict[str, Reached] = {}
    possible: dict[str, Sequence[float]] = {}
    for setting in SETTINGS:
        found = results[setting.title] = reached(setting)
        most = [float(np.mean([gold_possible(setting, one, kl) for one in INSTANCES])) for kl in KLS]
        possible[setting.title] = most
        for number, kl in enumerate(KLS):
            print(f"{setting.title}, KL {kl:g}: the optimum of gold itself has {decimal(most[number])}\n")
            print(f"{gold_table(found, number)}\n", flush=True)
    _PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with style():
        picture(results, possible).savefig(_PICTURE, metadata={"Software": None}, dpi=80)
    return 0


if __name__ == "__main__":
    sys.exit(main())
