"""The tables and the picture of the study on length: what part of a gain is length, and what remedies keep.

`python -m tokengym.experiments.suite.length_bias` works out everything exactly, trains the learners, prints the tables
for `docs/studies/length-bias.md` and draws its picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ..console import told_in_a_line
from ..report import style
from .length_rewards import at_kl, biased, known, penalised, rewards, unbiased
from .length_runs import LEARNERS, Point, point, walk
from .length_split import split_gain

Array = npt.NDArray[np.float64]

INSTANCES = range(20)
"""What the exact tables are of."""
RUNS = range(10)
"""The instances that are learnt on, once each; the run's seed is the instance's number."""
TUNING = range(1000, 1010)
"""What the penalty is chosen on."""
KLS = (0.5, 1.0, 2.0, 4.0)
RUN_KL = 2.0
PENALTIES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""What the penalty is chosen from: with more a token than the proxy pays for it, no text at a KL of 4 is worth it."""
_PICTURE = Path("docs") / "studies" / "length-bias.png"


def interval(values: Sequence[float] | Array, digits: int = 2) -> str:
    """Return the mean with its 95% percentile interval of a bootstrap of the values, as text."""
    found = np.asarray(values, np.float64)
    means = np.random.default_rng(0).choice(found, (10_000, len(found))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{found.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]".replace("-", "−")


def chosen_penalty(instances: Sequence[int] = TUNING, kl: float = RUN_KL) -> float:
    """Return the penalty a token under which the exact optimum at this KL has the most gold, on average."""
    gold = [np.mean([_at(penalised(one, penalty), one, kl).gold for one in instances]) for penalty in PENALTIES]
    return PENALTIES[int(np.argmax(gold))]


def split_table(instances: Sequence[int] = INSTANCES) -> str:
    """Return where the gain of the proxy's exact optimum comes from, as Markdown: means over the instances."""
    lines = [
        "| KL | of it, lengths' | words | proxy's gain | at equal lengths | by length alone | by both | gold's gain | "
        "at equal lengths | by length alone | by both |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for kl in KLS:
        rows = []
        for one in instances:
            task = biased(one)
            texts, said = task.texts, at_kl(task.proxy, kl, task.texts.log_random)
            there = point(task, said)
            proxy, gold = (
                split_gain(scores, texts.lengths, said, texts.log_random) for scores in (task.proxy, task.gold)
            )
            cells = [there.kl_of_lengths, there.words]
            for part in (proxy, gold):
                cells += [part.gain, part.at_equal_lengths, part.by_length, part.by_both]
            rows.append(cells)
        mean = np.mean(rows, axis=0) + 0.0
        lines.append(f"| {kl:g} | {' | '.join(f'{cell:.2f}'.replace('-0.00', '0.00') for cell in mean)} |")
    return "\n".join(lines)


def loss_table(instances: Sequence[int] = INSTANCES) -> str:
    """Return what gold the labeller's liking for length costs at equal KL, and what of it is length, as Markdown."""
    lines = [
        "| KL | gold, labeller likes length | without length's part | labeller does not | lost | length's share |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for kl in KLS:
        ways = (lambda one: biased(one).proxy, known, unbiased)
        with_it, without, never = (np.array([_at(way(one), one, kl).gold for one in instances]) for way in ways)
        share = (without - with_it).mean() / (never - with_it).mean()
        cells = [interval(values) for values in (with_it, without, never, never - with_it)]
        lines.append(f"| {kl:g} | {' | '.join(cells)} | {share:.2f} |")
    return "\n".join(lines)


def remedy_table(penalty: float, instances: Sequence[int] = INSTANCES) -> str:
    """Return what each remedy adds to gold at equal KL, paired by instance, as Markdown."""
    lines = ["| reward | " + " | ".join(f"KL {kl:g}" for kl in KLS) + f" | words at KL {RUN_KL:g} |", "|---" * 6 + "|"]
    for name, reward in rewards(penalty).items():
        there = {kl: [_at(reward(one), one, kl) for one in instances] for kl in KLS}
        plain = {kl: [_at(biased(one).proxy, one, kl) for one in instances] for kl in KLS}
        cells = [
            interval(
                [
                    mine.gold - (0.0 if name == "none" else other.gold)
                    for mine, other in zip(there[kl], plain[kl], strict=True)
                ]
            )
            for kl in KLS
        ]
        words = np.mean([one.words for one in there[RUN_KL]])
        lines.append(f"| {name}{' (gold itself)' if name == 'none' else ''} | {' | '.join(cells)} | {words:.1f} |")
    return "\n".join(lines)


def run_table(runs: Mapping[str, Sequence[Point | None]]) -> str:
    """Return what learners are worth where they first reached the KL, as Markdown.

    Args:
        runs: By learner, one an instance, in one order; None is a run that never came so far.
    """
    lines = [
        "| learner | reached | gold | beyond no remedy's | words | proxy's gain | by length alone | KL of lengths |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, points in runs.items():
        there = [one for one in points if one is not None]
        plain = runs["DPO" if name.startswith(("DPO", "SimPO")) else "none"]
        beyond = [one.gold - other.gold for one, other in zip(points, plain, strict=True) if one and other]
        cells = [
            f"{len(there)} of {len(points)}",
            *(
                [
                    interval([one.gold for one in there]),
                    "" if points is plain else interval(beyond),
                    *(f"{np.mean([getattr(one, part) for one in there]):.2f}".replace("-", "−")
                      for part in ("words", "proxy", "by_length", "kl_of_lengths")),
                ]
                if there
                else [""] * 6
            ),
        ]  # fmt: skip
        lines.append(f"| {_named(name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(penalty: float, runs: Mapping[str, Sequence[Point | None]], instances: Sequence[int] = INSTANCES) -> Figure:
    """Return the split of the proxy's gain, gold under each remedy, and the learners."""
    kls = np.linspace(0.2, 4.0, 14)
    figure = Figure(figsize=(12, 4), layout="constrained")
    gains, golds, learners = figure.subplots(1, 3)
    parts = []
    for kl in kls:
        found = []
        for one in instances:
            texts, proxy = biased(one).texts, biased(one).proxy
            split = split_gain(proxy, texts.lengths, at_kl(proxy, float(kl), texts.log_random), texts.log_random)
            found.append((split.by_length, split.by_both, split.at_equal_lengths))
        parts.append(np.mean(found, axis=0))
    gains.stackplot(
        kls,
        np.transpose(parts),
        labels=("by length alone", "by both", "at equal lengths"),
        colors=("#d1495b", "#e8b4a0", "#0b6fb8"),
    )
    gains.set(title="where the proxy's gain comes from", xlabel="KL from random play", ylabel="proxy's gain")
    gains.legend(loc="upper left")
    ways = {**rewards(penalty), "labeller without the bias": unbiased}
    for name, reward in ways.items():
        gold = np.array([[_at(reward(one), one, float(kl)).gold for kl in kls] for one in instances])
        golds.plot(kls, gold.mean(axis=0), label=name, linestyle="--" if reward is unbiased else "-")
    golds.set(title="gold at the exact optimum", xlabel="KL from random play", ylabel="gold")
    golds.legend(loc="lower right", fontsize=7)
    for place, points in enumerate(reversed(list(runs.values()))):
        gold = np.array([one.gold for one in points if one is not None])
        learners.plot(gold, np.full(len(gold), place), ".", color="#9aa5b1")
        learners.plot(
            gold.mean() if len(gold) else np.nan, place, "|", color="#d1495b", markersize=18, markeredgewidth=3
        )
    learners.set_yticks(range(len(runs)), [_named(name) for name in reversed(list(runs))])
    learners.set(title=f"learners at a KL of {RUN_KL:g}", xlabel="gold, one dot a run, the mean in red")
    return figure


def _named(learner: str) -> str:
    return f"PPO, {learner}" if learner in LEARNERS[:4] else learner


def _at(reward: Array, instance: int, kl: float) -> Point:
    task = biased(instance)
    return point(task, at_kl(reward, kl, task.texts.log_random))


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Print the tables and draw the picture; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=_PICTURE, help="where the picture goes")
    options = parser.parse_args(arguments)
    penalty = chosen_penalty()
    print(f"{split_table()}\n\n{loss_table()}\n\n{remedy_table(penalty)}\n", flush=True)
    runs = {name: [walk(one, name, RUN_KL, penalty, seed=one) for one in RUNS] for name in LEARNERS}
    print(run_table(runs))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with style():
        picture(penalty, runs).savefig(options.out, metadata={"Software": None}, dpi=80)
    return 0


if __name__ == "__main__":
    sys.exit(main())
