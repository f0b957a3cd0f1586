"""Telling whether weights are still what they were, however they may have been changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

COPIED_BYTES = 1 << 26
"""Up to here weights are compared with a copy of theirs, beyond by their checksums, which take no memory but longer."""

_CHUNK = 1 << 24
_ODD = -7046029254386353131
_PLAIN = (bool, int, float, str, type(None))


class WeightsRecord:
    """What modules were when the record was made: their structure, parameters, buffers, and every number in these.

    `Tensor._version` counts only writes that autograd sees: `p.data.mul_(2)`, a NumPy view, `p.data = …` and fused
    optimisers change weights without it. So the numbers themselves are compared, which for a tiny model takes about as
    long as a few of its small operations. A module of another library's (LoRA, say) is also compared in its plain
    attributes, such as a scale or a switch.

    Args:
        modules: the modules.
    """

    def __init__(self, modules: Iterable[nn.Module]):
        # Whatever is remembered by its identity is kept alive, or something new might take its place in memory.
        self._parts, self._settings = _parts(modules)
        self._ids = [id(part) for part in self._parts]
        self._tensors = [part.detach() for part in self._parts if isinstance(part, torch.Tensor)]
        self._places = _places(self._tensors)
        self._copied = sum(tensor.nbytes for tensor in self._tensors) <= COPIED_BYTES
        self._views = [_view(tensor) for tensor in self._tensors]
        self._contents = self._read()

    def still_holds(self, modules: Iterable[nn.Module]) -> bool:
        """Whether nothing has changed since; `modules` are those that stand where the recorded ones stood."""
        parts, settings = _parts(modules)
        if [id(part) for part in parts] != self._ids or settings != self._settings:
            return False
        tensors = [part for part in parts if isinstance(part, torch.Tensor)]
        return _places(tensors) == self._places and self._read() == self._contents

    def _read(self) -> list[Any]:
        read: Any = np.ndarray.tobytes if self._copied else zlib.crc32
        contents: list[Any] = [None if view is None else read(view) for view in self._views]
        if None in contents:
            elsewhere = [tensor for tensor, view in zip(self._tensors, self._views, strict=True) if view is None]
            contents.append(torch.stack([_checksum(tensor).to(elsewhere[0].device) for tensor in elsewhere]).tolist())
        return contents


def _parts(modules: Iterable[nn.Module]) -> tuple[list[Any], list[Any]]:
    """The modules under some modules, their parameters, buffers and hooks; and the settings of other libraries'."""
    parts: list[Any] = []
    settings: list[Any] = []
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        parts.append(module)
        parts.extend(module._parameters.values())
        parts.extend(module._buffers.values())
        if module._forward_hooks or module._forward_pre_hooks:
            parts.extend((*module._forward_hooks.values(), *module._forward_pre_hooks.values()))
        if not type(module).__module__.startswith(("torch.", "transformers.", "tokengym.")):
            settings.extend(_plain(value) for value in vars(module).values())
        waiting.extend(child for child in module._modules.values() if child is not None)
    return parts, settings


def _plain(value: Any) -> Any:
    """A setting as something that can be compared, or None for what is none."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple, set)):
        return tuple(inner for inner in value if isinstance(inner, _PLAIN))
    if isinstance(value, dict):
        return tuple((key, inner) for key, inner in value.items() if isinstance(inner, _PLAIN))
    return None


def _places(tensors: Iterable[torch.Tensor]) -> list[Any]:
    return [(tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) for tensor in tensors]


def _view(tensor: torch.Tensor) -> np.ndarray | None:
    """The tensor's own memory as bytes, or None where NumPy cannot see it as it lies."""
    if tensor.device.type != "cpu" or not tensor.is_contiguous() or tensor.numel() == 0:
        return None
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _checksum(tensor: torch.Tensor) -> torch.Tensor:
    """A sum of a tensor's bits, each number times one of its own, modulo 2^64; int64 ()."""
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    bits = tensor.contiguous().reshape(-1).view(torch.uint8)
    width = next(width for width in (4, 2, 1) if bits.numel() % width == 0)
    words = bits.view({4: torch.int32, 2: torch.int16, 1: torch.uint8}[width])
    for first in range(0, len(words), _CHUNK):
        part = words[first : first + _CHUNK].to(torch.int64)
        factors = torch.arange(first, first + len(part), device=tensor.device).mul_(2).add_(1).mul_(_ODD)
        # Mixed once more: what is even in every number must not vanish from the sum.
        mixed = (part ^ (factors >> 29)) * factors
        total += (mixed ^ (mixed >> 32)).mul_(factors).sum()
    return total
