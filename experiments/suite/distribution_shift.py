"""The study on distribution shift: a reward model's accuracy, and its ensemble's spread, as a policy moves away.

`python -m tokengym.experiments.suite.distribution_shift docs/studies` prints the tables of
`docs/studies/distribution-shift.md` and draws its picture in that folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from ...agents import policy_of
from ...algorithms import PPO, Callback
from ...envs import TokenEnv, TokenGymError, make_task
from ...envs.tasks.learned import ProxyTask
from ..console import told_in_a_line
from ..report import style
from ..statistics import mean, stratified_bootstrap
from .concordance import Array, auroc, rank_correlation, right_share

INSTANCES = range(10)
KLS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
"""Distances from random play, in nats, at which the optimal policies are looked at."""
SHOWN = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Those of the table."""
PAIRS = 20_000
"""Pairs that are drawn where a number of every pair is needed."""
FAR_APART = 0.5
"""Difference in gold from which on a pair is called an easy one."""
_REPEATS = {"num_tokens": 32, "length": 3, "roughness": 0.5, "repeats_count": False, "reads": "repeats", "hidden": 0}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "repeats, 2,000 labels, 25% wrong": {**_REPEATS, "num_labels": 2000, "bootstrap": True},
    "the same, members see equal labels": {**_REPEATS, "num_labels": 2000},
    "repeats, 20,000 labels, none wrong": {**_REPEATS, "num_labels": 20_000, "flips": 0.0, "bootstrap": True},
    "places, 300 labels, 25% wrong": {"bootstrap": True},
}
"""Instances of NoisyPref: five reward models, of which the mean is paid. "Repeats" has what GoldProxy-repeats has."""
HACKED, *_, PLACES = SETTINGS
DRAWN = HACKED, PLACES
"""Those of the picture."""
TRAINED = (HACKED, range(5), 20_000, 10)
"""The setting, the instances, the tokens and the judgements of the check with a learner."""


@dataclass(frozen=True)
class Shift:
    """What a reward model is worth on texts of some policies (K,) of one instance.

    Attributes:
        kl, gold: of the policies.
        accuracy: on pairs of texts of the policy, exact.
        mixed: on pairs of a text of the policy and one of random play, exact.
        easy: on pairs of the policy whose gold rewards lie far apart, over drawn pairs.
        spread: mean standard deviation of the models' scores, in units of their deviation under random play, exact.
        error: mean distance of proxy from gold, exact.
        correlation: Spearman's, of spread and error over texts of the policy.
        by_proxy: Spearman's, of the proxy itself and the error over them, to hold that against.
        by_spread: AUROC of the spread of a pair's difference in score, for the pair being ordered wrongly.
        by_margin: AUROC of a small mean difference, for the same.
        by_ratio: AUROC of the spread over the mean difference.
    """

    kl: Array
    gold: Array
    accuracy: Array
    mixed: Array
    easy: Array
    spread: Array
    error: Array
    correlation: Array
    by_proxy: Array
    by_spread: Array
    by_margin: Array
    by_ratio: Array


def instance(setting: str, number: int) -> ProxyTask:
    """Return an instance of the task of a setting."""
    return cast(ProxyTask, make_task("NoisyPref", instance_seed=number, **SETTINGS[setting]))


def tilted_at(task: ProxyTask, kl: float) -> Array:
    """Return the optimum (N,) of E[proxy] − β·KL with the β that gives this KL from random play, in nats.

    Raises:
        TokenGymError: If no policy that the proxy favours is so far away.
    """
    if kl == 0:
        return np.exp(task.texts.log_random)
    low, high = 1e-4, 1e6  # the KL falls with β
    if not task.tilted(high).kl < kl < task.tilted(low).kl:
        raise TokenGymError(f"kl={kl}: the optimum of the proxy lies {task.tilted(low).kl:.3g} nats from random play")
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if task.tilted(middle).kl > kl else (low, middle)
    return task.tilted(float(np.sqrt(low * high))).probabilities


def measured(task: ProxyTask, policies: Array, seed: int = 0, pairs: int = PAIRS) -> Shift:
    """Return what the reward model of a task is worth on texts of policies, float64 (K, N).

    Args:
        task: the task, with its models' scores.
        policies: distributions over its texts.
        seed: draws pairs.
        pairs: how many are drawn from each policy.
    """
    random = np.random.default_rng(seed)
    reference = np.broadcast_to(np.exp(task.texts.log_random), policies.shape)
    spread, error = task.members.std(axis=0), np.abs(task.proxy - task.gold)
    drawn = ("easy", "correlation", "by_proxy", "by_spread", "by_margin", "by_ratio")
    columns: dict[str, list[float]] = {name: [] for name in drawn}
    for policy in policies:
        first, second = random.choice(len(policy), (2, pairs), p=policy)
        columns["correlation"].append(rank_correlation(spread[first], error[first]))
        columns["by_proxy"].append(rank_correlation(task.proxy[first], error[first]))
        apart = task.gold[first] != task.gold[second]
        first, second = first[apart], second[apart]
        gold = task.gold[first] - task.gold[second]
        differences = task.members[:, first] - task.members[:, second]
        wrong, margin, unsure = (
            gold * differences.mean(axis=0) <= 0,
            np.abs(differences.mean(axis=0)),
            differences.std(0),
        )
        easy = np.abs(gold) >= FAR_APART
        columns["easy"].append(float(1 - wrong[easy].mean()) if easy.any() else np.nan)
        columns["by_spread"].append(auroc(unsure, wrong))
        columns["by_margin"].append(auroc(-margin, wrong))
        columns["by_ratio"].append(auroc(unsure / np.maximum(margin, 1e-12), wrong))
    return Shift(
        kl=np.array([task.optimised(policy).kl for policy in policies]),
        gold=policies @ task.gold,
        accuracy=right_share(task.proxy, task.gold, policies),
        mixed=right_share(task.proxy, task.gold, policies, reference),
        spread=policies @ spread,
        error=policies @ error,
        **{name: np.array(values) for name, values in columns.items()},
    )


def shifts(setting: str, numbers: Iterable[int] = INSTANCES) -> list[Shift]:
    """Return what was measured of a setting's optimal policies at `KLS`, one entry an instance."""
    found = []
    for number in numbers:
        task = instance(setting, number)
        found.append(measured(task, np.stack([tilted_at(task, kl) for kl in KLS]), number))
    return found


def written(task: ProxyTask, player: Any) -> Array:
    """Return how likely a player is to write each text (N,), where all texts have one length."""
    policy, texts = policy_of(player), task.texts
    likely = np.ones(1)
    for said in range(texts.length):
        words = texts.tokens[:: texts.num_words ** (texts.length - said), :said]
        seen = np.column_stack([np.full(len(words), task.vocabulary.bos), words]).astype(np.int32)
        lengths = np.full(len(seen), said + 1, np.int32)
        given = policy.probabilities(seen, lengths, None)  # type: ignore[attr-defined]
        likely = (likely[:, None] * given[:, : texts.num_words]).ravel()
    return likely / likely.sum()


class _Written(Callback):
    """Keeps what a learner would write at even parts of its budget."""

    def __init__(self, task: ProxyTask, points: int) -> None:
        self.task, self.points, self.found = task, points, [np.exp(task.texts.log_random)]

    def on_update(self, algorithm: Any, metrics: dict[str, float]) -> None:
        if algorithm.progress * self.points >= len(self.found) - 1e-9:
            self.found.append(written(self.task, algorithm))


def learnt(setting: str, number: int, tokens: int, points: int) -> Shift:
    """Return what was measured along a run of PPO, without a KL penalty, on an instance of a setting."""
    task = instance(setting, number)
    keeping = _Written(task, points)
    PPO(TokenEnv(task), seed=number).learn(tokens, callback=keeping)
    return measured(task, np.stack(keeping.found), number)


def told(values: Any, digits: int = 2) -> str:
    """Return the mean over instances with its 95% bootstrap interval, as a text for a table."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return stratified_bootstrap([known], mean).text(digits).replace("-", "−") if len(known) else "–"


def accuracy_table(found: Mapping[str, Sequence[Shift]]) -> str:
    """Return the table of accuracy, gold, spread and error at the distances `SHOWN`, as Markdown."""
    return _table(
        found,
        "| reward models | KL | right on its pairs | on its easy pairs | on one of each | gold | spread | error |",
        ("accuracy", "easy", "mixed", "gold", "spread", "error"),
    )


def signal_table(found: Mapping[str, Sequence[Shift]]) -> str:
    """Return rank correlations over texts and AUROCs over pairs at the distances `SHOWN`, as Markdown."""
    return _table(
        found,
        "| reward models | KL | ρ(spread, error) | ρ(proxy, error) | by spread | by difference | by their ratio |",
        ("correlation", "by_proxy", "by_spread", "by_margin", "by_ratio"),
    )


def _table(found: Mapping[str, Sequence[Shift]], head: str, names: Sequence[str]) -> str:
    """Return what the shifts of each setting say by these names at the distances `SHOWN`, below a head."""
    lines = [head, "|---|" + "--:|" * (len(names) + 1)]
    for setting, shifted in found.items():
        for kl in SHOWN:
            numbers = [told([getattr(one, name)[KLS.index(kl)] for one in shifted]) for name in names]
            lines.append(f"| {setting} | {kl:g} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def learner_table(runs: Sequence[Shift]) -> str:
    """Return what a learner's own texts gave at its end, an instance a row, as Markdown."""
    lines = [
        "| instance | KL | right on its pairs | on one of each | gold | spread | error |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for number, run in enumerate(runs):
        names = ("kl", "accuracy", "mixed", "gold", "spread", "error")
        cells = [f"{number}", *(f"{getattr(run, name)[-1]:.2f}".replace("-", "−") for name in names)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(found: Mapping[str, Sequence[Shift]], runs: Sequence[Shift]) -> Figure:
    """Return accuracy, spread with error, and what foretells a wrong order, against the KL; a row a setting."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    rows = figure.subplots(len(DRAWN), 3, sharex=True)
    for setting, (right, beside, signal) in zip(DRAWN, rows, strict=True):
        shifted = found[setting]
        _band(right, shifted, "accuracy", "#c22f2f", "two of the policy")
        _band(right, shifted, "mixed", "#0b6fb8", "one of each")
        start = told([one.accuracy[0] for one in shifted]).split()[0]
        right.axhline(float(start), color="#7b8794", linestyle=(0, (1, 2)), label="two of random play")
        right.axhline(0.5, color="#7b8794", linewidth=0.8)
        _band(beside, shifted, "spread", "#7a3fb0", "spread of the five")
        _band(beside, shifted, "error", "#e08a00", "distance of proxy from gold")
        _band(signal, shifted, "by_spread", "#7a3fb0", "spread")
        _band(signal, shifted, "by_margin", "#2a8c55", "a small difference")
        _band(signal, shifted, "by_ratio", "#0b6fb8", "spread / difference")
        signal.axhline(0.5, color="#7b8794", linewidth=0.8)
        if setting == TRAINED[0]:
            for number, run in enumerate(runs):
                label = "two of PPO's policy" if not number else None
                right.plot(run.kl, run.accuracy, ".-", color="#c22f2f", alpha=0.35, linewidth=0.8, label=label)
                label = "spread, PPO's policy" if not number else None
                beside.plot(run.kl, run.spread, ".-", color="#7a3fb0", alpha=0.35, linewidth=0.8, label=label)
        right.set(title=setting, ylabel="ordered as by gold", xlim=(0, None))
        beside.set(title="per text", ylabel="standard deviations of random play")
        signal.set(title="what tells wrong from right pairs", ylabel="AUROC")
        for axis in (right, beside, signal):
            axis.legend(fontsize=7, loc="lower left" if axis is right else "best")
    for axis in rows[-1]:
        axis.set_xlabel("KL from random play (nats)")
    return figure


def _band(axis: Any, shifted: Sequence[Shift], name: str, colour: str, label: str) -> None:
    """Draw the mean over instances, and its 95% bootstrap interval where there are enough."""
    table = np.array([getattr(one, name) for one in shifted])
    ends = [stratified_bootstrap([column[np.isfinite(column)]], mean) for column in table.T]
    axis.plot(KLS, [one.estimate for one in ends], color=colour, label=label)
    if all(one.low is not None for one in ends):
        axis.fill_between(
            KLS, *([getattr(one, end) for one in ends] for end in ("low", "high")), color=colour, alpha=0.2
        )


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Print the tables and draw the picture; 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of the picture")
    options = parser.parse_args(arguments)
    found = {setting: shifts(setting) for setting in SETTINGS}
    print(f"{accuracy_table(found)}\n\n{signal_table(found)}\n", flush=True)
    setting, numbers, tokens, points = TRAINED
    runs = [learnt(setting, number, tokens, points) for number in numbers]
    print(learner_table(runs))
    options.out.mkdir(parents=True, exist_ok=True)
    with style():
        picture(found, runs).savefig(options.out / "distribution-shift.png", metadata={"Software": None}, dpi=80)
    return 0


if __name__ == "__main__":
    sys.exit(main())
