"""Stages of a pipeline as folders: each is done once, and again only where what it depends on has changed.

A stage's folder holds what the stage made, and last of all ``stage.json``: what the stage was asked for, on what it
stands, what it found, and its seconds. A folder without it is an unfinished stage, which is gone on with.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...envs import TokenGymError
from ..study import plain

StageState = Literal["missing", "unfinished", "changed", "done"]

TUNED, COMPARISONS, MODEL, BEFORE = "sft", "comparisons", "reward-model", "before"
"""The stages that every method stands on, and their folders below that of a seed."""

_SEAL = "stage.json"
_FORMAT = 1


@dataclass(frozen=True)
class Stage:
    """One stage of one seed.

    Attributes:
        name: its name in messages and in the report, such as ``"comparisons"``.
        path: its folder.
        settings: what decides its result beside what it stands on; JSON-able.
        upon: the stages that it stands on.
        resumable: whether an unfinished stage goes on from what is in its folder.
    """

    name: str
    path: Path
    settings: Mapping[str, Any]
    upon: tuple[Stage, ...] = ()
    resumable: bool = False

    @property
    def key(self) -> str:
        """A hash of all that decides the result, that of the stages below included."""
        told = {"settings": plain(self.settings), "upon": {stage.name: stage.key for stage in self.upon}}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def state(self) -> StageState:
        """Return what the folder holds of the stage.

        Raises:
            TokenGymError: Something else is there, or what was recorded cannot be read.
        """
        if not self.path.exists():
            return "missing"
        if not self.path.is_dir():
            raise TokenGymError(f"{self.path} is a file where the folder of a stage belongs; move or delete it")
        if not (self.path / _SEAL).exists():
            return "unfinished" if any(self.path.iterdir()) else "missing"
        return "done" if self._recorded()["key"] == self.key else "changed"

    def changes(self) -> str:
        """Return in words in what a finished stage differs from what is asked for."""
        recorded = self._recorded()
        old, new = recorded.get("settings", {}), plain(self.settings)
        told = [
            f"{name} is {new.get(name)!r} (the folder's is {old.get(name)!r})"
            for name in {**new, **old}
            if new.get(name) != old.get(name)
        ]
        below = recorded.get("upon", {})
        told += [f"{stage.name} is another" for stage in self.upon if below.get(stage.name) != stage.key]
        return "; ".join(told) or "it is of another version"

    def clear(self) -> None:
        """Remove what is in the folder."""
        if self.path.is_dir():
            (self.path / _SEAL).unlink(missing_ok=True)  # first, so that half of a stage is never taken for all of it
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)

    def facts(self) -> dict[str, Any]:
        """Return what a finished stage found."""
        return dict(self._recorded()["facts"])

    @property
    def seconds(self) -> float:
        """How long a finished stage took."""
        return float(self._recorded()["seconds"])

    @property
    def cost(self) -> dict[str, float]:
        """What a finished stage cost beside seconds on the wall; see `cost_since`."""
        return dict(self._recorded().get("cost", {}))

    def finish(self, facts: Mapping[str, Any], seconds: float, cost: Mapping[str, float] | None = None) -> None:
        """Seal the stage with what it found."""
        content = {
            "format": _FORMAT,
            "name": self.name,
            "key": self.key,
            "settings": plain(self.settings),
            "upon": {stage.name: stage.key for stage in self.upon},
            "seconds": seconds,
            "cost": dict(cost or {}),
            "facts": plain(facts),
        }
        temporary = self.path / f".{_SEAL}.writing"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path / _SEAL)

    def _recorded(self) -> dict[str, Any]:
        path = self.path / _SEAL
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TokenGymError(
                f"{path} cannot be read ({type(error).__name__}); delete the folder to redo it"
            ) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            found = content.get("format") if isinstance(content, dict) else None
            raise TokenGymError(
                f"{path} has the format {found!r}, this version reads {_FORMAT}; choose another --out, or delete it"
            )
        return content
