"""Sealed checkpoints: safetensors and JSON in a folder whose manifest holds the hash of every file.

A checkpoint is written to a temporary folder beside its place, flushed to the disk and renamed, and its manifest is
written last, so that a crash at any moment leaves either a whole checkpoint or one that is seen to be broken. Nothing
in it is executed on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..envs.errors import TokenGymError

TENSORS = "state.safetensors"
DATA = "state.json"
MANIFEST = "manifest.json"
FORMAT = 1


class BrokenCheckpointError(TokenGymError):
    """A checkpoint that is cut short or altered; the message names the folder and the file."""


def step_name(timesteps: int) -> str:
    """Name a checkpoint folder so that names sort as timesteps do."""
    return f"step-{timesteps:012d}"


def write(path: str | Path, tensors: dict[str, Tensor | np.ndarray], data: dict[str, Any]) -> None:
    """Write a sealed checkpoint to the folder ``path``, replacing the checkpoint that is there.

    Args:
        path: the folder to make; its parents are made too.
        tensors: torch tensors or numpy arrays by name, of any dtype that safetensors knows.
        data: JSON-able.

    Raises:
        TokenGymError: ``path`` is there and is not a checkpoint.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise TokenGymError(f"{path} is there and is not a checkpoint; choose another path, nothing was overwritten.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.writing-{os.getpid()}"
    previous = _previous(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        held = {name: _as_tensor(value) for name, value in tensors.items()}
        save_file(held, temporary / TENSORS)
        (temporary / DATA).write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        hashes = {name: _hash(temporary / name) for name in (TENSORS, DATA)}
        for name in (TENSORS, DATA):
            _flush(temporary / name)
        (temporary / MANIFEST).write_text(json.dumps({"format": FORMAT, "sha256": hashes}, indent=1) + "\n")
        _flush(temporary / MANIFEST)
        _flush(temporary)
        if path.exists():
            shutil.rmtree(previous, ignore_errors=True)
            path.rename(previous)
        temporary.rename(path)
        _flush(path.parent)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the checkpoint at ``path``, or the newest whole one in the folder ``path``.

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
    if not any((path / name).exists() for name in (MANIFEST, TENSORS, DATA)) and not any(path.glob("step-*")):
        raise TokenGymError(f"There is no checkpoint at {path}; expected a folder written by save(){_hint(path)}.")
    inside = sorted((child for child in path.glob("step-*") if child.is_dir()), reverse=True)
    if not inside or (path / MANIFEST).exists():
        return _read_sealed(path)
    for child in inside:
        try:
            return _read_sealed(child)
        except BrokenCheckpointError as error:
            warnings.warn(f"{error} It is skipped.", RuntimeWarning, stacklevel=2)
    raise TokenGymError(f"None of the {len(inside)} checkpoints in {path} is whole; train anew or restore a copy.")


def prune(folder: str | Path, keep: int) -> None:
    """Remove the oldest checkpoints of ``folder`` beyond the ``keep`` newest."""
    for child in sorted(Path(folder).glob("step-*"), reverse=True)[keep:]:
        shutil.rmtree(child)


def _read_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        hashes = dict(manifest["sha256"])
        version = manifest["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BrokenCheckpointError(f"The checkpoint {path} is broken: {MANIFEST} is missing or unreadable.") from error
    if version != FORMAT:
        raise TokenGymError(f"The checkpoint {path} has the format {version!r}; this version reads format {FORMAT}.")
    for name in (TENSORS, DATA):
        if not (path / name).is_file():
            raise BrokenCheckpointError(f"The checkpoint {path} is broken: {name} is missing.")
        if _hash(path / name) != hashes.get(name):
            raise BrokenCheckpointError(
                f"The checkpoint {path} is broken: {name} is cut short or altered (its hash is not the manifest's)."
            )
    return load_file(path / TENSORS), json.loads((path / DATA).read_text())


def _hint(path: Path) -> str:
    """Name the folder of checkpoints where a whole run's folder was given."""
    for child in (path / "checkpoints" / "final", path / "checkpoints"):
        if child.is_dir():
            return f", such as {child}"
    return ""


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


def _flush(path: Path) -> None:
    """Force a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
