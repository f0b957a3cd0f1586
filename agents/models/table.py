"""A table with one row a prefix: no generalisation, no approximation; for exact tests and for teaching."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ...envs import TokenGymError
from ..devices import uploaded
from .trunk import Decoder, ReencodeDecoder, Trunk

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class PrefixIndex(nn.Module):
    """Numbers prefixes in the order in which they are first met.

    The prefixes form a trie: the prefix `p + (token,)` has the key `(number(p) + 1) * V + token`, and a single token
    is its own key. The keys fill a buffer in the order of their numbers, so a saved table knows its prefixes exactly,
    without hashing. An agent's frozen clones share its index: a number means the same prefix in the online network, in
    its target and in the reference.

    Args:
        capacity: the most prefixes that it can hold.
        num_tokens: V.
    """

    keys: torch.Tensor

    def __init__(self, capacity: int, num_tokens: int):
        super().__init__()
        self.capacity = capacity
        self.num_tokens = num_tokens
        self.register_buffer("keys", torch.full((capacity,), -1, dtype=torch.int64))
        self._sort()
        self.register_load_state_dict_post_hook(_sort_after_loading)

    def __len__(self) -> int:
        return self._count

    def _sort(self) -> None:
        """Rebuild what look-ups use from the buffer: sorted keys and the numbers that they belong to."""
        keys = self.keys.cpu().numpy()
        self._count = int((keys >= 0).sum())
        self._order = np.argsort(keys[: self._count], kind="stable")
        self._sorted = keys[self._order]

    def number(self, tokens: np.ndarray, lengths: np.ndarray, add: bool = True) -> np.ndarray:
        """Numbers of all prefixes of some sequences.

        Args:
            tokens: int (B, L).
            lengths: int (B,).
            add: whether a prefix that was not met before gets a number; otherwise `capacity` stands for it.

        Returns:
            int64 (B, L): entry (b, c) is the number of `tokens[b, :c + 1]`, and 0 from the row's length on.

        Raises:
            TokenGymError: if the prefixes do not fit the table.
        """
        numbers = np.zeros(tokens.shape, dtype=np.int64)
        rows = np.arange(len(tokens))
        parents = np.full(len(tokens), -1, dtype=np.int64)
        for column in range(tokens.shape[1]):
            rows = rows[lengths[rows] > column]
            if len(rows) == 0:
                break
            # The first token has no parent: its keys are 0…V-1, and the children of number i begin at (i + 1) * V.
            parents[rows] = self._find((parents[rows] + 1) * self.num_tokens + tokens[rows, column], add)
            numbers[rows, column] = parents[rows]
        return numbers

    def _find(self, keys: np.ndarray, add: bool) -> np.ndarray:
        places = np.searchsorted(self._sorted, keys)
        known = self._sorted[np.minimum(places, self._count - 1)] == keys if self._count else np.zeros(len(keys), bool)
        if not known.all():
            if not add:
                # No number reaches `capacity`, so the prefixes that go on from an unknown one are unknown, too.
                numbers = np.full(len(keys), self.capacity, dtype=np.int64)
                numbers[known] = self._order[places[known]]
                return numbers
            self._add(np.unique(keys[~known]))
            places = np.searchsorted(self._sorted, keys)
        return self._order[places]

    def _add(self, new: np.ndarray) -> None:
        if self._count + len(new) > self.capacity:
            raise TokenGymError(
                f"the prefix table is full: {self._count} prefixes of {self.capacity} are taken and {len(new)} more "
                'were met; give it a larger one, {"kind": "table", "capacity": …}, or use a model that generalises'
            )
        self.keys[self._count : self._count + len(new)] = torch.from_numpy(new)
        self._sort()


def shares_prefixes(module: nn.Module, other: nn.Module) -> bool:
    """Return whether two agents number prefixes in one index, as an agent and its frozen clone do."""
    return bool({id(index) for index in _indices(module)} & {id(index) for index in _indices(other)})


def sharing_prefixes(module: ModuleT, other: nn.Module) -> ModuleT:
    """Return a copy of an agent that numbers prefixes in the index of another, which has to begin with its own."""
    (index,) = _indices(other)
    return copy.deepcopy(module, {id(own): index for own in _indices(module)})


def _indices(module: nn.Module) -> list[PrefixIndex]:
    return [part for part in module.modules() if isinstance(part, PrefixIndex)]


def _sort_after_loading(index: nn.Module, incompatible_keys: Any) -> None:
    assert isinstance(index, PrefixIndex)
    index._sort()


class TableTrunk(Trunk):
    """The trunk of a table: its "features" are prefix numbers, and each head is a table over them.

    A prefix gets a number when it is first learned from, that is in a pass with gradients. Before, its outputs are
    zero: a uniform policy, no value. So evaluating an agent, however exactly, takes no room in its table.

    Args:
        capacity: the most prefixes.
        num_tokens: V.
        max_length: longest sequence.
    """

    feature_size = 0

    def __init__(self, capacity: int, num_tokens: int, max_length: int):
        super().__init__()
        self.capacity = capacity
        self.max_length = max_length
        self.index = PrefixIndex(capacity, num_tokens)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Prefix numbers, int64 (B, L); 0 in the padding, `capacity` for what the table does not hold."""
        numbers = self.index.number(tokens.cpu().numpy(), lengths.cpu().numpy(), add=torch.is_grad_enabled())
        return uploaded(numbers, tokens.device)

    def version(self) -> int:
        """The number of prefixes held: one that was unknown may have a number since."""
        return len(self.index)

    def make_decoder(self, num_rows: int) -> Decoder:
        """Looks every prefix up anew: a few sorted searches."""
        return ReencodeDecoder(self)

    def another(self) -> None:
        """Not needed: the heads of a table share nothing but the numbering."""
        return None
