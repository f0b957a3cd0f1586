"""The studies that come with the package, found by name, and how such files are found."""

from __future__ import annotations

import re
from pathlib import Path

from ...envs.checking import unknown_name
from .file import load_study

STUDIES = Path(__file__).resolve().parents[1] / "studies"
"""Where they are, in a checkout and in an installed package alike."""


def packaged_studies() -> dict[str, Path]:
    """Return the files of the studies that come with the package, by name."""
    return files_in(STUDIES)


def find_study(study: str | Path) -> Path:
    """Return the file of a study: itself, ``<study>.yaml``, or the package's own of that name.

    Raises:
        TokenGymError: If a bare name is none of these; names the nearest.
    """
    return find_file("study", study, packaged_studies())


def files_in(folder: Path) -> dict[str, Path]:
    """Return the YAML files of a folder that comes with the package, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_file(kind: str, given: str | Path, known: dict[str, Path]) -> Path:
    """Return a file itself, ``<given>.yaml``, or the package's own of that name; a path that is nowhere comes back.

    Args:
        kind: what it is a file of, for the message.
        given: a path or a name.
        known: the package's own, by name.

    Raises:
        TokenGymError: If a bare name is none of these; names the nearest.
    """
    path, beside = Path(given), Path(f"{given}.yaml")
    if path.is_file():
        return path
    if path.suffix not in (".yaml", ".yml") and beside.is_file():
        return beside
    if str(given) in known:
        return known[str(given)]
    if re.fullmatch(r"[\w+-]+", str(given)):  # no path
        raise unknown_name(kind, str(given), [*known, f"a file {beside}"])
    return path


def descriptions() -> dict[str, str]:
    """Return the first sentence of what each packaged study asks, and its size."""
    found = {}
    for name, path in packaged_studies().items():
        study = load_study(path, check=False)
        sentence = re.split(r"(?<=[.?!])\s", study.description.strip(), maxsplit=1)[0]
        found[name] = f"{sentence} ({len(study.runs())} runs)"
    return found
