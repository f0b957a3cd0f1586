"""Tables of scores that were fitted once are kept: in this process, and in sealed files for the next one.

The files lie in the folder that the variable `TOKENGYM_CACHE` names, by default `tokengym` in the user's folder for
caches; an empty one means no files. A file is named by a hash of all that the table depends on and holds a hash of its
own numbers; what does not fit, or cannot be read or written, is fitted anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

Array = npt.NDArray[np.float64]

_MOST = 64
"""Tables that a process keeps; past it, it starts anew."""
_known: dict[str, Array] = {}


def remembered(depends_on: Iterable[bytes | npt.NDArray], fit: Callable[[], Array]) -> Array:
    """Return the table that belongs to what it depends on; it is fitted where nobody did so before.

    Args:
        depends_on: Everything that decides what `fit` returns.
        fit: Returns a float64 array.

    Returns:
        The table, read-only: others may hold it, too.
    """
    key = hashlib.sha256()
    for part in depends_on:
        told = part if isinstance(part, bytes) else f"{part.dtype.str}{part.shape}".encode() + part.tobytes()
        key.update(len(told).to_bytes(8, "little") + told)
    name = key.hexdigest()
    if name not in _known:
        folder = _folder()
        path = None if folder is None else folder / f"{name}.safetensors"
        table = None if path is None else _read(path)
        if table is None:
            table = np.ascontiguousarray(fit(), np.float64)
            if path is not None:
                _write(path, table)
        table.setflags(write=False)
        if len(_known) >= _MOST:
            _known.clear()
        _known[name] = table
    return _known[name]


def _folder() -> Path | None:
    """The folder of the files, or None where there are to be none."""
    named = os.environ.get("TOKENGYM_CACHE")
    if named is not None:
        return Path(named) / "scores" if named else None
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # nobody's home is known
        return None
    return caches / "tokengym" / "scores"


def _read(path: Path) -> Array | None:
    try:
        with safe_open(path, framework="numpy") as file:
            table, seal = file.get_tensor("scores"), (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError, ValueError):
        return None
    return table if table.dtype == np.float64 and seal == _seal(table) else None


def _write(path: Path, table: Array) -> None:
    """Write a table under another name first, so that nobody ever reads half of one."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"scores": table}, temporary, {"sha256": _seal(table)})
        temporary.replace(path)
    except OSError:  # no such folder can be made, or the disk is full: the next process fits it again
        with suppress(OSError):
            temporary.unlink()


def _seal(table: Array) -> str:
    return hashlib.sha256(f"{table.shape}".encode() + table.tobytes()).hexdigest()
