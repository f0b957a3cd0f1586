"""Action masks, packed: one bit an action, opened a chunk of states at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class PackedMasks:
    """Which actions are allowed in each of N states, one bit an action.

    At a vocabulary of 50,000 tokens the masks of 2,048 states are 103 MB as booleans and 13 MB so. Indexing with
    anything that selects rows gives packed masks again; `unpack` gives booleans, of a chunk of states at a time, and
    ``numpy.asarray`` those of all of them.

    Args:
        bits: uint8 (N, ⌈A/8⌉), as `numpy.packbits` packs rows.
        num_actions: A.
    """

    __slots__ = ("bits", "num_actions")

    def __init__(self, bits: torch.Tensor, num_actions: int) -> None:
        self.bits = bits
        self.num_actions = num_actions

    @classmethod
    def pack(cls, masks: np.ndarray) -> PackedMasks:
        """Pack bool (N, A), True where an action is allowed."""
        masks = np.asarray(masks, bool)
        return cls(torch.from_numpy(np.packbits(masks, axis=1)), masks.shape[1])

    @classmethod
    def full(cls, count: int, num_actions: int) -> PackedMasks:
        """The masks of ``count`` states in which every action is allowed."""
        row = torch.from_numpy(np.packbits(np.ones((1, num_actions), bool), axis=1))
        return cls(row.repeat(count, 1), num_actions)

    @staticmethod
    def concat(parts: Sequence[PackedMasks]) -> PackedMasks:
        """Join masks of equally many actions, state after state."""
        return PackedMasks(torch.cat([part.bits for part in parts]), parts[0].num_actions)

    def __len__(self) -> int:
        """The number of states, N."""
        return len(self.bits)

    def __repr__(self) -> str:
        return f"PackedMasks({len(self)} states, {self.num_actions} actions)"

    @property
    def shape(self) -> tuple[int, int]:
        """(N, A)."""
        return len(self.bits), self.num_actions

    def __getitem__(self, index: Any) -> PackedMasks:
        """The masks of some states, given by a slice or by an array or tensor of integers or booleans."""
        if isinstance(index, np.ndarray):
            index = torch.as_tensor(index, device=self.bits.device)
        return PackedMasks(self.bits[index], self.num_actions)

    def unpack(self, index: Any = None) -> torch.Tensor:
        """Bool (n, A) of all states, or of those that ``index`` selects, True where an action is allowed."""
        bits = self.bits if index is None else self[index].bits
        places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
        return (bits[:, :, None] & places).ne(0).flatten(1)[:, : self.num_actions]

    def allows(self, actions: torch.Tensor) -> torch.Tensor:
        """Bool (N,): whether the masks allow int64 (N,) ``actions``, without opening them."""
        byte = self.bits.gather(1, (actions // 8)[:, None]).squeeze(1)
        return (byte >> (7 - actions % 8).to(torch.uint8)).bitwise_and(1).ne(0)

    def to(self, device: torch.device | str) -> PackedMasks:
        """These masks on another device."""
        moved = self.bits.to(device, non_blocking=torch.device(device).type == "cuda")
        return PackedMasks(moved, self.num_actions)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Bool (N, A), for numpy."""
        opened = np.unpackbits(self.bits.cpu().numpy(), axis=1, count=self.num_actions).astype(bool)
        return opened if dtype is None else opened.astype(dtype)


def opened(masks: PackedMasks | torch.Tensor | None, part: slice | None = None) -> torch.Tensor | None:
    """Bool (n, A) of all states or a run of them, whether the masks are packed or open; None where all is allowed."""
    if isinstance(masks, PackedMasks):
        return masks.unpack(part)
    return masks if masks is None or part is None else masks[part]
