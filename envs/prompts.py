"""Prompts and the columns beside them, from a list or a file, split into train and held-out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .errors import TokenGymError, unknown_name

SPLITS = ("train", "held_out", "all")


class Prompts(NamedTuple):
    """Prompts and their columns.

    Attributes:
        texts: The prompts, P strings.
        columns: What else is known about each, such as its answer: lists of P values by name.
    """

    texts: list[str]
    columns: dict[str, list[Any]]


def read_prompts(source: Any, split: str = "train", held_out: float = 0.0) -> Prompts:
    """Reads prompts and keeps one side of the split.

    Which prompts are held out depends on a hash of their text, not on their order: equal prompts are on the same side,
    and adding prompts to a file moves few of the others.

    Args:
        source: A list of strings or of mappings with the key `prompt` (its other keys are the columns), or the path of
            a file: `.jsonl` with one such mapping (or string) a line, anything else with one prompt a line.
        split: `"train"`, `"held_out"` or `"all"`.
        held_out: The fraction of the different prompts that is held out, from 0 to below 1. At least one is, if it is
            above 0.

    Raises:
        TokenGymError: If the file does not exist or cannot be read, a prompt is no string, the columns differ, or
            nothing is left on this side of the split.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if isinstance(held_out, bool) or not isinstance(held_out, (int, float)) or not 0 <= held_out < 1:
        raise TokenGymError(f"held_out={held_out!r} must be a fraction from 0 to below 1")
    entries = _read_file(Path(source)) if isinstance(source, (str, Path)) else source
    if not isinstance(entries, Iterable) or isinstance(entries, Mapping):
        raise TokenGymError(f"prompts={source!r}: give a list of prompts, or the path of a text or JSONL file")
    rows = [_row(entry, number) for number, entry in enumerate(entries)]
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise TokenGymError(
                f"prompt {number} has the columns {sorted(row)}, but prompt 0 has {sorted(rows[0])}: give all the same"
            )
    if split != "all":
        held = _held_out({row["prompt"] for row in rows}, held_out)
        rows = [row for row in rows if (row["prompt"] in held) == (split == "held_out")]
    if not rows:
        raise TokenGymError(f"there are no prompts in split {split!r} with held_out={held_out}: give more prompts")
    names = [name for name in rows[0] if name != "prompt"]
    return Prompts([row["prompt"] for row in rows], {name: [row[name] for row in rows] for name in names})


def _read_file(path: Path) -> list[Any]:
    if not path.is_file():
        raise TokenGymError(f"the prompt file {str(path)!r} does not exist: give its path, or a list of prompts")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise TokenGymError(f"the prompt file {str(path)!r} is not UTF-8 text: {error}") from error
    numbered = [(number, line.rstrip("\r")) for number, line in enumerate(lines, 1) if line.strip()]
    if path.suffix != ".jsonl":
        return [line for _, line in numbered]
    entries = []
    for number, line in numbered:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise TokenGymError(f"line {number} of the prompt file {str(path)!r} is not JSON: {error}") from error
    return entries


def _row(entry: Any, number: int) -> dict[str, Any]:
    row = {"prompt": entry} if isinstance(entry, str) else entry
    if not isinstance(row, Mapping) or not isinstance(row.get("prompt"), str):
        raise TokenGymError(f"prompt {number} is {entry!r}: give a string, or a mapping with the string 'prompt'")
    reserved = {"completions", "completion_ids", "prompts"} & row.keys()
    if reserved:
        raise TokenGymError(
            f"prompt {number} has a column {min(reserved)!r}, a name that reward functions get: rename it"
        )
    return dict(row)


def _held_out(texts: set[str], fraction: float) -> set[str]:
    ranked = sorted(texts, key=lambda text: hashlib.blake2b(text.encode(), digest_size=16).digest())
    return set(ranked[: max(1, round(fraction * len(ranked)))] if fraction > 0 else ())
