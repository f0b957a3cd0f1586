"""Episodes as columns in one safetensors file: what is stored of them, and how a file is written and read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ...agents.masks import PackedMasks
from ...envs import TokenGymError
from .episodes import Episodes

FORMAT = "tokengym episodes 1"
_KEY = "tokengym"
_EXTRA = "extras/"

Columns = dict[str, np.ndarray]

_TYPES = {
    "tokens": np.int32,
    "agent_mask": np.uint8,
    "lengths": np.int32,
    "turn": np.int32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "starts": np.uint64,
    "sequences": np.int32,
    "rewards": np.float32,
    "log_probs": np.float32,
}
_MASKS = {"action_masks": np.uint8, "final_action_masks": np.uint8}
_STREAMS = "streams"
_PERHAPS = _MASKS | {_STREAMS: np.uint64}


class BrokenDatasetError(TokenGymError):
    """A file of episodes is cut short, altered, or none."""


def columns_of(episodes: Episodes) -> Columns:
    """Return what is stored of episodes: no padding, and of the agent's tokens alone what only they have.

    ``tokens`` and ``agent_mask`` (packed) have an entry a token shown or said; ``lengths``, ``turn``, ``terminated``
    and ``truncated`` one a sequence; ``starts``, ``sequences`` (how many) and, where there are any, ``streams`` one an
    episode; ``rewards``, ``log_probs``, the action masks and what was reported beside the reward one a token of
    the agent's.
    """
    shown = np.arange(episodes.tokens.shape[1]) < episodes.lengths[:, None]
    if (episodes.agent_mask & ~shown).any():
        raise TokenGymError("agent_mask marks tokens behind the end of a sequence; expected none past its length.")
    flat = episodes.flat
    columns = {
        "tokens": episodes.tokens[shown],
        "agent_mask": np.packbits(episodes.agent_mask[shown]),
        "lengths": episodes.lengths,
        "turn": episodes.turn,
        "terminated": episodes.terminated,
        "truncated": episodes.truncated,
        "starts": episodes.starts,
        "sequences": np.diff(episodes.sequence_offsets),
        "rewards": flat.reward,
        "log_probs": flat.log_prob,
    }
    columns = {name: np.ascontiguousarray(values, _TYPES[name]) for name, values in columns.items()}
    for name in _MASKS:
        if (masks := getattr(episodes, name)) is not None:
            columns[name] = np.ascontiguousarray(masks.bits.cpu().numpy())
    if episodes.streams is not None:
        columns[_STREAMS] = np.ascontiguousarray(episodes.streams, np.uint64)
    return columns | {
        _EXTRA + name: np.ascontiguousarray(values, np.float32) for name, values in episodes.extras.items()
    }


def episodes_of(columns: Mapping[str, np.ndarray], num_actions: int, size: int, pad: int) -> Episodes:
    """Return the episodes that columns are of.

    Args:
        columns: what `columns_of` returned.
        num_actions: how many tokens the agent can say.
        size: how many tokens there are.
        pad: what fills the rows beyond their lengths.

    Raises:
        ValueError: they do not fit together.
    """
    lacking = sorted(set(_TYPES) - set(columns))
    unknown = sorted(name for name in columns if name not in _TYPES | _PERHAPS and not name.startswith(_EXTRA))
    if lacking or unknown:
        raise ValueError(f"columns are missing or unknown: {', '.join(lacking + unknown)}")
    for name, values in columns.items():
        kind = (_TYPES | _PERHAPS).get(name, np.float32)
        if values.dtype != kind:
            raise ValueError(f"{name} is of type {values.dtype}; expected {np.dtype(kind)}")
    lengths, sequences = columns["lengths"], columns["sequences"]
    if (lengths < 1).any() or (sequences < 1).any():
        raise ValueError("every sequence has a token, and every episode a sequence")
    shown, rows, num_episodes = int(lengths.sum(dtype=np.int64)), len(lengths), len(sequences)
    _expect(columns, {"tokens": (shown,), "agent_mask": ((shown + 7) // 8,)})
    _expect(columns, dict.fromkeys(("turn", "terminated", "truncated"), (rows,)) | {"starts": (num_episodes,)})
    if int(sequences.sum(dtype=np.int64)) != rows:
        raise ValueError(f"there are {rows} sequences, and the episodes have {int(sequences.sum())}")
    tokens = columns["tokens"]
    if shown and not (0 <= int(tokens.min()) and int(tokens.max()) < size):
        raise ValueError(f"tokens lie outside 0 … {size - 1}")
    said = np.unpackbits(columns["agent_mask"], count=shown).astype(bool)
    if (tokens[said] >= num_actions).any():
        raise ValueError(f"tokens of the agent's lie outside 0 … {num_actions - 1}")
    count, width = int(said.sum()), (num_actions + 7) // 8
    reported = [name for name in columns if name.startswith(_EXTRA)]
    _expect(columns, dict.fromkeys(("rewards", "log_probs", *reported), (count,)))
    _expect(columns, {"action_masks": (count, width), "final_action_masks": (num_episodes, width)})
    _expect(columns, {_STREAMS: (num_episodes,)})

    places = np.arange(int(lengths.max(initial=1))) < lengths[:, None]
    agent_mask = np.zeros(places.shape, bool)
    agent_mask[places] = said

    def padded(values: np.ndarray, where: np.ndarray, fill: float) -> np.ndarray:
        filled = np.full(places.shape, fill, values.dtype)
        filled[where] = values
        return filled

    def masks(name: str) -> PackedMasks | None:
        return PackedMasks(torch.from_numpy(columns[name]), num_actions) if name in columns else None

    return Episodes(
        tokens=padded(tokens, places, pad),
        lengths=lengths,
        agent_mask=agent_mask,
        rewards=padded(columns["rewards"], agent_mask, 0.0),
        log_probs=padded(columns["log_probs"], agent_mask, 0.0),
        episode_id=np.repeat(np.arange(num_episodes), sequences),
        turn=columns["turn"],
        terminated=columns["terminated"],
        truncated=columns["truncated"],
        starts=columns["starts"],
        action_masks=masks("action_masks"),
        final_action_masks=masks("final_action_masks"),
        pad=pad,
        extras={name.removeprefix(_EXTRA): columns[name] for name in reported},
        streams=columns.get(_STREAMS),
    )


def write_file(path: Path, columns: Columns, header: Mapping[str, Any], form: str = FORMAT) -> None:
    """Write columns and a JSON-able header to one file, which is there whole or not at all.

    Args:
        path: where.
        columns: what `columns_of` returned, and perhaps more.
        header: what is told about it.
        form: what it is a file of, and in which version.

    Raises:
        TokenGymError: the header is not JSON-able, or the file cannot be written.
    """
    try:
        told = {**header, "format": form}
        text = json.dumps({**told, "sha256": _hash(columns, told)}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TokenGymError(f"What is told about a dataset must be JSON data: {error}.") from error
    temporary = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(columns, temporary, metadata={_KEY: text})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise TokenGymError(
            f"The dataset {path} cannot be written: {what}. Make room, or choose another path."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_file(path: Path, form: str = FORMAT) -> tuple[Columns, dict[str, Any]]:
    """Read back what `write_file` wrote in a form; no code in the file is run.

    Raises:
        BrokenDatasetError: the file is cut short, altered, or no dataset.
        TokenGymError: there is none.
    """
    if not path.is_file():
        raise TokenGymError(f"There is no dataset at {path}; expected a file that a dataset's save() wrote.")

    def read() -> tuple[Columns, dict[str, Any]]:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise ValueError("it is no file of episodes")
            columns = {name: file.get_tensor(name) for name in file.keys()}
        return columns, json.loads(text)

    columns, header = guarded(path, read)
    if not isinstance(header, dict) or header.get("format") != form:
        told = header.get("format") if isinstance(header, dict) else header
        raise BrokenDatasetError(f"The dataset {path} has the format {told!r}; expected {form!r}.")
    if header.pop("sha256", None) != _hash(columns, header):
        raise BrokenDatasetError(f"The dataset {path} is altered: its hash is not the one that it was written with.")
    return columns, header


def guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Call what reads a file, and name the file where it is broken."""
    try:
        return read()
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError, TokenGymError) as error:
        raise BrokenDatasetError(f"The dataset {path} is broken: {error}. Write it anew, or restore a copy.") from error


def _expect(columns: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError where a column that is there has another shape."""
    for name, shape in shapes.items():
        if name in columns and columns[name].shape != shape:
            raise ValueError(f"{name} has the shape {columns[name].shape}; expected {shape}")


def _hash(columns: Columns, header: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, allow_nan=False).encode())
    for name in sorted(columns):
        values = columns[name]
        digest.update(f"{name} {values.dtype.str} {values.shape};".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
