"""Run folders: where a run of ``train`` or of a study writes, and how a finished, failed or interrupted one is told.

    seed-0/
      config.yaml        everything that makes the run again: the RunSpec with all hyperparameters, and its hash
      metrics.jsonl      what the algorithm logged, without times; at most 10,000 rows
      evaluations.jsonl  evaluations during training and the final ones
      episodes.jsonl     sampled episodes as text
      timings.jsonl      everything that is a time, apart, so that all other files can be compared bit for bit
      warnings.jsonl     what the run warned of, where it did
      checkpoints/       what an interrupted run goes on from; of a finished one the trained agent
      tensorboard/       events for TensorBoard, where `train` made the run
      done.json          the seal: a hash of each of the first four, written last
      failed.json        instead of the seal: error and traceback

Files are append-only while the run goes on. A folder without a seal or a failure is an interrupted run, whatever else
it holds: the process may have ended between any two operations on its files, and the run is then taken up again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ...envs import TokenGymError
from .spec import RunSpec, run_hash
from .yaml_text import read_yaml, write_yaml

RunState = Literal["missing", "interrupted", "failed", "done"]

RESULTS = ("config.yaml", "metrics.jsonl", "evaluations.jsonl", "episodes.jsonl")
WARNINGS = "warnings.jsonl"
_OTHERS = ("timings.jsonl", WARNINGS, "done.json", "failed.json")
_FORMAT = 2
_READABLE = (1, 2)
"""Formats that are read. The first had ``checkpoints/final`` in studies, and metrics without bound in ``train``."""
_STARTED = "machine"
"""The kind of the row of timings that each start of a run writes, and that outlives what is cut."""


class NewerRunError(TokenGymError):
    """A run folder of a later version, which this one must not touch."""


class RunFolder:
    """One run's folder.

    Args:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def state(self, spec: RunSpec, *, changed_counts_as_missing: bool = False) -> RunState:
        """Return what the folder holds of the run.

        Args:
            spec: The run that is asked for.
            changed_counts_as_missing: Take the finished run of another configuration for a missing one.

        Raises:
            TokenGymError: If the folder is corrupt, or holds the finished run of another configuration.
        """
        if not self.path.exists():
            return "missing"
        if not self.path.is_dir():
            raise TokenGymError(f"{self.path} is a file where the folder of a run belongs; move or delete it")
        if not any(self.path.iterdir()):
            return "missing"
        if self.sealed():
            recorded = self._recorded()
            self.verify()
            if not recorded.same_as(spec):
                if changed_counts_as_missing:
                    return "missing"
                raise TokenGymError(
                    f"{self.path} holds a finished run with another configuration ({_differences(recorded, spec)}); "
                    "choose another --out, or pass --replace-changed to run it again"
                )
            return "done"
        self._known()
        return "failed" if (self.path / "failed.json").exists() else "interrupted"

    def sealed(self) -> bool:
        """Return whether the folder holds a finished run, whole or not."""
        return (self.path / "done.json").exists()

    def prepare(self, spec: RunSpec) -> bool:
        """Make the folder ready for a run, and return whether it holds something of it that the run may go on from.

        A run that was interrupted, or whose process was lost, is kept; all else begins anew. A run that raised does,
        too: what it raised for may have been mended, and then no part of it is what it would be.
        """
        recorded = None if self.sealed() else self._known()
        raised = (self.path / "failed.json").exists() and "lost" not in self.failure()
        if recorded is None or raised or not recorded.same_as(spec):
            self.begin(spec)
            return False
        return True

    def begin(self, spec: RunSpec) -> None:
        """Start the run: remove what an earlier attempt of this run wrote and record the configuration."""
        self.path.mkdir(parents=True, exist_ok=True)
        # The seal goes first, on the disk too: killed in the middle of this, the folder reads as interrupted, never as
        # finished or as a seal whose files are gone.
        (self.path / "done.json").unlink(missing_ok=True)
        _flush(self.path)
        for name in ("failed.json", *RESULTS, *_OTHERS):
            (self.path / name).unlink(missing_ok=True)
            _unfinished(self.path / name).unlink(missing_ok=True)
        if self.checkpoints.exists():
            shutil.rmtree(self.checkpoints)
        self._record(spec)
        for name in RESULTS[1:]:
            (self.path / name).touch()

    def cut(self, spec: RunSpec, tokens: int) -> None:
        """Make an interrupted run ready to go on: drop what it wrote beyond a checkpoint, and record the run anew.

        When and on what it was started before stays among the times.

        Args:
            spec: The run; its total may be larger than it was.
            tokens: Where the checkpoint stands, the newest whole one; 0 where there is none, which drops everything.
        """
        (self.path / "done.json").unlink(missing_ok=True)
        (self.path / "failed.json").unlink(missing_ok=True)
        _flush(self.path)
        if not tokens and self.checkpoints.exists():
            shutil.rmtree(self.checkpoints)
        recorded = self.recorded()
        if recorded is None or recorded != spec.completed():
            self._record(spec)
        for name in (*RESULTS[1:], "timings.jsonl", *self._warned()):
            path = self.path / name
            path.touch()
            lines = path.read_bytes().splitlines(keepends=True)
            kept = next((n for n, line in enumerate(lines) if not _is_of_training(line, tokens)), len(lines))
            # In place, which a full disk allows.
            os.truncate(path, sum(map(len, lines[:kept])))

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Append one record to a ``.jsonl`` file as one line; values that are not finite become null."""
        line = json.dumps(plain(record), allow_nan=False)
        with open(self.path / name, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read(self, name: str) -> list[dict[str, Any]]:
        """Return the records of a ``.jsonl`` file; a last line cut short by an interruption is left out.

        Raises:
            TokenGymError: If another line is no JSON.
        """
        return list(self._lines(name))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Seal the run: record a summary and the hash of every result file, all of which are on the disk before it."""
        for path in sorted(self.path.rglob("*")):
            _flush(path)
        _flush(self.path)
        seal = {"format": _FORMAT, "summary": dict(summary), "files": {name: self._hash(name) for name in RESULTS}}
        _write_atomically(self.path / "done.json", json.dumps(plain(seal), indent=1, allow_nan=False) + "\n")

    def fail(self, error: str, traceback: str, *, lost: bool = False) -> None:
        """Record that the run failed, beside what it had written.

        Args:
            error: One line.
            traceback: What is known of where it failed.
            lost: Whether its process died or was ended, so that the run may go on from a checkpoint.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"error": error, "traceback": traceback, **({"lost": True} if lost else {})}
        _write_atomically(self.path / "failed.json", json.dumps(content, indent=1) + "\n")

    def verify(self) -> dict[str, Any]:
        """Check the seal and return the summary that was recorded with it.

        Raises:
            TokenGymError: If a file is missing or altered, or the seal itself cannot be read.
        """
        seal = self._json("done.json")
        files, summary = seal.get("files"), seal.get("summary")
        self._check_format("done.json", seal.get("format"))
        if seal.get("format") not in _READABLE or not isinstance(files, dict) or not isinstance(summary, dict):
            raise self._corrupt("done.json is not a seal of this version")
        for name in RESULTS:
            if not (self.path / name).exists():
                raise self._corrupt(f"{name} is missing")
            if files.get(name) != self._hash(name):
                raise self._corrupt(f"{name} differs from what was sealed")
        return summary

    def failure(self) -> dict[str, str]:
        """Return ``{"error", "traceback"}`` of a failed run, and ``lost`` where its process was lost."""
        try:
            content = self._json("failed.json")
        except TokenGymError as error:
            content = {"error": "it failed, but its failed.json cannot be read", "traceback": str(error)}
        lost = {"lost": "True"} if content.get("lost") else {}
        return {**{key: str(content.get(key, "")) for key in ("error", "traceback")}, **lost}

    def recorded(self) -> RunSpec | None:
        """Return the run whose folder it is, or None where it says of none.

        Raises:
            TokenGymError: If what it says cannot be read.
        """
        return self._recorded() if (self.path / "config.yaml").exists() else None

    @property
    def format(self) -> int:
        """The format that the folder was begun in; 0 where it does not say."""
        try:
            return int(read_yaml((self.path / "config.yaml").read_text(encoding="utf-8"), "config.yaml")["format"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _known(self) -> RunSpec | None:
        """Return the run that an unfinished folder says it is of; None where it cannot be told, but not by its age."""
        try:
            return self.recorded()
        except NewerRunError:
            raise
        except TokenGymError:
            return None

    def flush(self) -> None:
        """Force all that was appended to the disk, so that no checkpoint is there before what led to it."""
        for name in (*RESULTS[1:], "timings.jsonl", *self._warned()):
            _flush(self.path / name)

    def _warned(self) -> tuple[str, ...]:
        """Return the name of the file of warnings, where there is one."""
        return (WARNINGS,) if (self.path / WARNINGS).exists() else ()

    def _record(self, spec: RunSpec) -> None:
        spec = spec.completed()
        content = {"format": _FORMAT, "hash": spec.hash, "run": spec.to_dict()}
        _write_atomically(self.path / "config.yaml", write_yaml(content))

    def _recorded(self) -> RunSpec:
        try:
            content = read_yaml((self.path / "config.yaml").read_text(encoding="utf-8"), "config.yaml")
            self._check_format("config.yaml", content["format"])
            spec = RunSpec.from_dict(content["run"])
            intact = content["hash"] == run_hash(content["run"])
        except FileNotFoundError:
            raise self._corrupt("config.yaml is missing") from None
        except NewerRunError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._corrupt(f"config.yaml cannot be read ({type(error).__name__})") from error
        if not intact:
            raise self._corrupt("config.yaml was edited: its hash does not match")
        return spec

    def _check_format(self, name: str, found: Any) -> None:
        if isinstance(found, int) and found > _FORMAT:
            raise NewerRunError(
                f"{name} of {self.path} has the format {found} of a later version of tokengym, this one reads up to "
                f"{_FORMAT}: update tokengym, or choose another --out; nothing was changed"
            )

    def _json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._corrupt(f"{name} cannot be read ({type(error).__name__})") from error
        if not isinstance(content, dict):
            raise self._corrupt(f"{name} is no JSON object")
        return content

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.path / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole, _, _ = text.rpartition("\n")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise self._corrupt(f"line {number} of {name} is no JSON") from error

    def _hash(self, name: str) -> str:
        return hashlib.sha256((self.path / name).read_bytes()).hexdigest()

    def _corrupt(self, what: str) -> TokenGymError:
        return TokenGymError(
            f"the run folder {self.path} is corrupt: {what}; nothing was changed; move or delete it to run it again"
        )


def run_folder(out: str | Path, spec: RunSpec) -> RunFolder:
    """Return the folder of a run below the folder of its study's results."""
    return RunFolder(Path(out) / "runs" / spec.name)


def _differences(recorded: RunSpec, wanted: RunSpec) -> str:
    old, new = recorded.to_dict(), wanted.to_dict()
    parts = []
    for key in new:
        if old[key] == new[key]:
            continue
        if isinstance(old[key], dict) and isinstance(new[key], dict):
            inner = sorted(k for k in {*old[key], *new[key]} if old[key].get(k) != new[key].get(k))
            parts += [f"{key}.{k}: {old[key].get(k)!r} there, {new[key].get(k)!r} asked" for k in inner]
        else:
            parts.append(f"{key}: {old[key]!r} there, {new[key]!r} asked")
    return "; ".join(parts)


def plain(value: Any) -> Any:
    """Return the value in JSON's own types: tuples as lists, numpy scalars as numbers, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _is_of_training(line: bytes, tokens: int) -> bool:
    """Whether a line is whole, was written while the run learnt, and up to so many tokens: 0 are none."""
    try:
        record = json.loads(line)
        kind = record.get("kind")
        known = record["tokens"] <= tokens and (tokens > 0 or kind == _STARTED) and kind not in ("final", "end")
        return line.endswith(b"\n") and known
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write_atomically(path: Path, text: str) -> None:
    temporary = _unfinished(path)
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders, and needs none flushed
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
