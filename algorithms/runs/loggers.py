"""Loggers: metrics to JSON lines and TensorBoard, and a progress bar with the numbers that matter."""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

from rich import get_console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ...envs import TokenGymError
from ...envs.checking import Range, checked, visible

if TYPE_CHECKING:
    from ..learner import Learner


class LogNotWrittenError(TokenGymError):
    """A log could not be written, as on a full disk; what was written before stays."""


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogNotWrittenError(
            f"{path} cannot be written: {error.strerror or error}. Make room, or choose another folder; what was "
            "written before is whole, and a run goes on from its newest checkpoint."
        ) from error


_WIDE = 130  # columns that everything takes
_SHOWN = (
    ("return", "episode/return"),
    ("loss", "policy/loss"),
    ("KL", "objective/kl"),
    ("entropy", "objective/entropy"),
)

MOST_ROWS = 10_000
"""The most rows that a run writes into ``metrics.jsonl``, however long it is; and into ``timings.jsonl``."""


def row_of(timesteps: int, total: int) -> int:
    """Return in which of `MOST_ROWS` equal parts of a run's tokens it stands.

    A row is written for the first update that ends in a new part, and none for others: it is what that one update
    reported, never a mean of several. So the rows depend on nothing but the tokens, and a resumed run writes the same.
    """
    return min(timesteps, total) * MOST_ROWS // total if total else 0


class JsonLines:
    """An append-only file of JSON objects, one a line, flushed line by line.

    Opened at a count of timesteps, it drops what an interrupted run wrote beyond it (and a last line that was cut
    short), so that a resumed run's file equals an uninterrupted one's. A run that starts anew beside the file of
    another one loses nothing: that file is renamed.

    Args:
        path: the file; made where it is missing.
        timesteps: where the run stands.
        total: the run's tokens, where the file holds `MOST_ROWS` rows at most: what a run of a smaller total, or of a
            version that wrote more, left there is thinned as `row_of` says. What says of which ``kind`` it is stays.
    """

    @checked
    def __init__(
        self,
        path: str | Path,
        timesteps: Annotated[int, Range(least=0)] = 0,
        total: Annotated[int, Range(least=0)] | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.exists():
            self._rewind(timesteps, total)
        with _writing(self.path):
            self._file = self.path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append one object. Numbers that are not finite become null, which every JSON reader takes.

        Raises:
            LogNotWrittenError: the disk is full, say.
        """
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        with _writing(self.path):
            self._file.write(json.dumps(finite) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        # What could not be written was said where it was written.
        with suppress(OSError):
            self._file.close()

    def _rewind(self, timesteps: int, total: int | None) -> None:
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = next((n for n in range(len(lines), 0, -1) if _tokens(lines[n - 1]) <= timesteps), 0)
        if not kept and lines:
            os.rename(self.path, free_name(self.path))
            return
        if kept < len(lines):
            # Cut in place, which a full disk allows.
            os.truncate(self.path, sum(map(len, lines[:kept])))
        thinned = lines[:kept] if total is None else _thinned(lines[:kept], total)
        if len(thinned) < kept:
            shorter = self.path.with_name(f".{self.path.name}.new")
            with _writing(shorter):
                shorter.write_bytes(b"".join(thinned))
                os.replace(shorter, self.path)


@checked
def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read a file that `JsonLines` wrote; a last line that was cut short is left out."""
    lines = Path(path).read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if _tokens(line) < math.inf]


def _thinned(lines: list[bytes], total: int) -> list[bytes]:
    """Return the lines that a run of ``total`` tokens would have written."""
    kept, last = [], 0
    for line in lines:
        tokens = _tokens(line)
        if tokens == math.inf or "kind" in json.loads(line):
            kept.append(line)
        elif (row := row_of(int(tokens), total)) > last:
            kept.append(line)
            last = row
    return kept


def free_name(path: Path) -> Path:
    """Return the first of ``path.1``, ``path.2``, … that nothing has, so that moving ``path`` there loses nothing."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
    return next(candidate for candidate in numbered if not os.path.lexists(candidate))


def _tokens(line: bytes) -> float:
    """The tokens of a line; infinity where the line is not whole."""
    if not line.endswith(b"\n"):
        return math.inf
    try:
        return float(json.loads(line)["tokens"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class EventFile:
    """A file of scalars for TensorBoard, written at once: the library's own writer has a thread that a full disk kills.

    Args:
        folder: where to make the file.
        timesteps: where the run stands; what earlier files say beyond it is not shown.
    """

    def __init__(self, folder: Path, timesteps: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        place = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._path = place
        with _writing(place):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(place, "xb")
        self._records = RecordWriter(self._file)
        self._add(file_version="brain.Event:2")
        self._add(step=timesteps + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, scalars: dict[str, float], timesteps: int) -> None:
        """Add scalars by name at a count of timesteps.

        Raises:
            LogNotWrittenError: the disk is full, say.
        """
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._add(step=timesteps, summary=self._summary(value=values))

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    def _add(self, **event: Any) -> None:
        with _writing(self._path):
            self._records.write(self._event(wall_time=time.time(), **event).SerializeToString())
            self._records.flush()


class RunLogger:
    """What `Algorithm.learn` reports to; a context manager.

    Writes ``metrics.jsonl`` (results only: the same seed gives the same bytes), ``timings.jsonl`` (seconds and
    tokens per second, kept apart because they never repeat) and TensorBoard events in ``tensorboard/``: of every update
    in a run of few, and of `MOST_ROWS` updates in a longer one (see `row_of`). The seconds are those since the row
    before.

    Args:
        log_dir: the folder of the run; None writes nothing.
        algorithm: the run.
        progress_bar: show a bar on the terminal.
        tensorboard: write events for TensorBoard, too.
    """

    @checked
    def __init__(
        self,
        log_dir: str | Path | None,
        algorithm: Learner,
        progress_bar: bool = False,
        tensorboard: bool = True,
    ) -> None:
        self._row = row_of(algorithm.spent, algorithm.total_timesteps)
        self._tokens, self._rollout, self._update = 0, 0.0, 0.0
        self._metrics: JsonLines | None = None
        self._timings: JsonLines | None = None
        self._tensorboard: EventFile | None = None
        if log_dir is not None:
            folder = Path(log_dir)
            with _writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            place = algorithm.spent, algorithm.total_timesteps
            self._metrics = JsonLines(folder / "metrics.jsonl", *place)
            self._timings = JsonLines(folder / "timings.jsonl", *place)
            if tensorboard:
                self._tensorboard = EventFile(folder / "tensorboard", algorithm.spent)
        self._bar = ProgressBar(algorithm) if progress_bar else None

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        for file in (self._metrics, self._timings, self._tensorboard):
            if file is not None:
                file.close()

    def log(self, algorithm: Learner, metrics: dict[str, float], tokens: int, rollout: float, update: float) -> None:
        """Report one collection and update.

        Args:
            algorithm: the run.
            metrics: by name; see the page of the algorithm.
            tokens: agent tokens collected.
            rollout: seconds spent collecting.
            update: seconds spent updating.
        """
        if self._bar is not None:
            self._bar.update(algorithm, metrics, tokens / max(rollout + update, 1e-9))
        if self._metrics is None or self._timings is None:
            return
        self._tokens += tokens
        self._rollout += rollout
        self._update += update
        row = row_of(algorithm.spent, algorithm.total_timesteps)
        if row == self._row:
            return
        speed = self._tokens / max(self._rollout + self._update, 1e-9)
        timings = {"time/tokens_per_second": speed, "time/rollout": self._rollout, "time/update": self._update}
        self._row, self._tokens, self._rollout, self._update = row, 0, 0.0, 0.0
        place = {"tokens": algorithm.spent, "updates": algorithm.num_updates}
        self._metrics.write({**place, "episodes": algorithm.num_episodes, **metrics})
        self._timings.write({**place, **timings})
        if self._tensorboard is not None:
            self._tensorboard.write({**metrics, **timings}, algorithm.spent)


class ProgressBar:
    """A bar over the budget of a run, with return, loss, KL, entropy and speed; in 80 columns return and speed."""

    def __init__(self, algorithm: Learner) -> None:
        console = get_console()
        self._wide = console.width >= _WIDE
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, style="bold"),
            BarColumn(bar_width=40 if self._wide else 8),
            TextColumn("{task.completed:,}/{task.total:,}" + f" {algorithm.config.budget}" * self._wide),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._progress.start()
        description = visible(f"{algorithm.name} · {algorithm.task.name}", one_line=True)
        self._task: TaskID = self._progress.add_task(
            description, total=algorithm.total_timesteps, completed=algorithm.spent, numbers=""
        )

    def update(self, algorithm: Learner, metrics: dict[str, float], tokens_per_second: float) -> None:
        """Show where the run stands."""
        numbers_of = _SHOWN if self._wide else _SHOWN[:1]
        numbers = [f"{label} {metrics[name]:.3g}" for label, name in numbers_of if name in metrics]
        numbers.append(f"{tokens_per_second:,.0f}{' tokens' * self._wide}/s")
        self._progress.update(self._task, completed=algorithm.spent, numbers=" · ".join(numbers))

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._progress.stop()
