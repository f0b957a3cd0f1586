"""Layouts: how a teacher-forced pass packs sequences, with what several of them begin with read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SAVED = 1 / 8
"""The share of all tokens from which on reading beginnings once is worth the copies that attention then makes."""

KEY_RUN = 16
"""Keys are filled up to a multiple of so many, with ones that nobody looks at: on a CPU the kernel takes longer for the
rest of a vector than for a whole one, with 79 keys by a third."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Sequences (B, L) as M packed tokens: U beginnings of P tokens, and what follows them in each of B sequences.

    A group of episodes continues one prompt, and causal models make of it what they make of it whatever follows. So it
    passes through their matrices once, and its gradient is the sum over all that read on from there.

    Attributes:
        tokens: int64 (B, L).
        shared: P, 0 where every sequence is read whole.
        firsts: int64 (U,), the sequences whose beginnings are read, where there are any.
        owners: int64 (B,), the beginning of each sequence, among the U.
    """

    tokens: Tensor
    shared: int = 0
    firsts: Tensor | None = None
    owners: Tensor | None = None

    @classmethod
    def of(cls, tokens: Tensor, groups: Tensor | None = None) -> Layout:
        """Return the layout that reads the fewest tokens.

        Args:
            tokens: int64 (B, L), right-padded.
            groups: int64 (B,), equal for sequences that may begin alike and follow one another; None for none.
        """
        count, length = tokens.shape
        if groups is None or count < 2 or length < 2:
            return cls(tokens)
        same = groups[1:] == groups[:-1]
        if not bool(same.any()):
            return cls(tokens)
        differs = tokens[1:] != tokens[:-1]
        differs[:, -1] = True  # what follows a beginning is a token at least
        common = differs.int().argmax(1) * same
        # With P tokens read once, every sequence that has P in common with the one before it reads so many fewer.
        ordered = common.sort(descending=True).values
        saved = ordered * torch.arange(1, count, device=tokens.device)
        shared = int(ordered[saved.argmax()])
        begins = torch.ones(count, dtype=torch.bool, device=tokens.device)
        begins[1:] = common < shared
        firsts = torch.nonzero(begins).squeeze(1)
        if shared * (count - len(firsts)) < LEAST_SAVED * tokens.numel():
            return cls(tokens)
        return cls(tokens, shared, firsts, begins.cumsum(0) - 1)

    def packed(self, read: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """Join what is read of each rectangle: from tokens (n, l) at some positions, (n, l, …), to (M, …)."""
        length = self.tokens.shape[1]
        if self.firsts is None:
            return read(self.tokens, slice(0, length)).flatten(0, 1)
        begun = read(self.tokens[self.firsts, : self.shared], slice(0, self.shared))
        return torch.cat(
            (begun.flatten(0, 1), read(self.tokens[:, self.shared :], slice(self.shared, length)).flatten(0, 1))
        )

    def places(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return where tokens of sequences stand among the M, int64 (N,), for int64 rows and columns (N,)."""
        if self.firsts is None or self.owners is None:
            return rows * self.tokens.shape[1] + columns
        begun, own = len(self.firsts) * self.shared, self.tokens.shape[1] - self.shared
        within = self.owners[rows] * self.shared + columns
        return torch.where(columns < self.shared, within, begun + rows * own + columns - self.shared)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Causal attention of packed tokens, each (M, H, d), within their sequences: (M, H·d)."""
        if self.firsts is None or self.owners is None:
            return _causal(queries, keys, values, len(self.tokens))
        count, owners, begun = len(self.tokens), self.owners, len(self.firsts) * self.shared
        (begun_q, own_q), (begun_k, own_k), (begun_v, own_v) = (
            packed.split((begun, len(packed) - begun)) for packed in (queries, keys, values)
        )

        length = self.tokens.shape[1]
        spare = own_k.new_zeros(count, -length % KEY_RUN, *own_k.shape[1:])

        def whole(beginnings: Tensor, own: Tensor) -> Tensor:  # (B, H, L and spare ones, d)
            continued = beginnings.unflatten(0, (-1, self.shared)).index_select(0, owners)
            return torch.cat((continued, own.unflatten(0, (count, -1)), spare), 1).transpose(1, 2)

        asked = own_q.unflatten(0, (count, -1)).transpose(1, 2)
        later = asked.new_full((length - self.shared, length + spare.shape[1]), -torch.inf).triu_(self.shared + 1)
        rest = F.scaled_dot_product_attention(asked, whole(begun_k, own_k), whole(begun_v, own_v), attn_mask=later)
        first = _causal(begun_q, begun_k, begun_v, len(self.firsts))
        return torch.cat((first, rest.transpose(1, 2).flatten(2).flatten(0, 1)))


def _causal(queries: Tensor, keys: Tensor, values: Tensor, count: int) -> Tensor:
    """Attention within each of ``count`` sequences of equal lengths, from (n·l, H, d) to (n·l, H·d)."""
    queries, keys, values = (packed.unflatten(0, (count, -1)).transpose(1, 2) for packed in (queries, keys, values))
    return (
        F.scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2).flatten(2).flatten(0, 1)
    )
