"""The tables of ``tokengym list``."""

from __future__ import annotations

import ast
import importlib.util

from rich.markup import escape
from rich.table import Table

from ..algorithms.registry import ALGORITHMS
from ..envs.errors import TokenGymError
from ..envs.registration import list_ids, make_task
from .evaluation import known_references


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
        between = known_references(task)
        returns = ["[dim]–[/]"] * 2 if between is None else [f"{between.random:.4g}", f"{between.optimal:.4g}"]
        counts = str(task.vocabulary.num_actions), str(task.max_episode_tokens)
        table.add_row(env_id, task.family, *counts, *returns)
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
