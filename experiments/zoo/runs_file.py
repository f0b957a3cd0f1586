"""The runs of a study that a module makes by itself: a line of one file each, and none of them made twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, Generic, TypeVar

from ...envs import TokenGymError

RunT = TypeVar("RunT")
FoundT = TypeVar("FoundT")
JobT = TypeVar("JobT")


class RunsFile(Generic[RunT, FoundT]):
    """The finished runs.

    Args:
        path: of the file; its folder is made.
        kind: a frozen dataclass that tells one run from the others; each line has its fields, and what was found.
        found: what is kept of a line.

    Attributes:
        rows: what was found, by run.

    Raises:
        TokenGymError: a line of the file is not one of such a run.
    """

    def __init__(self, path: Path, kind: type[RunT], found: Callable[[dict[str, Any]], FoundT]) -> None:
        self.path, self.kind, self.found = path, kind, found
        self.rows: dict[RunT, FoundT] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_bytes() if path.exists() else b""
        whole, _, begun = text.rpartition(b"\n")
        if begun:  # whoever wrote it was stopped in the middle of a line, which would swallow the next one, too
            path.write_bytes(whole + b"\n" * bool(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise TokenGymError(
                    f"line {number} of {path} is no run of this study ({error!r}); expected what it wrote itself: take "
                    "another folder, or delete the file to run everything anew"
                ) from error

    def _take(self, row: dict[str, Any]) -> None:
        run = self.kind(**{field.name: row[field.name] for field in dataclasses.fields(self.kind)})  # pyright: ignore[reportArgumentType]
        self.rows[run] = self.found(row)

    def add(self, row: dict[str, Any]) -> None:
        """Write down a finished run."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._take(row)

    def do(self, pool: Pool, work: Callable[[JobT], dict[str, Any]], jobs: Iterable[JobT]) -> Iterator[dict[str, Any]]:
        """Do some runs, and yield each as it is finished and written down."""
        for row in pool.imap_unordered(work, jobs):
            self.add(row)
            yield row
