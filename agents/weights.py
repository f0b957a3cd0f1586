"""Telling whether weights are still what they were, however they may have been changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

import torch
from torch import nn

COPIED_BYTES = 1 << 26
"""Up to here weights are compared with a copy of theirs, beyond by their checksums, which take no memory but longer."""

_CHUNK = 1 << 24
_ODD = -7046029254386353131
_HELD = attrgetter("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
_KNOWN = ("torch.", "transformers.", "tokengym.")
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
        self._modules = list(_walk(modules := list(modules)))
        self._root_ids = list(map(id, modules))
        self._foreign = [module for module in self._modules if not type(module).__module__.startswith(_KNOWN)]
        # Whatever is remembered by its identity is kept alive, or something new might take its place in memory.
        self._kept = [part for module in self._modules for held in _HELD(module) for part in held.values()]
        self._ids, self._settings = self._identities(), self._read_settings()
        self._tensors = [part for part in self._kept if isinstance(part, torch.Tensor)]
        self._places = self._read_places()
        # The memory itself, kept alive by tensors of its own: setting `.data` gives a tensor another one.
        self._memory = [tensor.detach() for tensor in self._tensors]
        self._views = [view for view in map(_view, self._memory) if view is not None]
        self._elsewhere = [tensor for tensor in self._memory if _view(tensor) is None]
        copied = sum(tensor.nbytes for tensor in self._memory) <= COPIED_BYTES
        self._copies = [bytearray(view) for view in self._views] if copied else None
        self._sums = self._read_sums()

    def still_holds(self, modules: Iterable[nn.Module]) -> bool:
        """Whether nothing has changed since; `modules` are those that stand where the recorded ones stood."""
        # In this order: what was recorded is asked only while it is still in its place, the memory only while in use.
        return (
            list(map(id, modules)) == self._root_ids
            and self._identities() == self._ids
            and self._read_settings() == self._settings
            and self._read_places() == self._places
            # A bytearray compares itself with other memory as it lies, without a copy.
            and (self._copies is None or all(map(bytearray.__eq__, self._copies, self._views)))
            and self._read_sums() == self._sums
        )

    def _identities(self) -> list[int]:
        """Who the modules, parameters, buffers and hooks are: as long as they are the same, so are the modules."""
        return [
            id(part) for module in self._modules for held in _HELD(module) if held for part in (module, *held.values())
        ]

    def _read_settings(self) -> list[Any]:
        """The plain attributes of other libraries' modules."""
        return [_plain(value) for module in self._foreign for value in vars(module).values()]

    def _read_places(self) -> list[Any]:
        return [(tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) for tensor in self._tensors]

    def _read_sums(self) -> list[int]:
        """Checksums of what has no copy."""
        sums = [zlib.crc32(view) for view in self._views] if self._copies is None else []
        if self._elsewhere:
            device = self._elsewhere[0].device
            sums.extend(torch.stack([_checksum(tensor).to(device) for tensor in self._elsewhere]).tolist())
        return sums


def _walk(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """The modules and all under them."""
    for module in modules:
        yield module
        yield from _walk(child for child in module._modules.values() if child is not None)


def _plain(value: Any) -> Any:
    """A setting as something that can be compared, or None for what is none."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple, set)):
        return tuple(inner for inner in value if isinstance(inner, _PLAIN))
    if isinstance(value, dict):
        return tuple((key, inner) for key, inner in value.items() if isinstance(inner, _PLAIN))
    return None


def _view(tensor: torch.Tensor) -> memoryview | None:
    """The tensor's own memory as bytes, or None where NumPy cannot see it as it lies."""
    if tensor.device.type != "cpu" or not tensor.is_contiguous() or tensor.numel() == 0:
        return None
    return tensor.reshape(-1).view(torch.uint8).numpy().data


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
