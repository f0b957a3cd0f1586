"""Writes what is generated of the algorithms' pages: `python -m tokengym.experiments.zoo.pages`.

The upper part of a page is written by hand; below the mark stand every field of the configuration, where the code is,
the studies that compare it, and the rows of the audit, from the source and from docs/audit.json.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ...algorithms import ALGORITHMS
from ..rlhf import load_pipeline, packaged_pipelines
from ..study import load_study, packaged_studies
from . import on_off_policy, random_walks
from .fields import Field, fields_of, places_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "algorithms"
MARK = (
    "<!-- Below: written by `python -m tokengym.experiments.zoo.pages` from the source and the audit: edit those. -->"
)
SHARED_PAGES = {"filtered-bc": "bc"}
"""The algorithms that stand on the page of another; those of the outside libraries stand on one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the lower part of every page of an algorithm and return the exit code."""
    names = list(sys.argv[1:] if arguments is None else arguments)
    unknown = [name for name in names if name not in page_names()]
    if not PAGES.is_dir() or unknown:
        what = f"no page is called {unknown[0]!r}: {', '.join(page_names())}" if unknown else f"there is no {PAGES}"
        print(f"error: {what}", file=sys.stderr)
        return 2
    for name in names or page_names():
        path = PAGES / f"{name}.md"
        path.write_text(whole(path.read_text(encoding="utf-8"), name), encoding="utf-8")
    return 0


def page_names() -> list[str]:
    """Return the names of the pages that tell of algorithms, in the order of the registry."""
    return list(dict.fromkeys(page_of(name) for name in ALGORITHMS.built_in))


def page_of(algorithm: str) -> str:
    """Return the name of the page that an algorithm of this package stands on."""
    return "sb3" if algorithm.startswith("sb3-") else SHARED_PAGES.get(algorithm, algorithm)


def whole(text: str, page: str) -> str:
    """Return a page with its lower part written anew."""
    return f"{text.partition(MARK)[0].rstrip()}\n\n{MARK}\n\n{lower_part(page)}"


def lower_part(page: str) -> str:
    """Return what stands below the mark: fields, places in the code, and rows of the audit."""
    algorithms = [name for name in ALGORITHMS.built_in if page_of(name) == page]
    parts = ["## Every field"]
    for name in algorithms:
        if len(algorithms) > 1:
            parts.append(f"### `{name}`")
        parts.append(field_tables(name))
    code = [line for name in algorithms for line in code_lines(name)]
    if code:
        numbered = [f"{number}. {line}" for number, line in enumerate(dict.fromkeys(code), 1)]
        parts += ["## In the code", "In the order in which they are called:", "\n".join(numbered)]
    studies = [line for name in algorithms for line in study_lines(name)]
    if studies:
        parts += ["## Compared in", "\n".join(dict.fromkeys(studies))]
    rows = [row for name in algorithms for row in audit_rows(name)]
    if rows:
        parts += ["## Audit", AUDIT_LEAD, audit_table(rows)]
    return "\n\n".join(parts) + "\n"


def field_tables(algorithm: str) -> str:
    """Return the table of an algorithm's own fields, and below it, folded, the one of what it shares with others."""
    kind = ALGORITHMS.config(algorithm)
    own = [field for field in fields_of(kind) if field.owner is kind]
    shared = [field for field in fields_of(kind) if field.owner is not kind]
    parts = [table(own)] if own else []
    if shared:
        title = f"{len(shared)} fields that it shares with other algorithms"
        parts += [f"<details><summary>{title}</summary>", table(shared), "</details>"]
    return "\n\n".join(parts)


def table(fields: Iterable[Field]) -> str:
    """Return fields as a Markdown table."""
    rows = [f"| `{f.name}` | `{f.default}` | {cell(f.takes)} | {cell(f.meaning)} |" for f in fields]
    return "\n".join(["| field | default | takes | meaning, direction, typical range |", "|---|---|---|---|", *rows])


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return text.replace("|", "\\|")


def code_lines(algorithm: str) -> list[str]:
    """Return a line for each hook that an algorithm has in this package."""
    kind = ALGORITHMS[algorithm]
    lines = []
    for place in places_of(kind, ROOT):
        where = place.path.as_posix()
        lines.append(f"[`{place.name}`](../../{where}) in `{where}`: {within(place.summary)}")
    return lines


def within(summary: str) -> str:
    """Return a sentence as it stands behind a colon: a word begins small, a formula or an abbreviation as it is."""
    word = summary[:2].isascii() and summary[1:2].islower()
    return summary[:1].lower() + summary[1:] if word else summary


TOLD_IN = {
    "first": "../../README.md",
    "exploration": "../concepts/exploration.md",
    "kl-fixed-points": "../studies/kl-control.md",
    "sentiment": "../guides/rlhf.md",
    "sort": "../concepts/exploration.md",
    "suite": "../environments/learning.md",
    "zoo-presets": "../studies/zoo.md",
    "zoo-quick": "../studies/zoo.md",
}
"""Where the studies are told of that have no page of their own name in docs/studies, other than docs/results.md."""


def scripted_studies() -> dict[str, tuple[str, set[str]]]:
    """Return the studies that modules of this room run, by the names of their pages: the module, what it compares."""
    methods = on_off_policy.read()["methods"]
    return {
        "on-and-off-policy": ("on_off_policy", {(of or {}).get("algorithm", name) for name, of in methods.items()}),
        "random-walks": ("random_walks", {algorithm for algorithm, _ in random_walks.METHODS.values()}),
    }


def study_lines(algorithm: str) -> list[str]:
    """Return a line for each study and pipeline that compares an algorithm: its page, and the command."""
    lines = []
    for name, path in packaged_studies().items():
        if any(spec.registered_name == algorithm for spec in load_study(path, check=False).algorithms):
            lines.append(f"- [{name}]({told_in(name)}): `tokengym compare {name}`{zoo_result(algorithm, name)}")
    for name, (module, algorithms) in scripted_studies().items():
        if algorithm in algorithms:
            lines.append(f"- [{name}]({told_in(name)}): `python -m tokengym.experiments.zoo.{module}`")
    for name, path in packaged_pipelines().items():
        if any(method.registered_name == algorithm for method in load_pipeline(path).methods):
            lines.append(f"- [{name}]({told_in(name)}): `tokengym rlhf {name}`")
    return lines


def zoo_result(algorithm: str, study: str) -> str:
    """Return what the committed table of the zoo says of an algorithm over all of its environments; or nothing."""
    rows = (PAGES.parent / "studies" / "zoo.md").read_text(encoding="utf-8").splitlines()
    row = next((row for row in rows if row.startswith(f"| `{algorithm}` |")), "")
    if study != "zoo" or not row:
        return ""
    score, gap = (re.sub(r"<br><sub>(.*?)</sub>", r" (\1)", cell).strip() for cell in row.split("|")[-4:-2])
    score, _, count = score.partition("<br>of ")
    where = f"the {count} environments that it can be run on" if count else "all environments"
    return f"; `{algorithm}` has an interquartile mean over {where} of {score}, an optimality gap of {gap}"


def told_in(study: str) -> str:
    """Return the page that tells of a study, from the pages of algorithms."""
    own = f"../studies/{study}.md"
    return TOLD_IN.get(study) or (own if (PAGES / own).exists() else "../results.md")


AUDIT_LEAD = (
    "What it does in expectation, by enumeration on a small tree; [all losses, and what the columns mean](../audit.md)."
)


def audit_rows(algorithm: str) -> list[dict[str, Any]]:
    """Return the rows of the audit's table that are of an algorithm."""
    rows = json.loads((ROOT / "docs" / "audit.json").read_text(encoding="utf-8"))
    return [row for row in rows if row["origin"] == "tokengym" and row["name"].partition("(")[0] == algorithm]


def audit_table(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows of the audit as a Markdown table of what matters most."""
    lines = [
        "| loss | G | held against | is it? | cosine | stale cosine | where it ends |",
        "|---|--:|---|---|--:|--:|---|",
    ]
    for row in rows:
        verdict = "yes" if row["right"] else "**no**"
        numbers = [shown(row["fresh_cosine"]), shown(row["stale_cosine"])]
        cells = [f"`{row['name']}`", str(row["group_size"]), row["objective"], verdict, *numbers, row["ends"]]
        lines.append("| " + " | ".join(cell(text) for text in cells) + " |")
    return "\n".join(lines)


def shown(number: float | None) -> str:
    """Return a cosine for a table."""
    return "–" if number is None else f"{number:.3g}"


if __name__ == "__main__":
    sys.exit(main())
