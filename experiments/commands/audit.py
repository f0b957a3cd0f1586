"""The command ``audit``: what a method, or a loss of one's own, does in expectation, beside what it claims."""

from __future__ import annotations

import inspect
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...algorithms import ALGORITHMS, Algorithm
from ...envs import TokenGymError
from ...envs.checking import load_object, unknown_name
from ..audit import audit as audited
from ..audit import audit_loss, listable, row_of
from ..console import guarded
from ..study import parse_arguments
from .options import AuditOptions


def audit(options: AuditOptions, console: Console) -> int:
    """Audit a method or a loss, print what was found, and return the exit code: 0 whether it is right or not.

    Raises:
        TokenGymError: an unknown method, field or claim, or a task that cannot be listed.
    """
    guarded(console)
    if options.kwargs and options.task is None:
        given = " ".join(options.kwargs)
        raise TokenGymError(f"--kwargs {given} does nothing without --task, whose arguments it gives")
    task = None if options.task is None else listable(options.task, **parse_arguments(options.kwargs))
    loss = loss_named(options.method)
    if loss is None and options.method not in ALGORITHMS and ":" not in options.method:
        told = str(unknown_name("algorithm", options.method, ALGORITHMS))
        end = "" if told.endswith("?") else "."
        raise TokenGymError(f"{told}{end} A loss of your own is named module:function.")
    if loss is not None:
        return audit_of_loss(loss, task, options, console)
    arguments: dict[str, Any] = {
        "claim": options.claim,
        "groups": options.groups,
        "critic": options.critic,
        "seed": options.seed,
        "fixed_points": options.fixed_points,
        **parse_arguments(options.config),
    }
    watching = guarded(Console(stderr=True))
    with watching.status(f"{options.method}: listing all that it may draw …") as status:
        arguments["progress"] = lambda said: status.update(f"{options.method}: {said} …")
        result = audited(options.method, task, **arguments)
    if options.json:
        console.print(json.dumps(result.to_dict()), markup=False, highlight=False, soft_wrap=True)
        return 0
    console.print(result, highlight=False)
    return 0


def loss_named(name: str) -> Any:
    """Return the function that ``module:function`` names, or None for the name of an algorithm.

    Raises:
        TokenGymError: there is no such module, or nothing of that name in it; or it is a class that is no algorithm.
    """
    if ":" not in name:
        return None
    found = load_object("loss", name) if name not in ALGORITHMS else None
    if not isinstance(found, type):
        return found
    if not issubclass(found, Algorithm):
        raise TokenGymError(
            f"{name!r} is a class; a loss is a function, or an object that can be called: name one that is made of it, "
            f"such as my_loss = {found.__name__}(…) in the module."
        )
    return None


def audit_of_loss(loss: Any, task: Any, options: AuditOptions, console: Console) -> int:
    """Audit a function of log-probabilities and rewards, and print what its row on the audit's page would say."""
    asked = {"--groups": options.groups is not None, "--critic": options.critic != "exact", "--seed": options.seed != 0}
    useless = [flag for flag, given in asked.items() if given]
    if useless:
        raise TokenGymError(f"{useless[0]} does nothing for a loss; give its arguments as --config group_size=4 …")
    given = parse_arguments(options.config)
    known = [name for name in inspect.signature(audit_loss).parameters if name not in ("loss", "objective", "task")]
    for name in given:
        if name not in known:
            raise unknown_name("argument of audit_loss", name, known)
    arguments = {"with_ends": options.fixed_points, **given}
    if options.claim is not None:
        arguments["claim"] = options.claim
    row = row_of(options.method, "", audited(loss, task, **arguments), stale_scale=True)
    if options.json:
        console.print(json.dumps(row), markup=False, highlight=False, soft_wrap=True)
        return 0
    verdict = "holds" if row["right"] else "does not hold"
    console.print(f"{options.method} claims {escape(row['objective'])}, from groups of {row['group_size']}: {verdict}")
    table = Table("drawn by", "cosine", "scale", "bias")
    for drawn, numbers in (("itself", "fresh"), ("an older policy", "stale")):
        said = [row.get(f"{numbers}_{number}") for number in ("cosine", "scale", "bias")]
        table.add_row(drawn, *("–" if value is None else f"{value:g}" for value in said))
    console.print(table)
    if row["batches"]:
        several = Table("groups of 2 in a batch", "cosine", "scale")
        for number, numbers in row["batches"].items():
            several.add_row(number, *("–" if value is None else f"{value:g}" for value in numbers))
        console.print(several)
    if row["ends"]:
        console.print(f"where it ends: {row['ends']}", highlight=False)
    if row["counterexample"]:
        console.print(
            "the smallest tree that shows it:", row["counterexample"], sep="\n", markup=False, highlight=False
        )
    return 0
