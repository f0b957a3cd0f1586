"""The tables of ``tokengym list``."""

from __future__ import annotations

import ast
import importlib.util
from typing import cast

from rich.markup import escape
from rich.table import Table

from ..algorithms.registry import ALGORITHMS
from ..envs.errors import TokenGymError
from ..envs.exact import solve
from ..envs.finite import FiniteTask
from ..envs.registration import list_ids, make_task


def environment_table() -> Table:
    """Return a table of the registered environments with their defaults; finite ones are solved."""
    table = Table(title="Environments", title_justify="left")
    table.add_column("id", no_wrap=True)
    table.add_column("family")
    for name in ("vocabulary", "tokens", "random", "optimal"):
        table.add_column(name, justify="right")
    for env_id in list_ids():
        try:
            task = make_task(env_id)
        except TokenGymError as error:
            # An environment that needs arguments or an optional dependency.
            table.add_row(env_id, f"[dim]{escape(str(error).splitlines()[0])}[/]")
            continue
        random_return, optimal_return = task.random_return, task.optimal_return
        if task.finite and (random_return is None or optimal_return is None):
            solution = solve(cast(FiniteTask, task))
            random_return, optimal_return = solution.random_return, solution.optimal_return
        counts = str(task.vocabulary.num_actions), str(task.max_episode_tokens)
        table.add_row(env_id, task.family, *counts, _number(random_return), _number(optimal_return))
    table.caption = (
        "vocabulary: tokens the agent can say; tokens: most that it says in an episode; random and optimal return: "
        "exact where the environment is finite"
    )
    table.caption_justify = "left"
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


def _number(value: float | None) -> str:
    return "[dim]–[/]" if value is None else f"{value:.4g}"
