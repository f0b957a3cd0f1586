"""The page of the zoo: one table of environments and all online algorithms, its pictures, and the presets' own table.

`python -m tokengym.experiments.zoo.table results/zoo --presets results/zoo-presets` reads the finished studies of those
names and writes the lower part of docs/studies/zoo.md with its pictures; what stands above the mark is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from ...envs import FAMILIES
from ..console import told_in_a_line
from ..report import StudyResults, collect, style
from ..statistics import Interval, described
from ..study import EnvironmentSpec, find_study, load_study
from .pictures import heat_map, profile_picture
from .rows import best_of, rows

PAGE = Path("docs") / "studies" / "zoo.md"
MARK = "<!-- Below: written by `python -m tokengym.experiments.zoo.table` from the finished studies. -->"
PASSES = 0.8
"""What the best method of every environment has to reach."""


def matrix(results: StudyResults) -> str:
    """Return algorithms × environments as Markdown: interquartile mean and interval, the best of each column bold."""
    table, names = rows(results), results.environments
    best = best_of(table, names)
    lines = [
        "| algorithm | " + " | ".join(names) + " | all: IQM | optimality gap | seconds a run |",
        "|---|" + ":-:|" * (len(names) + 2) + "--:|",
    ]
    for row in table:
        cells = []
        for name, cell in zip(names, row.cells, strict=True):
            if cell is None:
                cells.append("–")
                continue
            number = _short(cell.estimate)
            strong = number == _short(best[name][1])
            cells.append((f"**{number}**" if strong else number) + _between(cell))
        some = "" if row.ran == len(names) else f"<br>of {row.ran}"
        seconds = "–" if np.isnan(row.seconds) else f"{row.seconds:.1f}"
        lines.append(
            f"| `{row.algorithm}` | {' | '.join(cells)} | {_short(row.iqm.estimate)}{_between(row.iqm)}{some} | "
            f"{_short(row.gap.estimate)}{_between(row.gap)} | {seconds} |"
        )
    return "\n".join(lines)


def environment_table(results: StudyResults) -> str:
    """Return what each environment is here: arguments, model, budget, the two ends of the score, its best method."""
    best = best_of(rows(results), results.environments)
    lines = [
        "| environment | family | arguments | model | agent tokens | random | optimal | best | its score |",
        "|---|---|---|---|--:|--:|--:|---|--:|",
    ]
    for environment in results.study.environments:
        between = results.references(environment.name) or {"random": float("nan"), "optimal": float("nan")}
        arguments = ", ".join(f"`{name}={json.dumps(value)}`" for name, value in environment.kwargs.items()) or "–"
        name, score = best.get(environment.name, ("–", float("nan")))
        lines.append(
            f"| {environment.name} | {family_of(environment)} | {arguments} | {_model(environment.agent)} | "
            f"{results.study.budget(environment):,} | {between['random']:.3g} | {between['optimal']:.3g} | "
            f"`{name}` | {score:.2f} |"
        )
    return "\n".join(lines)


def family_of(environment: EnvironmentSpec) -> str:
    """Return the family of the suite that an environment of a study belongs to."""
    name = environment.task_id.removeprefix("tokengym/").removesuffix("-v0")
    return next((family for family, entries in FAMILIES.items() if name in entries), "–")


def lower_part(results: StudyResults, presets: StudyResults | None, command: str) -> str:
    """Return what stands below the mark."""
    parts = [
        "## The environments",
        "Score 0 is random play, 1 the exact optimum. Each environment has a model and a budget with which its best "
        f"method passes {PASSES:g}.",
        environment_table(results),
        "## All online algorithms",
        f"{described(results.counts())} Bold: the best of its column. IQM: interquartile mean over all environments "
        "and seeds; gap: how far the runs are from the optimum, 0 at best. Seconds are of training alone.",
        matrix(results),
        _counted(results),
        "![Heat map of the normalised scores of every algorithm on every environment](zoo.png)",
        "![Performance profiles: the share of runs above each score, for three groups of algorithms](zoo-profiles.png)",
    ]
    if presets is not None:
        parts += [
            "## Presets and options",
            "The same environments, seeds and rule of tuning for named settings of the algorithms above.",
            matrix(presets),
            _counted(presets),
            "![Heat map of the normalised scores of every preset on every environment](zoo-presets.png)",
        ]
    return "\n\n".join([*parts, f"Written by `{command}`."]) + "\n"


def whole(text: str, lower: str) -> str:
    """Return the page with its lower part written anew."""
    return f"{text.partition(MARK)[0].rstrip()}\n\n{MARK}\n\n{lower}"


@told_in_a_line
def main(arguments: list[str] | None = None) -> int:
    """Write the page and its pictures; 1 where runs are missing or failed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/zoo"), help="the finished study zoo")
    parser.add_argument("--presets", type=Path, help="the finished study zoo-presets")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page, which keeps what stands above the mark")
    options = parser.parse_args(arguments)
    results = collect(load_study(find_study("zoo")), options.results)
    presets = None
    if options.presets is not None:
        presets = collect(load_study(find_study("zoo-presets")), options.presets)
    folder = options.page.parent
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        heat_map(results, rows(results)).savefig(folder / "zoo.png", metadata={"Software": None}, dpi=72)
        profile_picture(results).savefig(folder / "zoo-profiles.png", metadata={"Software": None}, dpi=72)
        if presets is not None:
            picture = heat_map(presets, rows(presets))
            picture.savefig(folder / "zoo-presets.png", metadata={"Software": None}, dpi=72)
    command = "python -m tokengym.experiments.zoo.table " + str(options.results)
    command += "" if presets is None else f" --presets {options.presets}"
    text = options.page.read_text(encoding="utf-8") if options.page.exists() else "# The zoo\n"
    options.page.write_text(whole(text, lower_part(results, presets, command)), encoding="utf-8")
    below = [name for name, (_, score) in best_of(rows(results), results.environments).items() if score < PASSES]
    print(
        f"written {options.page}; {_counted(results)}"
        + (f" Best below {PASSES:g}: {', '.join(below)}." if below else "")
    )
    incomplete = [one for one in (results, presets) if one is not None and (one.failures() or one.missing())]
    return 1 if incomplete else 0


def _counted(results: StudyResults) -> str:
    done = sum(run.status == "done" for run in results.runs)
    failed, missing = len(results.failures()), len(results.missing())
    told = [f"{count} {what}" for count, what in ((failed, "failed"), (missing, "missing")) if count]
    return f"{done:,} runs of {len(results.runs):,}" + (f" ({', '.join(told)})" if told else "") + "."


def _short(number: float) -> str:
    """Return a score with two digits and no leading zero."""
    text = f"{number:.2f}".replace("-0.00", "0.00")
    return text.replace("-0.", "−.").replace("-", "−").removeprefix("0")


def _between(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return ""
    return f"<br><sub>{_short(interval.low)}–{_short(interval.high)}</sub>"


def _model(agent: object) -> str:
    if not isinstance(agent, dict):
        return str(agent)
    return " ".join([str(agent["kind"]), *(f"{name}={value}" for name, value in agent.items() if name != "kind")])


if __name__ == "__main__":
    sys.exit(main())
