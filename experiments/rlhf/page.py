"""Writes what a pipeline found: one self-contained HTML page, pictures, a markdown table and a JSON summary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..report import Table, embedded, made_by, page_of, palette, to_markdown
from ..study import write_yaml
from .file import pipeline_to_mapping
from .plots import save_plots
from .results import PipelineResults, summary
from .stages import BEFORE, COMPARISONS, TUNED
from .tables import cost_table, labels_table, outcome_table, stage_table

_CAPTIONS = {
    "against_kl": (
        "Gold and proxy against the KL",
        "How far each method moved from the model before, and what that gave: left what is meant, right what is paid. "
        "Where the proxy goes on rising while the gold falls, the reward model is being exploited. The axis is in "
        "square roots of the KL. A dot stands where a method ended, a bar through it is its interval, and small dots "
        "are single seeds; best-of-n is dashed, a point for each n at an upper bound of its KL. {seeds}",
    ),
    "along_the_way": (
        "Gold and proxy along the way",
        "The same against the part of its budget that each method had spent. Budgets differ in kind, so compare lines "
        "by their ends. {seeds}",
    ),
    "calibration": (
        "Is the reward model as sure as it is right?",
        "Held-out comparisons in bins of the probability that the reward model gives to its own choice, against how "
        "often that is the label. On the dotted line it is calibrated; below it claims too much. A circle is as large "
        "as its bin.",
    ),
}


@dataclass(frozen=True)
class PipelineReport:
    """Where the parts of a report were written, and its first table."""

    html: Path
    """The self-contained page."""
    table: Path
    """Markdown tables."""
    summary: Path
    """JSON summary, free of times."""
    outcome: Table
    """What came out."""


def write_report(results: PipelineResults, out: str | Path, *, command: str) -> PipelineReport:
    """Write ``report.html``, ``table.md``, ``summary.json`` and ``plots/*.png`` below ``out``.

    Args:
        results: The gathered results; stages that are not done are shown as such.
        out: Folder of the results.
        command: The command that regenerates them.
    """
    out = Path(out)
    plots = save_plots(results, out / "plots")
    narrow = save_plots(results, out / "plots" / "narrow", narrow=True)
    tables = [outcome_table(results), labels_table(results), stage_table(results), cost_table(results)]
    files = PipelineReport(out / "report.html", out / "table.md", out / "summary.json", outcome_table(results))
    made = made_by(command)
    files.html.write_text(_html(results, plots, narrow, made), encoding="utf-8")
    footer = f"Regenerate with `{command}` at commit `{made['commit']}`, tokengym {made['version']}.\n"
    shown = "\n".join(to_markdown(table) for table in tables if table is not None)
    files.table.write_text(f"# {results.pipeline.name}\n\n{shown}\n{footer}", encoding="utf-8")
    files.summary.write_text(json.dumps(summary(results), indent=1) + "\n", encoding="utf-8")
    return files


def _html(results: PipelineResults, plots: dict[str, Path], narrow: dict[str, Path], made: dict[str, str]) -> str:
    pipeline = results.pipeline
    many = len(results.seeds) > 1
    seeds = (
        f"Lines are means of {len(results.seeds)} seeds; bars, what the table has beside its estimates." if many else ""
    )
    names = [part.name for part in pipeline.methods]
    return page_of(
        "rlhf.html.j2",
        pipeline=pipeline,
        made_by=made,
        facts=_facts(results),
        missing=[f"seed {one.seed}: {', '.join(one.missing)}" for one in results.seeds if one.missing],
        outcome_table=outcome_table(results),
        labels_table=labels_table(results),
        stage_table=stage_table(results),
        cost_table=cost_table(results),
        pictures=[
            {
                "name": name,
                "title": _CAPTIONS[name][0],
                "caption": _CAPTIONS[name][1].format(seeds=seeds).strip(),
                "data": embedded(path),
                "narrow": embedded(narrow[name]),
            }
            for name, path in plots.items()
        ],
        prompts=_completions(results),
        first_seed=results.seeds[0].seed,
        examples=next((facts["examples"] for facts in results.of(COMPARISONS)), []),
        colours={"before": "#7b8794", **palette(names)},
        has_proxy=results.has_proxy,
        pipeline_yaml=write_yaml(pipeline_to_mapping(pipeline)),
    )


def _facts(results: PipelineResults) -> list[str]:
    """Return in a few words each what was done."""
    pipeline = results.pipeline
    told = [pipeline.environment.id.removeprefix("tokengym/"), f"model: {_short(pipeline.model)}"]
    for facts in results.of(TUNED)[:1]:
        told.append(f"tuned on {facts['texts']:,} texts")
    for facts in results.of(COMPARISONS)[:1]:
        told.append(f"{facts['train'] + facts['held_out']:,} comparisons")
        if facts.get("flips"):
            told.append(f"{100 * facts['flips']:g}% flipped")
    told.append(f"{len(pipeline.methods)} method{'s' * (len(pipeline.methods) != 1)}")
    count = len(results.seeds)
    told.append(f"{count} seed{'s' * (count != 1)}")
    return told


def _completions(results: PipelineResults) -> list[dict[str, Any]]:
    """Return, for each prompt by which all are judged, what each method says after it; of the first seed."""
    first = results.seeds[0].facts
    players = [name for name in (BEFORE, *(part.name for part in results.pipeline.methods)) if name in first]
    shown: list[dict[str, Any]] = []
    for name in players:
        for place, sample in enumerate(first[name].get("samples", ())):
            if place == len(shown):
                opening = sample["segments"][0] if sample["segments"] else ("task", "")
                shown.append({"prompt": opening[1] if opening[0] == "task" else "", "said": []})
            said = [part for number, part in enumerate(sample["segments"]) if number or part[0] == "agent"]
            shown[place]["said"].append(
                {"name": name, "segments": said, "gold": sample["gold"], "proxy": sample["proxy"]}
            )
    return shown


def _short(model: Any) -> str:
    if isinstance(model, dict):
        return str(model.get("kind", "of your own"))
    return Path(str(model)).name
