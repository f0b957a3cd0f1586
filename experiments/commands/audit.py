"""The command ``audit``: what a method does in expectation, beside what it claims."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from ...envs import TokenGymError
from ..audit import audit as audited
from ..audit import listable
from ..console import guarded
from ..study import parse_arguments
from .options import AuditOptions


def audit(options: AuditOptions, console: Console) -> int:
    """Audit a method, print what was found, and return the exit code: 0 whether it is right or not.

    Raises:
        TokenGymError: an unknown method, field or claim, or a task that cannot be listed.
    """
    guarded(console)
    if options.kwargs and options.task is None:
        given = " ".join(options.kwargs)
        raise TokenGymError(f"--kwargs {given} does nothing without --task, whose arguments it gives")
    task = None if options.task is None else listable(options.task, **parse_arguments(options.kwargs))
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
