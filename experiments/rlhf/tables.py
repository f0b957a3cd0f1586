"""The tables of a pipeline's report."""

from __future__ import annotations

from ..report import Cell, Table
from ..statistics import Interval, described
from .results import PipelineResults
from .spec import MethodPart
from .stages import BEFORE, COMPARISONS, MODEL


def outcome_table(results: PipelineResults) -> Table:
    """Return what each method made of the comparisons: gold, proxy, KL, and what it cost."""
    best = _best(results)
    header = [
        "method",
        "gold",
        *(["proxy"] if results.has_proxy else []),
        "KL",
        "length",
        "budget",
        "seconds",
    ]
    rows = [_row(results, BEFORE, "before", best, "–", "–")]
    for part in results.pipeline.methods:
        if not results.of(part.name):
            rows.append(
                [Cell(part.name, "name"), Cell("not done", "failed"), *[Cell("–", "quiet")] * (len(header) - 2)]
            )
            continue
        rows.append(_row(results, part.name, part.name, best, _budget(part), _seconds(results, part.name)))
    judged = results.pipeline.judgement.episodes
    if len(results.seeds) == 1:
        spread = f"In brackets 1.96 standard errors to both sides, over {judged:,} completions of one seed."
    else:
        spread = f"{described([len(results.of(BEFORE))])} Each seed is judged by {judged:,} completions."
    note = (
        "Gold is the task's own reward, which is what is meant"
        + (", proxy the reward model's score, which is what methods are paid" if results.has_proxy else "")
        + f". KL is from the model before, in nats a completion; of best-of-n it is an upper bound (≤). {spread}"
    )
    greedy = [part.name for part in results.methods if results.of(part.name)[0]["final"]["play"] == "greedy"]
    if greedy:
        note += f" {', '.join(greedy)} learnt values and no policy, and is judged greedy."
    return Table("What came out", header, rows, note)


def labels_table(results: PipelineResults) -> Table | None:
    """Return the comparisons and how well the reward model predicts those held out, seed by seed; None without any."""
    if not results.of(COMPARISONS):
        return None
    rows = []
    for one in results.seeds:
        if COMPARISONS in one.facts:
            labels, model = one.facts[COMPARISONS], one.facts.get(MODEL, {})
            cells = [f"{labels['train']:,}", f"{labels['held_out']:,}", _percent(labels.get("agreement"))]
            cells += [_percent(model.get("train_accuracy")), _percent(model.get("accuracy"))]
            cells += [_percent(labels.get("allowed_accuracy")), _percent(model.get("calibration_error"))]
            rows.append([Cell(str(one.seed), "name"), *map(Cell, cells)])
    header = ["seed", "learnt from", "held out", "agree with gold", "accuracy on them", "accuracy held out"]
    header += ["what noise allows", "calibration error"]
    note = (
        "A label agrees with the gold where the better completion has more of it; ties count half. What noise allows "
        "is the held-out accuracy of whoever knew the gold and the labeller. The calibration error is the mean "
        "distance of stated from found probabilities, over the bins of the picture."
    )
    return Table("Comparisons and reward model", header, rows, note)


def stage_table(results: PipelineResults) -> Table:
    """Return how long each stage took, seed by seed."""
    names = list(dict.fromkeys(name for one in results.seeds for name in (*one.seconds, *one.missing)))
    rows = []
    for name in names:
        cells = []
        for one in results.seeds:
            done = name in one.seconds
            cells.append(Cell(f"{one.seconds[name]:.1f}") if done else Cell("not done", "failed"))
        rows.append([Cell(name, "name"), *cells])
    total = [Cell(f"{sum(one.seconds.values()):.1f}") for one in results.seeds]
    rows.append([Cell("all", "name"), *total])
    header = ["stage", *(f"seed {one.seed}, seconds" for one in results.seeds)]
    return Table("Stages", header, rows, "Seconds on the wall, judging and saving included.")


def cost_table(results: PipelineResults) -> Table | None:
    """Return processor seconds, peak memory and ratio errors, the largest of all seeds; None where none is known."""
    names = list(dict.fromkeys(name for one in results.seeds for name in one.seconds))
    rows = []
    for name in names:
        costs = [one.costs[name] for one in results.seeds if one.costs.get(name)]
        facts = [found for found in results.of(name) if found.get("ratio_error") is not None]
        if costs or facts:
            cells = [_largest(costs, key, form) for key, form in (("cpu_seconds", ".0f"), ("peak_gb", ".2f"))]
            cells += [_largest(costs, "gpu_gb", ".2f")]
            cells += [_largest(facts, key, ".1e") for key in ("ratio_error", "ratio_tolerance")]
            rows.append([Cell(name, "name"), *cells])
    if not rows:
        return None
    note = (
        "Seconds are of processors, all threads together. The peak is the most that the process held until the stage "
        "ended, earlier stages of the same process included, and on a GPU what torch had allocated. The ratio error is "
        "the largest |π/π_old − 1| before the first step of an update: how far decoding and learning disagree about "
        "the same tokens. The largest of all seeds."
    )
    header = ["stage", "CPU seconds", "peak GB", "GPU GB", "ratio error", "tolerance"]
    return Table("Cost and precision", header, rows, note)


def _largest(found: list[dict[str, float]], key: str, form: str) -> Cell:
    known = [one[key] for one in found if one.get(key) is not None]
    return Cell(format(max(known), form)) if known else Cell("–", "quiet")


def _row(results: PipelineResults, stage: str, name: str, best: str | None, budget: str, seconds: str) -> list[Cell]:
    finals = [facts["final"] for facts in results.of(stage)]
    if not finals:
        return [Cell(name, "name"), Cell("not done", "failed"), *[Cell("–", "quiet")] * (4 + results.has_proxy)]
    gold, kl = results.final(stage, "gold"), results.final(stage, "kl")
    row = [Cell(name, "name"), Cell(_text(gold), "best" if stage == best else "plain")]
    if results.has_proxy:
        row.append(Cell(_text(results.final(stage, "proxy"))))
    bound = "≤ " if finals[0]["kl_is_bound"] else ""
    row.append(Cell("–", "quiet") if kl is None else Cell(bound + _text(kl)))
    length = sum(one["length"] for one in finals) / len(finals)
    return [*row, Cell(f"{length:.1f}"), Cell(budget), Cell(seconds)]


def _best(results: PipelineResults) -> str | None:
    golds = {part.name: results.final(part.name, "gold") for part in results.methods}
    return max((name for name in golds if golds[name]), key=lambda name: _estimate(golds[name]), default=None)


def _estimate(interval: Interval | None) -> float:
    return float("-inf") if interval is None else interval.estimate


def _budget(part: MethodPart) -> str:
    if part.n:
        return f"n = {part.n[-1]}"
    paid = ", paid gold" if part.reward == "gold" else ""
    return f"{part.budget:,} {'tokens' if part.tokens else 'updates'}{paid}"


def _seconds(results: PipelineResults, stage: str) -> str:
    known = [facts["seconds"] for facts in results.of(stage) if facts.get("seconds") is not None]
    return f"{sum(known) / len(known):.1f}" if known else "–"


def _text(interval: Interval | None) -> str:
    return "–" if interval is None else interval.text(3)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"
