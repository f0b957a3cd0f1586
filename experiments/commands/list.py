"""What ``tokengym list`` shows: the suite by family, from scores that were computed before, and the algorithms."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ...algorithms import ALGORITHMS
from ...envs import FAMILIES, Entry
from ...envs.checking import unknown_name, visible
from ...envs.scores import SuiteScores, suite_scores
from ..console import guarded

_HEADINGS = ("say", "tokens", "random", "optimal")
_GAP = 2  # columns between two columns of a table


def show_list(console: Console, *, family: str | None = None, variants: bool = False, as_json: bool = False) -> None:
    """Print the environments, and unless one family is asked for the algorithms.

    Args:
        console: Where to print.
        family: One family only, or None for all.
        variants: Show the variants below their base environments.
        as_json: Print one JSON document with all environments of the families asked for instead.

    Raises:
        TokenGymError: If there is no such family.
    """
    families = families_of(family)
    guarded(console)
    if as_json:
        text = json.dumps(listing(families), indent=1)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    console.print(environment_table(families, variants, console.width))
    if not variants:
        left_out = sum(entry.variant_of is not None for entries in families.values() for entry in entries.values())
        if left_out:
            console.print(f"[dim]--all shows {left_out} variants, too[/]", highlight=False)
    console.print(
        "[dim]say: tokens that the agent can say; tokens: most that it says in an episode; random and optimal: mean "
        "return, exact where a number stands alone; ~ declared or measured, ≥ what the task's expert gets[/]",
        highlight=False,
    )
    if family is None:
        console.print()
        console.print(algorithm_table(list(ALGORITHMS)))


def families_of(family: str | None) -> dict[str, dict[str, Entry]]:
    """Return the families asked for, those without environments left out."""
    if family is not None and family not in FAMILIES:
        raise unknown_name("family", family, FAMILIES)
    return {name: entries for name, entries in FAMILIES.items() if entries and family in (None, name)}


def listing(families: dict[str, dict[str, Entry]]) -> list[dict[str, Any]]:
    """Return one JSON-able mapping an environment: id, family, base, arguments, sizes, scores, what is missing."""
    scores = suite_scores()
    rows = []
    for family, entries in families.items():
        for name, entry in entries.items():
            known = scores.get(name)
            rows.append(
                {
                    "id": env_id(name),
                    "family": family,
                    "variant_of": None if entry.variant_of is None else env_id(entry.variant_of),
                    "kwargs": dict(entry.kwargs),
                    "reward_threshold": entry.reward_threshold,
                    "summary": _summary(entry),
                    "missing": list(entry.missing),
                    "install": entry.install_command if entry.missing else None,
                    **(dataclasses.asdict(known) if known is not None else {}),
                }
            )
    return rows


def environment_table(families: dict[str, dict[str, Entry]], variants: bool = False, width: int = 100) -> Table:
    """Return a table of environments with a section a family; variants are indented below their base.

    Args:
        families: Entries by name, by family.
        variants: Show the variants, too.
        width: Columns that there are: names and numbers are always whole, what an environment is is cut short.
    """
    scores = suite_scores()
    shown = [
        name for entries in families.values() for name, entry in entries.items() if variants or not entry.variant_of
    ]
    numbers = [_numbers(scores.get(name)) for name in shown]
    widths = [
        max(len(heading), *(len(Text.from_markup(row[index]).plain) for row in numbers))
        for index, heading in enumerate(_HEADINGS)
    ]
    first = max(len(name) for name in shown) + 4
    left = width - first - sum(widths) - _GAP * (len(widths) + 1)
    table = Table(box=None, pad_edge=False)
    table.add_column("environment", no_wrap=True, min_width=first)
    for heading, size in zip(_HEADINGS, widths, strict=True):
        table.add_column(heading, justify="right", no_wrap=True, min_width=size)
    table.add_column("what it is", overflow="ellipsis", no_wrap=True, max_width=max(10, left))
    for family, entries in families.items():
        table.add_row()
        table.add_row(f"[bold cyan]{family}[/]")
        for name, entry in entries.items():
            if entry.variant_of is not None and not variants:
                continue
            indent = "    " if entry.variant_of is not None else "  "
            if entry.missing:
                told = f"[yellow]{escape(entry.install_command)}[/]"
            elif entry.variant_of is not None:
                told = "[dim]" + escape(", ".join(f"{key}={value}" for key, value in entry.kwargs.items())) + "[/]"
            else:
                told = escape(visible(_summary(entry), one_line=True))
            table.add_row(indent + name, *_numbers(scores.get(name)), told)
    return table


def algorithm_table(names: list[str]) -> Table:
    """Return a table of algorithms with the first line of what each says of itself, without importing torch."""
    table = Table(box=None, pad_edge=False)
    table.add_column("algorithm", no_wrap=True)
    table.add_column("what it is")
    for name in names:
        target = ALGORITHMS.target(name)
        own = name in ALGORITHMS.built_in  # a module of somebody else is imported only where its algorithm is used
        table.add_row(name, escape(summary_in_source(*target.split(":")) if own else target))
    return table


def env_id(name: str) -> str:
    """Return the id of a name, as Gymnasium knows it."""
    return f"tokengym/{name}-v0"


def summary_in_source(module: str, wanted: str) -> str:
    """Return the first line of a class's docstring from its source: importing it could take torch and seconds."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return ""
    with open(found.origin, encoding="utf-8") as file:
        text = file.read()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == wanted:
            return (ast.get_docstring(node) or "").split("\n")[0]
    return ""


def _summary(entry: Entry) -> str:
    if isinstance(entry.task, str) and entry.registered_by is None:
        module, _, wanted = entry.task.partition(":")
        return summary_in_source(f"tokengym.envs.tasks.{module}", wanted)
    return (inspect.getdoc(entry.load()) or "").split("\n")[0]


def _numbers(known: SuiteScores | None) -> list[str]:
    if known is None:
        return ["[dim]–[/]"] * 4
    exact = known.information_states is not None
    returns = [
        "[dim]–[/]" if value is None else f"{value:.4g}" if exact else f"[dim]~[/]{value:.4g}"
        for value in (known.random, known.optimal)
    ]
    if known.optimal is None and known.expert is not None:
        returns[1] = f"[dim]≥[/]{known.expert:.4g}"
    return [f"{known.vocabulary:,}", f"{known.tokens:,}", *returns]
