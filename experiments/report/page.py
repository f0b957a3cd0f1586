"""Writes what a study found: pictures, one self-contained HTML page, a markdown table and a JSON summary."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...envs.checking import checked
from ..statistics import described
from ..study import study_to_mapping, write_yaml
from .columns import column_table
from .differences import difference_table
from .drawing import colours
from .html import embedded, made_by, page_of
from .plots import save_plots
from .results import RunResult, StudyResults, summary
from .tables import (
    Table,
    aggregate_table,
    configuration_table,
    hyperparameter_table,
    machine_table,
    reference_table,
    run_table,
    score_table,
    to_markdown,
    upright,
    warning_table,
)

_CAPTIONS = {
    "scores": (
        "Scores",
        "Normalised score of every algorithm on every environment. The thick mark and the bar are what the table says: "
        "{described} Each thin mark is one seed.",
    ),
    "learning_by_tokens": (
        "Learning by tokens",
        "Normalised score against the agent's tokens. Line and band: {described} Grey: the optimum and, dotted, random "
        "play.",
    ),
    "learning_by_seconds": (
        "Learning by seconds",
        "The same against the seconds of training, evaluation apart. Runs share the machine, so compare lines with one "
        "another and not with other machines; a line ends where its fastest seed ended, and "
        "a mark stands where each seed did.",
    ),
    "aggregates": (
        "Aggregates",
        "Over all environments and seeds. The optimality gap gives nothing for scores above the optimum.",
    ),
    "performance_profile": (
        "Performance profile",
        "How many of an algorithm's runs score above τ, every environment counting the same. A line above another "
        "everywhere is better whatever score one asks for.",
    ),
    "improvement": (
        "Probability of improvement",
        "Probability that a run of the row's algorithm beats one of the column's on a random environment of the study, "
        "with its 95% interval; ties count half.",
    ),
    "columns": (
        "Beside the reward",
        "What tasks and reward functions report beside the reward, against the agent's tokens. Where a task reports "
        "gold, what is meant, the line is gold and the dots are the proxy, what is paid: where they part, the reward "
        "is being exploited. Line and band: {described}",
    ),
    "metrics": (
        "What was logged while learning",
        "What the algorithms logged while they learned. An algorithm that does not measure a quantity has no line.",
    ),
}


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study, which page, markdown and console render."""

    score: Table
    """Environment × algorithm, or the other way round where that fits a page better."""
    aggregate: Table
    """Over all environments."""
    difference: Table | None
    """Against the outside references; None where there are none."""
    column: Table | None
    """What was reported beside the reward; None where nothing was."""

    @classmethod
    def of(cls, results: StudyResults) -> StudyTables:
        """Return the tables of gathered results."""
        score = upright(score_table(results))
        return cls(score, aggregate_table(results), difference_table(results), column_table(results))

    def shown(self) -> list[Table]:
        """Return those that there are, in order."""
        return [table for table in (self.score, self.aggregate, self.difference, self.column) if table is not None]


@dataclass(frozen=True)
class ReportFiles:
    """Where the parts of a report were written."""

    html: Path
    """The self-contained page."""
    table: Path
    """Markdown tables."""
    summary: Path
    """JSON summary, free of times."""
    plots: dict[str, Path]
    """Pictures by name."""
    tables: StudyTables
    """What the page and the markdown show."""


@checked
def write_report(results: StudyResults, out: str | Path, *, command: str) -> ReportFiles:
    """Write ``report.html``, ``table.md``, ``summary.json`` and ``plots/*.png`` below ``out``.

    Args:
        results: The gathered results; failed and missing runs are shown as such.
        out: Folder of the results.
        command: The command that regenerates them, printed in the report.
    """
    out = Path(out)
    plots = save_plots(results, out / "plots")
    narrow = save_plots(results, out / "plots" / "narrow", narrow=True)
    files = ReportFiles(out / "report.html", out / "table.md", out / "summary.json", plots, StudyTables.of(results))
    made = made_by(command)
    files.html.write_text(_html(results, files.tables, plots, narrow, made), encoding="utf-8")
    footer = f"Regenerate with `{command}` at commit `{made['commit']}`, tokengym {made['version']}.\n"
    text = (
        f"# {results.study.name}\n\n" + "\n".join(to_markdown(table) for table in files.tables.shown()) + "\n" + footer
    )
    files.table.write_text(text, encoding="utf-8")
    files.summary.write_text(json.dumps(summary(results), indent=1) + "\n", encoding="utf-8")
    return files


def _html(
    results: StudyResults,
    tables: StudyTables,
    plots: dict[str, Path],
    narrow: dict[str, Path],
    made: dict[str, str],
) -> str:
    study, told = results.study, described(results.counts())
    return page_of(
        "report.html.j2",
        study=study,
        made_by=made,
        counts={
            "finished": sum(run.status == "done" for run in results.runs),
            "failed": len(results.failures()),
            "missing": len(results.missing()),
            "all": len(results.runs),
        },
        score_table=tables.score,
        aggregate_table=tables.aggregate,
        difference_table=tables.difference,
        column_table=tables.column,
        reference_table=reference_table(results),
        configuration_table=configuration_table(results),
        run_table=run_table(results),
        hyperparameter_table=hyperparameter_table(results),
        machine_table=machine_table(results),
        pictures=[
            {
                "name": name,
                "title": _CAPTIONS[name][0],
                "caption": _CAPTIONS[name][1].format(described=told),
                "data": embedded(path),
                "narrow": embedded(narrow[name]) if name in narrow else "",
            }
            for name, path in plots.items()
        ],
        failures=results.failures(),
        warning_table=warning_table(results),
        missing=[run.spec.name for run in results.missing()],
        samples=_samples(results),
        colours=colours(results),
        references=[spec.name for spec in study.algorithms if spec.reference],
        study_yaml=write_yaml(study_to_mapping(study)),
    )


def _samples(results: StudyResults) -> list[dict[str, Any]]:
    """Return, for each environment, sampled episodes of the first finished run of every algorithm."""
    shown = []
    for environment in results.environments:
        players = []
        for algorithm in results.algorithms:
            runs = [run for run in results.cell(environment, algorithm) if run.episodes]
            if runs:
                players.append({"name": algorithm, "seed": runs[0].spec.seed, "episodes": _greedy_first(runs[0])})
        if players:
            shown.append({"name": environment, "players": players})
    return shown


def _greedy_first(run: RunResult) -> list[dict[str, Any]]:
    """Return a run's episodes, those of the play that is scored first, each with how its tokens were chosen."""
    plays = {mode: run.summary.get(mode, {}).get("play") or mode for mode in ("greedy", "sampled")}
    ordered = sorted(run.episodes, key=lambda episode: episode.get("mode") != run.spec.score_by)
    return [{**episode, "mode": plays.get(episode.get("mode", ""), episode.get("mode"))} for episode in ordered]
