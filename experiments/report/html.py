"""What every page that is made of a template has: the templates, embedded pictures, and by what it was made."""

from __future__ import annotations

import base64
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2

from ...envs.checking import visible


def page_of(template: str, **values: Any) -> str:
    """Return the HTML of a page; texts that stand in it are escaped, their control characters made visible."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tokengym.experiments.report", "templates"),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def embedded(path: Path) -> str:
    """Return a picture as the address that holds all of it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def made_by(command: str) -> dict[str, str]:
    """Return by what a page was made: the command, the commit and the version."""
    return {"command": command, "commit": commit(), "version": installed_version()}


def commit() -> str:
    """Return the commit that this code is at, with ``+changes`` if files differ from it, or ``unknown``."""
    folder = Path(__file__).resolve().parent
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.stdout.strip() or "unknown"


def installed_version() -> str:
    """Return the installed version of tokengym, or ``unknown``."""
    try:
        return version("tokengym")
    except PackageNotFoundError:
        return "unknown"
