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


def read_prompts(source: Any, split: str = "train", held_out: float = 0.0, split_seed: int = 0) -> Prompts:
    """Reads prompts and keeps one side of the split.

    Which prompts are held out depends on a hash of their text, not on their order: equal prompts are on the same side,
    and adding prompts to a file moves few of the others.

    Args:
        source: A list of strings or of mappings with the key `prompt` (its other keys are the columns), or the path of
            a file: `.jsonl` with one such mapping (or string) a line, anything else with one prompt a line.
        split: `"train"`, `"held_out"` or `"all"`.
        held_out: The fraction of the different prompts that is held out, from 0 to below 1. At least one is, if it is
            above 0.
        split_seed: Which of the possible splits it is: the hash depends on it.

    Raises:
        TokenGymError: If the file does not exist or cannot be read, a prompt is no string, the columns differ, or
            nothing is left on this side of the split. What is wrong in a file is named by its line.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if isinstance(held_out, bool) or not isinstance(held_out, (int, float)) or not 0 <= held_out < 1:
        raise TokenGymError(f"held_out={held_out!r} must be a fraction from 0 to below 1")
    if isinstance(split_seed, bool) or not isinstance(split_seed, int) or not 0 <= split_seed < 2**64:
        raise TokenGymError(f"split_seed={split_seed!r} must be a whole number from 0 to below 2**64")
    if isinstance(source, (str, Path)):
        places, entries = _read_file(Path(source))
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):
        entries = list(source)
        places = [f"prompt {number}" for number in range(len(entries))]
    else:
        raise TokenGymError(f"prompts={source!r}: give a list of prompts, or the path of a text or JSONL file")
    rows = [_row(entry, place) for entry, place in zip(entries, places, strict=True)]
    for row, place in zip(rows, places, strict=True):
        if row.keys() != rows[0].keys():
            raise TokenGymError(
                f"{place} has the columns {sorted(row)}, but {places[0]} has {sorted(rows[0])}: give all the same"
            )
    if split != "all":
        held = _held_out({row["prompt"] for row in rows}, held_out, split_seed)
        rows = [row for row in rows if (row["prompt"] in held) == (split == "held_out")]
    if not rows:
        raise TokenGymError(f"there are no prompts in split {split!r} with held_out={held_out}: give more prompts")
    names = [name for name in rows[0] if name != "prompt"]
    return Prompts([row["prompt"] for row in rows], {name: [row[name] for row in rows] for name in names})


def _read_file(path: Path) -> tuple[list[str], list[Any]]:
    """Returns the place of every entry of a prompt file, for messages, and the entries."""
    try:
        exists = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        exists = False
    if not exists:
        raise TokenGymError(f"the prompt file {str(path)!r} does not exist: give its path, or a list of prompts")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise TokenGymError(f"the prompt file {str(path)!r} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise TokenGymError(f"the prompt file {str(path)!r} cannot be read: {error.strerror or error}") from error
    places, entries = [], []
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        places.append(f"line {number} of the prompt file {str(path)!r}")
        if path.suffix != ".jsonl":
            entries.append(line)
            continue
        try:
            entries.append(json.loads(line))
        except (ValueError, RecursionError) as error:  # a number may be too long, and brackets too deep
            raise TokenGymError(f"{places[-1]} is not JSON: {error}") from error
    if not entries:
        raise TokenGymError(f"the prompt file {str(path)!r} is empty: write a prompt into each line")
    return places, entries


def _row(entry: Any, place: str) -> dict[str, Any]:
    row = {"prompt": entry} if isinstance(entry, str) else entry
    if not isinstance(row, Mapping) or not isinstance(row.get("prompt"), str):
        raise TokenGymError(f"{place} is {entry!r}: give a string, or a mapping with the string 'prompt'")
    if any("\ud800" <= character <= "\udfff" for character in row["prompt"]):
        raise TokenGymError(f"{place} is {entry!r}, which is no text: it holds half of a surrogate pair")
    reserved = {"completions", "completion_ids", "prompts"} & row.keys()
    if reserved:
        raise TokenGymError(f"{place} has a column {min(reserved)!r}, a name that reward functions get: rename it")
    return dict(row)


def _held_out(texts: set[str], fraction: float, seed: int) -> set[str]:
    salt = seed.to_bytes(16, "little")
    ranked = sorted(texts, key=lambda text: hashlib.blake2b(text.encode(), digest_size=16, salt=salt).digest())
    return set(ranked[: max(1, round(fraction * len(ranked)))] if fraction > 0 else ())
