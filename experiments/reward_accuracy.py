"""How good a reward model can be: its accuracy by labels and flips, beside what the labels allow.

`python -m tokengym.experiments.reward_accuracy` fits reward models to comparisons of GoldProxy's texts and prints the
table of `docs/concepts/reward-models.md`; with a folder, it draws the curves there, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms.reward_models import Calibration, fit_from_tokens, reliability
from ..envs import make_task
from .report import accuracy_by_flips, reliability_diagram, style

NUM_LABELS = (50, 200, 1000, 5000)
FLIPS = (0.0, 0.1, 0.25, 0.4)
SEEDS = 2
_HELD_OUT = 50_000


@dataclass(frozen=True)
class Reached:
    """What a reward model reached.

    Attributes:
        num_labels, flips, seed: what it was fitted to.
        accuracy: its expected accuracy on held-out pairs whose labels are not flipped.
        allowed: that of the gold reward, which no model beats in expectation.
        correlation: of its scores with the gold reward, over the texts.
        calibration: of its odds, on the same pairs.
    """

    num_labels: int
    flips: float
    seed: int
    accuracy: float
    allowed: float
    correlation: float
    calibration: Calibration


def reached(num_labels: int, flips: float, seed: int, temperature: float = 0.5, **settings: Any) -> Reached:
    """Fit a reward model to the comparisons of a GoldProxy with a smooth gold reward, and judge it exactly.

    Args:
        num_labels: comparisons.
        flips: probability that one is turned over.
        seed: of the instance, and of the model.
        temperature: of the labeller.
        **settings: fields of `RewardModelConfig`.
    """
    task: Any = make_task(
        "GoldProxy", num_labels=num_labels, flips=flips, instance_seed=seed, roughness=0.5, temperature=temperature
    ).unwrapped
    tokens = np.insert(task.texts.tokens, 0, task.vocabulary.bos, axis=1).astype(np.int32)
    lengths = np.full(len(tokens), tokens.shape[1])
    better, worse = task.compared
    settings.setdefault("batch_pairs", 256 if num_labels >= 1000 else 64)
    model = fit_from_tokens(tokens, lengths, better, worse, vocabulary=task.vocabulary, seed=seed, config=settings)
    scores = model.score(tokens, lengths)
    first, second = np.random.default_rng([seed, 1]).integers(len(tokens), size=(2, _HELD_OUT))
    right = 1 / (1 + np.exp((task.gold[second] - task.gold[first]) / temperature))
    chosen = np.where(scores[first] > scores[second], right, np.where(scores[first] < scores[second], 1 - right, 0.5))
    best = np.maximum(right, 1 - right)
    correlation = float(np.corrcoef(scores, task.gold)[0, 1])
    ahead = (scores[first] - scores[second]) * model.scale
    # Both orders with their probabilities: the expectation over labels.
    found = reliability(np.concatenate([ahead, -ahead]), np.concatenate([right, 1 - right]))
    return Reached(num_labels, flips, seed, float(chosen.mean()), float(best.mean()), correlation, found)


def table(found: Sequence[Reached]) -> str:
    """Return Markdown: a row a number of labels, a column a share of flips, then what labels allow; means of seeds."""
    labels, flips = (sorted({getattr(one, name) for one in found}) for name in ("num_labels", "flips"))
    lines = [
        "| labels | " + " | ".join(f"{share:.0%} flipped" for share in flips) + " | labels allow |",
        "|---|" + "---|" * (len(flips) + 1),
    ]
    for count in labels:
        cells = []
        for share in flips:
            values = [one.accuracy for one in found if (one.num_labels, one.flips) == (count, share)]
            cells.append(f"{np.mean(values):.3f}" if values else "–")
        allowed = np.mean([one.allowed for one in found if one.num_labels == count])
        lines.append(f"| {count:,} | " + " | ".join(cells) + f" | {allowed:.3f} |")
    return "\n".join(lines)


def draw(found: Sequence[Reached], folder: Path) -> None:
    """Draw accuracy by the share of flips, and the reliability of the first seed's models on the most labels."""
    labels, flips = (sorted({getattr(one, name) for one in found}) for name in ("num_labels", "flips"))
    curves = {
        f"{count:,} labels": np.array(
            [[one.accuracy for one in found if (one.num_labels, one.flips) == (count, share)] for share in flips]
        )
        for count in labels
    }
    chosen = [one for one in found if one.num_labels == labels[-1] and one.seed == 0]
    with style():
        pictures = {
            "accuracy": accuracy_by_flips(flips, curves, float(np.mean([one.allowed for one in found]))),
            "reliability": reliability_diagram({f"{one.flips:.0%} flipped": one.calibration for one in chosen}),
        }
        for name, figure in pictures.items():
            figure.savefig(folder / f"reward-model-{name}.png", metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the curves are drawn")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    given = parser.parse_args(arguments)
    found = [
        reached(count, share, seed) for count in NUM_LABELS for share in FLIPS for seed in range(given.seeds)
    ]  # fmt: skip
    print(table(found))
    if given.folder is not None:
        draw(found, given.folder)


if __name__ == "__main__":
    main()
