"""Files with a JSON object a line: read with the place of each, checked for texts and numbers, and written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...envs import TokenGymError
from ...envs.checking import unknown_name
from .encoding import Said


def read_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the objects of a file, each with where it stands, for messages.

    Raises:
        TokenGymError: it cannot be read, is empty, or a line is no object.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise TokenGymError(f"The file {str(path)!r} does not exist; give the path of a .jsonl.") from None
    except (OSError, ValueError) as error:
        raise TokenGymError(f"The file {str(path)!r} cannot be read: {error}.") from error
    if not content.strip():
        raise TokenGymError(f"The file {str(path)!r} is empty; expected a JSON object a line.")
    for number, row in enumerate(content.split("\n"), 1):
        if row.strip():
            place = f"Line {number} of {str(path)!r}"
            try:
                entry = json.loads(row)
            except (ValueError, RecursionError) as error:  # a number may be too long, and brackets too deep
                raise TokenGymError(f"{place} is not JSON: {error}; expected an object a line.") from error
            if not isinstance(entry, Mapping):
                raise TokenGymError(f"{place} is no object: {brief(entry)}; expected fields by name.")
            yield place, entry


def write_lines(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write objects, one a line; the file is there whole or not at all.

    Raises:
        TokenGymError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
        temporary.write_text("".join(lines), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise TokenGymError(f"{str(path)!r} cannot be written: {error.strerror or error}; choose another.") from error
    finally:
        temporary.unlink(missing_ok=True)


def said_of(value: Any, name: str) -> Said:
    """Return a field that is a text or messages; roles are looked at when they are encoded.

    Raises:
        TokenGymError: it is neither.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value or not all(isinstance(message, Mapping) for message in value):
        raise TokenGymError(f"{name!r} is {brief(value)}; expected a text or a list of messages")
    for message in value:
        if set(message) != {"role", "content"} or not all(isinstance(one, str) for one in message.values()):
            raise TokenGymError(
                f"{name!r} has the message {brief(message)}; expected 'role' and 'content', both strings"
            )
    return value


def number_of(entry: Mapping[str, Any], name: str) -> float | None:
    """Return a field that is a number, None where it is not there.

    Raises:
        TokenGymError: it is no finite number.
    """
    value = entry.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e30 < value < 1e30:
        raise TokenGymError(f"{name!r} is {brief(value)}; expected a finite number")
    return float(value)


def words_of(said: Said) -> str:
    """Return all that is said."""
    return said if isinstance(said, str) else "".join(message["content"] for message in said)


def renamed(entry: Mapping[str, Any], columns: Mapping[str, str], known: Sequence[str]) -> Mapping[str, Any]:
    """Return a line under the names here, given what the file calls some of them.

    Raises:
        TokenGymError: a name is not known here, or not there.
    """
    for ours, theirs in columns.items():
        if ours not in known:
            raise unknown_name("column", ours, known)
        if theirs not in entry:
            raise unknown_name("column", theirs, list(map(str, entry)))
    rest = {name: value for name, value in entry.items() if name not in columns.values()}
    return rest | {ours: entry[theirs] for ours, theirs in columns.items()}


def brief(value: Any) -> str:
    """Return what a value looks like, in few characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
