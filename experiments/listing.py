"""The tables of ``tokengym list``."""

from __future__ import annotations

import ast
import importlib.util
from typing import cast

from rich.table import Table

from ..algorithms.registry import ALGORITHMS
from ..envs.errors import TokenGymError
from ..envs.exact import solve
from ..envs.finite import FiniteTask
from ..envs.registration import list_ids, make_task


def environment_table(*, exact: bool = False) -> Table:
    """Return a table of the registered environments with their defaults.

    Args:
        exact: Solve finite environments whose random or optimal return is not declared.
    """
    table = Table(title="Environments", title_justify="left")
    for name in ("id", "family", "tokens to say", "context", "tokens an episode", "turn"):
        table.add_column(name, no_wrap=name == "id")
    table.add_column("random", justify="right")
    table.add_column("optimal", justify="right")
    for env_id in list_ids():
        try:
            task = make_task(env_id)
        except TokenGymError as error:
            # An environment without defaults, which needs arguments or an optional dependency.
            table.add_row(env_id, f"[dim]{str(error).splitlines()[0]}[/]")
            continue
        random_return, optimal_return = task.random_return, task.optimal_return
        if exact and task.finite and (random_return is None or optimal_return is None):
            solution = solve(cast(FiniteTask, task))
            random_return, optimal_return = solution.random_return, solution.optimal_return
        table.add_row(
            env_id,
            task.family,
            str(task.vocabulary.num_actions),
            f"{task.max_length}, by {task.context}",
            f"up to {task.max_episode_tokens}",
            f"{task.max_turn_tokens}",
            _number(random_return, task.finite),
            _number(optimal_return, task.finite),
        )
    return table


def algorithm_table(names: list[str]) -> Table:
    """Return a table of algorithms with the first line of what each says of itself, without importing torch."""
    table = Table(title="Algorithms", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    for name in names:
        table.add_row(name, _first_line(name))
    return table


def _first_line(name: str) -> str:
    """Return the first line of a class's docstring from its source: importing it would take torch and seconds."""
    module, _, wanted = ALGORITHMS.target(name).partition(":")
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return ""
    with open(found.origin, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == wanted:
            return (ast.get_docstring(node) or "").split("\n")[0]
    return ""


def _number(value: float | None, finite: bool) -> str:
    if value is not None:
        return f"{value:.4g}"
    return "[dim]--exact[/]" if finite else "[dim]–[/]"
