"""The results of a study as tables: cells of text, rendered as markdown, by rich, or by the report's template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table as RichTable
from rich.text import Text

from ...algorithms import ALGORITHMS
from ...envs import TokenGymError
from ...envs.checking import visible
from ..statistics import described, rounded
from ..study import AlgorithmSpec
from .results import RunResult, StudyResults, aggregates, cell_interval

CellKind = Literal["plain", "name", "best", "failed", "quiet"]


_NAMED = 3
"""Runs that are named beside a warning; the others are counted."""


@dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str
    """What it says."""
    kind: CellKind = "plain"
    """How it is shown: a row's name, the best of its row, a failure, or something that is not there."""
    link: str = ""
    """A place beside the report that it leads to."""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    title: str
    """What it shows."""
    header: list[str]
    """Names of the columns."""
    rows: list[list[Cell]]
    """Cells, as many in each row as there are columns."""
    note: str = ""
    """What a reader must know to read it."""


def score_table(results: StudyResults) -> Table:
    """Return environment × algorithm: what the normalised scores of a cell say together, and failures.

    A cell says how many of its runs failed or are missing; the number beside it is of the others only.
    """
    rows = []
    for environment in results.environments:
        intervals = {name: cell_interval(results, environment, name) for name in results.algorithms}
        best = max((interval.estimate for interval in intervals.values() if interval is not None), default=None)
        row = [Cell(environment, "name")]
        for name in results.algorithms:
            runs, interval = results.cell(environment, name), intervals[name]
            failed = sum(run.status == "failed" for run in runs)
            missing = sum(run.status == "missing" for run in runs)
            text = "not in the study" if not runs else "" if interval is None else interval.text()
            kind: CellKind = "quiet" if not runs else "plain"
            if interval is not None and interval.estimate == best:
                kind = "best"
            if missing:
                text, kind = _joined(text, f"{missing} of {len(runs)} not run"), "quiet"
            if failed:
                text, kind = _joined(text, f"{failed} of {len(runs)} failed"), "failed"
            row.append(Cell(text, kind))
        rows.append(row)
    note = (
        "Normalised score: 0 is uniform random play, 1 the optimum; after the same number of agent tokens. "
        f"{described(results.counts())} The best of each environment stands out."
    )
    offline = [one.name for one in results.study.algorithms if one.total_updates]
    if offline:
        note += f" {', '.join(offline)}: after so many updates on given data, which are no tokens asked of anything."
    for algorithm, play in results.other_play().items():
        alone = "has no policy" if "Boltzmann" in play else "does not say its policy alone"
        note += f" {algorithm} {alone}; where sampled play is scored, its is {play}."
    return Table("Normalised scores", ["environment", *results.algorithms], rows, note)


def aggregate_table(results: StudyResults) -> Table:
    """Return the aggregates of every algorithm over all environments."""
    rows = []
    for row in aggregates(results):
        name, done = Cell(row.algorithm, "name"), f"{row.finished} of {row.expected}"
        count = Cell(_joined(done, f"{row.failed} failed") if row.failed else done, "failed" if row.failed else "plain")
        intervals = (row.iqm, row.mean, row.gap)
        cells = [Cell("–", "quiet") if interval is None else Cell(interval.text()) for interval in intervals]
        rows.append([name, *cells, count])
    header = ["algorithm", "interquartile mean", "mean", "optimality gap", "finished runs"]
    fewest = min((count for count in results.counts() if count), default=0)
    note = (
        "Over all environments and seeds, with 95% percentile intervals of a bootstrap that resamples seeds within "
        "each environment"
        + (f"; from {fewest} seeds they are too narrow" if 1 < fewest < 10 else "")
        + ". An algorithm "
        "without a finished run on every environment has no aggregate: an average over fewer would not compare. Fewer "
        "than four runs in all, or a single one on some environment, have no interval."
    )
    return Table("Aggregates", header, rows, note)


def reference_table(results: StudyResults) -> Table:
    """Return budget, agent, random and optimal return of every environment."""
    rows = []
    for environment in results.study.environments:
        found = results.references(environment.name)
        returns = ["–", "–"] if found is None else [f"{found['random']:.4g}", f"{found['optimal']:.4g}"]
        score = f"return − {environment.beta:g}·KL" if environment.beta is not None else "return"
        cells = [
            environment.id or f"tokengym/{environment.name}-v0",
            ", ".join(f"{key}={value}" for key, value in environment.kwargs.items()) or "–",
            str(environment.agent),
            f"{results.study.budget(environment):,}",
            f"{score}, {environment.score_by}",
            *returns,
        ]
        rows.append([Cell(environment.name, "name"), *map(Cell, cells)])
    header = ["environment", "id", "arguments", "agent", "tokens a run", "scored by", "random", "optimal"]
    return Table("Environments", header, rows)


def configuration_table(results: StudyResults) -> Table:
    """Return the one configuration of every algorithm and what differs on single environments."""
    rows = []
    for algorithm in results.study.algorithms:
        overrides = "; ".join(f"{name}: {_settings(values)}" for name, values in algorithm.overrides.items())
        cells = [algorithm.algorithm or algorithm.name, _settings(algorithm.config), overrides or "–"]
        cells.append("each environment's" if algorithm.agent is None else str(algorithm.agent))
        rows.append([Cell(algorithm.name, "name"), *map(Cell, cells)])
    header = ["algorithm", "registered as", "configuration everywhere", "changes on single environments", "agent"]
    return Table("Configurations", header, rows, "What is not named has the algorithm's default.")


def warning_table(results: StudyResults) -> Table | None:
    """Return what runs warned of, with the runs; None where none did."""
    rows = []
    for text, runs in results.warnings().items():
        named = ", ".join(run.spec.name for run in runs[:_NAMED])
        others = len(runs) - _NAMED
        rows.append(
            [
                Cell(str(len(runs))),
                Cell(named + (f" and {others} more" if others > 0 else "")),
                Cell(text),
            ]
        )
    if not rows:
        return None
    warned = sum(bool(run.warnings) for run in results.runs)
    note = f"{warned} of {len(results.runs)} runs warned of something, which is in the warnings.jsonl of each."
    return Table("Warnings", ["runs", "which", "what was warned of"], rows, note)


def run_table(results: StudyResults) -> Table:
    """Return every single run: its score, what it cost, and where it lies."""
    rows = []
    for run in results.runs:
        spec, seconds = run.spec, [one for one in run.seconds if one is not None]
        score = rounded(run.score, 3) if run.score is not None else "failed" if run.status == "failed" else "not run"
        kind: CellKind = "plain" if run.status == "done" else "failed" if run.status == "failed" else "quiet"
        cells = [
            Cell(spec.environment),
            Cell(spec.label, "name"),
            Cell(str(spec.seed)),
            Cell(score, kind),
            Cell(_spent(run) if "tokens" in run.summary else "–"),
            Cell(f"{seconds[-1]:.1f}" if seconds else "–"),
            Cell(
                "–" if run.status == "missing" else spec.name,
                link="" if run.status == "missing" else f"runs/{spec.name}/",
            ),
        ]
        rows.append(cells)
    header = ["environment", "algorithm", "seed", "score", "tokens", "seconds", "folder"]
    note = "Seconds are of training alone, evaluation apart."
    if any(len(run.starts) > 1 for run in results.runs):
        header.append("interrupted")
        for row, run in zip(rows, results.runs, strict=True):
            went_on = [
                f"went on from {tokens:,} {run.spec.budget}" if tokens else "started again" for tokens in run.starts[1:]
            ]
            row.append(Cell(", ".join(went_on) or "–"))
        note += (
            " An interrupted run goes on from its newest checkpoint to the same bits; those of Stable-Baselines3's "
            "algorithms hold their weights alone, so that theirs start again."
        )
    return Table("Single runs", header, rows, note)


def _spent(run: RunResult) -> str:
    return f"{run.summary['tokens']:,}" + ("" if run.spec.budget == "tokens" else " updates")


def hyperparameter_table(results: StudyResults) -> Table:
    """Return every hyperparameter of every algorithm, defaults too; what the study sets otherwise stands out."""
    chosen = {spec.name: spec for spec in results.study.algorithms}
    defaults = {name: _defaults(spec) for name, spec in chosen.items()}
    names = list(dict.fromkeys(key for values in defaults.values() for key in values))
    rows = []
    for key in names:
        row = [Cell(key, "name")]
        for algorithm, spec in chosen.items():
            if key not in defaults[algorithm]:
                row.append(Cell("–", "quiet"))
                continue
            value, default = spec.config.get(key, defaults[algorithm][key]), defaults[algorithm][key]
            row.append(Cell(f"{value}", "plain") if value == default else Cell(f"{value} (not {default})", "best"))
        rows.append(row)
    note = "What differs from an algorithm's default stands out, with the default in parentheses. – it has none such."
    return Table("All hyperparameters", ["hyperparameter", *chosen], rows, note)


def _defaults(spec: AlgorithmSpec) -> dict[str, Any]:
    """Return the defaults of an algorithm; of one that is not here what the study says, which is all that is known."""
    try:
        return ALGORITHMS.config(spec.registered_name)().to_dict()
    except TokenGymError:
        return dict(spec.config)


def machine_table(results: StudyResults) -> Table:
    """Return the machines and versions that the runs were made with, as each run noted it."""
    made: dict[tuple[tuple[str, str], ...], int] = {}
    for run in results.runs:
        if run.machine:
            noted = tuple(run.machine.items())
            made[noted] = made.get(noted, 0) + 1
    keys = list(dict.fromkeys(key for noted in made for key, _ in noted))
    rows = [[Cell(key, "name"), *(Cell(dict(noted).get(key, "–")) for noted in made)] for key in keys]
    header = ["made with", *(f"{count} runs" for count in made.values())]
    return Table("Machines and versions", header, rows)


def to_markdown(table: Table) -> str:
    """Return the table as GitHub-flavoured markdown with its title and note."""
    lines = [f"## {table.title}", "", "| " + " | ".join(table.header) + " |", "|---" * len(table.header) + "|"]
    for row in table.rows:
        texts = [visible(cell.text, one_line=True).replace("|", "\\|") or "–" for cell in row]
        texts = [f"**{text}**" if cell.kind == "best" else text for text, cell in zip(texts, row, strict=True)]
        lines.append("| " + " | ".join(texts) + " |")
    return visible("\n".join(lines + (["", table.note] if table.note else []))) + "\n"


def upright(table: Table) -> Table:
    """Return a table of environments × algorithms with both exchanged where it is wider than high, to fit a page."""
    if len(table.header) - 1 <= len(table.rows):
        return table
    header = ["algorithm", *(row[0].text for row in table.rows)]
    rows = [
        [Cell(name, "name"), *(row[column] for row in table.rows)]
        for column, name in enumerate(table.header)
        if column > 0
    ]
    return Table(table.title, header, rows, table.note)


def to_rich(table: Table) -> RichTable:
    """Return the table for a rich console, intervals on a line of their own."""
    caption = Text(visible(table.note), "table.caption") if table.note else None
    shown = RichTable(title=Text(visible(table.title), "table.title"), caption=caption)
    shown.title_justify = shown.caption_justify = "left"
    styles = {"plain": "", "name": "bold", "best": "bold green", "failed": "bold red", "quiet": "dim"}
    for index, name in enumerate(table.header):
        shown.add_column(name, no_wrap=index == 0)
    for row in table.rows:
        shown.add_row(*(Text(_in_lines(visible(cell.text) or "–"), style=styles[cell.kind]) for cell in row))
    return shown


def _settings(values: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items()) or "defaults"


def _in_lines(text: str) -> str:
    return text.replace(" [", "\n[").replace("], ", "]\n").replace(" (", "\n(").replace("), ", ")\n")


def _joined(*texts: str) -> str:
    return ", ".join(text for text in texts if text)
