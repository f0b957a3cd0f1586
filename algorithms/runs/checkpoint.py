"""Sealed checkpoints: safetensors and JSON in a folder whose manifest holds the hash of every file.

A checkpoint is written to a temporary folder beside its place, flushed to the disk and renamed, and its manifest is
written last, so that a crash at any moment leaves either a whole checkpoint or one that is seen to be broken. Nothing
in it is executed on loading. What a crash leaves beside checkpoints is swept when the next one is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...envs import TokenGymError
from ...envs.checking import Count, checked
from .loggers import free_name

TENSORS = "state.safetensors"
DATA = "state.json"
MANIFEST = "manifest.json"
FORMAT = 1

_STEP = re.compile(r"step-(\d{12,})")
_LEFT_OVER = re.compile(r"\.(step-\d{12,})\.(?:writing-(\d+)|(previous))")


class BrokenCheckpointError(TokenGymError):
    """A checkpoint that is cut short or altered; the message names the folder and the file."""


def step_name(timesteps: int) -> str:
    """Name a checkpoint folder so that names sort as timesteps do."""
    return f"step-{timesteps:012d}"


class CheckpointNotWrittenError(TokenGymError):
    """A checkpoint could not be written, as on a full disk; what was there before is whole."""


@checked
def steps(folder: str | Path) -> list[Path]:
    """Return the folders that are named as `step_name` names checkpoints, whole or broken, the newest first."""
    found = [(int(match[1]), child) for child, match in _matches(folder, _STEP) if child.is_dir()]
    return [child for _, child in sorted(found, reverse=True)]


def write(path: str | Path, tensors: dict[str, Tensor | np.ndarray], data: dict[str, Any]) -> None:
    """Write a sealed checkpoint to the folder ``path``, replacing the checkpoint, whole or broken, that is there.

    Args:
        path: the folder to make; its parents are made too.
        tensors: torch tensors or numpy arrays by name, of any dtype that safetensors knows.
        data: JSON-able.

    Raises:
        CheckpointNotWrittenError: the disk is full, or the folder cannot be written.
        TokenGymError: ``path`` is there and is not a checkpoint, or ``data`` are not JSON-able.
    """
    path = Path(path)
    if os.path.lexists(path) and not _is_ours(path):
        raise TokenGymError(f"{path} is there and is not a checkpoint; choose another path, nothing was overwritten.")
    try:
        text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    except (TypeError, ValueError) as error:
        raise TokenGymError(
            f"The checkpoint {path} cannot be written: {error}. What extra_state and a callback's state return beside "
            "tensors must be JSON-able."
        ) from error
    temporary = _unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        held = {name: _as_tensor(value) for name, value in tensors.items()}
        save_file(held, temporary / TENSORS)
        (temporary / DATA).write_text(text)
        hashes = {name: _hash(temporary / name) for name in (TENSORS, DATA)}
        sizes = {name: (temporary / name).stat().st_size for name in (TENSORS, DATA)}
        for name in (TENSORS, DATA):
            _flush(temporary / name)
        manifest = {"format": FORMAT, "sha256": hashes, "bytes": sizes}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        _flush(temporary / MANIFEST)
        _flush(temporary)
        _put_in_place(temporary, path)
    except (OSError, SafetensorError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise CheckpointNotWrittenError(
            f"The checkpoint {path} cannot be written: {what}. Make room, or choose another folder; the checkpoints "
            "before it are whole."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@checked
def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the checkpoint at ``path``, or the newest whole one in a folder of checkpoints or of a run.

    In a folder of checkpoints a broken one is named in a warning and skipped.

    Returns:
        The tensors, on the CPU, and the JSON data.

    Raises:
        BrokenCheckpointError: ``path`` is one checkpoint and it is broken; names the file.
        TokenGymError: nothing is there, or no whole checkpoint is.
    """
    path = Path(path)
    if not path.exists() and _previous(path).exists():
        path = _previous(path)
    if not path.is_dir():
        raise TokenGymError(f"There is no checkpoint at {path}; expected a folder written by save().")
    if any(os.path.lexists(path / name) for name in (MANIFEST, TENSORS, DATA)):
        return _read_sealed(path)
    inside = steps(path)
    # Killed between two renames: the old checkpoint of that step waits under its other name.
    inside += [child for child, match in _matches(path, _LEFT_OVER) if match[3] and path / match[1] not in inside]
    if not inside:
        for part in ("final", "checkpoints"):
            if (path / part).is_dir():
                return read(path / part)
        raise TokenGymError(f"There is no checkpoint at {path}; expected a folder written by save().")
    for child in inside:
        try:
            return _read_sealed(child)
        except BrokenCheckpointError as error:
            warnings.warn(f"{error} It is skipped.", RuntimeWarning, stacklevel=2)
    raise TokenGymError(f"None of the {len(inside)} checkpoints in {path} is whole; train anew or restore a copy.")


@checked
def has_checkpoint(folder: str | Path) -> bool:
    """Return whether there is anything in a folder of checkpoints that `read` would try."""
    return bool(steps(folder)) or any(match[3] for _, match in _matches(folder, _LEFT_OVER))


def make_way(path: Path) -> None:
    """Move what is no checkpoint and stands where one is to be written aside, so that a run does not end by it."""
    if os.path.lexists(path) and not _is_ours(path):
        aside = free_name(path)
        path.rename(aside)
        warnings.warn(f"{path} was there and is no checkpoint; it is now {aside}.", RuntimeWarning, stacklevel=2)


@checked
def prune(folder: str | Path, keep: Count) -> None:
    """Remove the oldest whole checkpoints of ``folder`` beyond the ``keep`` newest; nothing else counts, or goes."""
    whole = [child for child in steps(folder) if _looks_whole(child)]
    for child in whole[keep:]:
        # By a name that is swept: killed in the middle, nothing is left that looks like a checkpoint.
        going = _unfinished(child)
        shutil.rmtree(going, ignore_errors=True)
        child.rename(going)
        shutil.rmtree(going)


@checked
def sweep(folder: str | Path, alone: bool = False) -> None:
    """Remove what writers that were killed left in a folder of checkpoints, and put back what they had moved away.

    Args:
        folder: the folder; it need not exist.
        alone: nobody else writes there, so that everything half-written is left over; otherwise only that of processes
            of this machine which have ended.
    """
    for child, match in _matches(folder, _LEFT_OVER):
        place = child.parent / match[1]
        if match[3] and not place.exists():
            child.rename(place)
        elif match[3] or alone or _has_ended(int(match[2])):
            shutil.rmtree(child, ignore_errors=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    previous = _previous(path)
    if path.exists() and previous.exists() and not _looks_whole(path):
        shutil.rmtree(path)  # what waits is whole, and stays until the new one is in place
    elif path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        path.rename(previous)
    temporary.rename(path)
    _flush(path.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _matches(folder: str | Path, pattern: re.Pattern[str]) -> list[tuple[Path, re.Match[str]]]:
    folder = Path(folder)
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    return [(child, match) for child in children if (match := pattern.fullmatch(child.name))]


def _is_ours(path: Path) -> bool:
    """Whether a folder is empty or a checkpoint, whole or broken: nothing but a checkpoint's own files is in it."""
    return path.is_dir() and {child.name for child in path.iterdir()} <= {TENSORS, DATA, MANIFEST}


def _looks_whole(path: Path) -> bool:
    """Whether a checkpoint is whole as far as its manifest and the sizes of its files tell, without reading them."""
    try:
        sizes = _manifest(path).get("bytes")
        found = {name: (path / name).stat().st_size for name in (TENSORS, DATA)}
        return sizes is None or sizes == found  # None in a manifest of an earlier version
    except (BrokenCheckpointError, OSError):
        return False


def _manifest(path: Path) -> dict[str, Any]:
    """Read a manifest and check that it is one of this format."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        hashes, version = manifest["sha256"], manifest["format"]
        if not isinstance(hashes, dict):
            raise TypeError("sha256 is no mapping")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BrokenCheckpointError(f"The checkpoint {path} is broken: {MANIFEST} is missing or unreadable.") from error
    if version != FORMAT:
        raise BrokenCheckpointError(
            f"The checkpoint {path} has the format {version!r}; this version reads format {FORMAT}."
        )
    return manifest


def _read_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    hashes = _manifest(path)["sha256"]
    for name in (TENSORS, DATA):
        if not (path / name).is_file():
            raise BrokenCheckpointError(f"The checkpoint {path} is broken: {name} is missing.")
        try:
            altered = _hash(path / name) != hashes.get(name)
        except OSError as error:
            raise BrokenCheckpointError(f"The checkpoint {path} cannot be read: {error}.") from error
        if altered:
            raise BrokenCheckpointError(
                f"The checkpoint {path} is broken: {name} is cut short or altered (its hash is not the manifest's)."
            )
    try:
        tensors, data = load_file(path / TENSORS), json.loads((path / DATA).read_text(encoding="utf-8"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise BrokenCheckpointError(f"The checkpoint {path} is broken, though sealed: {error}.") from error
    if not isinstance(data, dict):
        raise BrokenCheckpointError(f"The checkpoint {path} is broken, though sealed: {DATA} is no mapping.")
    return tensors, data


def _unfinished(path: Path) -> Path:
    """Where this process writes a checkpoint before it has its name, or removes one after it lost it."""
    return path.parent / f".{path.name}.writing-{os.getpid()}"


def _previous(path: Path) -> Path:
    """Where the old checkpoint waits while the new one takes its place; found by `read` after a crash in between."""
    return path.parent / f".{path.name}.previous"


def _as_tensor(value: Tensor | np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value.detach()
    # A copy, since safetensors refuses tensors that share memory (tied weights, views of one buffer).
    return tensor.cpu().contiguous().clone()


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _has_ended(process: int) -> bool:
    """Whether no process of this number runs; False where that cannot be told."""
    if process == os.getpid():
        return False
    if os.name != "posix":  # elsewhere the signal 0 ends the process
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _flush(path: Path) -> None:
    """Force a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
