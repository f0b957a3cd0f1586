"""Prompts and the columns beside them, from a list or a file, split into train and held-out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..checking import TokenGymError, unknown_name
from .chat import check_messages

SPLITS = ("train", "held_out", "all")


class Prompts(NamedTuple):
    """Prompts and their columns.

    Attributes:
        texts: The prompts, P strings or lists of messages.
        columns: What else is known about each, such as its answer: lists of P values by name.
    """

    texts: list[Any]
    columns: dict[str, list[Any]]


def read_prompts(
    source: Any,
    split: str = "train",
    held_out: float = 0.0,
    split_seed: int = 0,
    columns: Mapping[str, str] | None = None,
) -> Prompts:
    """Reads prompts and keeps one side of the split.

    Which prompts are held out depends on a hash of their text, not on their order: equal prompts are on the same side,
    and adding prompts to a file moves few of the others.

    Args:
        source: A list of strings or of mappings with the key `prompt` (its other keys are the columns), or the path of
            a file: `.jsonl` with one such mapping (or string) a line, anything else with one prompt a line. A prompt is
            a string, or a list of messages such as `[{"role": "user", "content": "hello"}]`.
        split: `"train"`, `"held_out"` or `"all"`.
        held_out: The fraction of the different prompts that is held out, from 0 to below 1. At least one is, if it is
            above 0.
        split_seed: Which of the possible splits it is: the hash depends on it.
        columns: What columns are called here, and what the data call them: `{"prompt": "question"}`. The others keep
            their names.

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
    names = _checked_columns(columns)
    rows = [_row(_renamed(entry, place, names), place) for entry, place in zip(entries, places, strict=True)]
    for row, place in zip(rows, places, strict=True):
        if row.keys() != rows[0].keys():
            raise TokenGymError(
                f"{place} has the columns {sorted(row)}, but {places[0]} has {sorted(rows[0])}: give all the same"
            )
    if split != "all":
        held = _held_out({_key(row["prompt"]) for row in rows}, held_out, split_seed)
        rows = [row for row in rows if (_key(row["prompt"]) in held) == (split == "held_out")]
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


def _checked_columns(columns: Any) -> dict[str, str]:
    if columns is None:
        return {}
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in (*columns, *columns.values())):
        raise TokenGymError(
            f"columns={columns!r}: give a mapping from the names here to those in the data, {{'prompt': 'question'}}"
        )
    if len(set(columns.values())) != len(columns):
        raise TokenGymError(f"columns={dict(columns)!r}: one column of the data cannot have two names here")
    return dict(columns)


def _renamed(entry: Any, place: str, names: Mapping[str, str]) -> Any:
    """Returns a row under the names here, given those that the data use for some of them."""
    if not names or not isinstance(entry, Mapping):
        return entry
    for theirs in names.values():
        if theirs not in entry:
            raise TokenGymError(f"{place}: {unknown_name('column', theirs, map(str, entry))}")
    rest = {name: value for name, value in entry.items() if name not in names.values()}
    twice = sorted(set(names) & rest.keys())
    if twice:
        raise TokenGymError(f"{place} has a column {twice[0]!r} of its own: give that another name in columns, too")
    return {**{ours: entry[theirs] for ours, theirs in names.items()}, **rest}


def _row(entry: Any, place: str) -> dict[str, Any]:
    row = {"prompt": entry} if isinstance(entry, (str, list, tuple)) else entry
    prompt = row.get("prompt") if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or not isinstance(prompt, (str, list, tuple)):
        known = f", not only {sorted(map(str, row))}" if isinstance(row, Mapping) and "prompt" not in row else ""
        raise TokenGymError(
            f"{place} is {entry!r}: give a string, a list of messages, or a mapping with one of them under 'prompt'"
            f"{known}; columns={{'prompt': 'question'}} names another column"
        )
    row = dict(row)
    if not isinstance(prompt, str):
        try:
            row["prompt"] = check_messages(prompt)
        except TokenGymError as error:
            raise TokenGymError(f"{place}: {error}") from None
    if any("\ud800" <= character <= "\udfff" for character in _key(row["prompt"])):
        raise TokenGymError(f"{place} is {entry!r}, which is no text: it holds half of a surrogate pair")
    reserved = {"completions", "completion_ids", "prompts"} & row.keys()
    if reserved:
        raise TokenGymError(f"{place} has a column {min(reserved)!r}, a name that reward functions get: rename it")
    return row


def _key(prompt: Any) -> str:
    """Returns what tells prompts from one another."""
    return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)


def _held_out(texts: set[str], fraction: float, seed: int) -> set[str]:
    salt = seed.to_bytes(16, "little")
    ranked = sorted(texts, key=lambda text: hashlib.blake2b(text.encode(), digest_size=16, salt=salt).digest())
    return set(ranked[: max(1, round(fraction * len(ranked)))] if fraction > 0 else ())
