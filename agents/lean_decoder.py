"""Cached decoding without a framework in the way: a static key-value cache with one length a row."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from .trunk import Decoder

CHUNK = 128
"""Columns that the cache starts with; it doubles from there, up to the context."""

MAX_SCORES = 1 << 24
"""Attention scores held at once while prompts are read; more rows than that allows are read in groups."""


class LeanDecoder(Decoder):
    """Attention over a cache `(2, n, K, T, d)` a layer: keys and values of n rows, K heads, T columns.

    Rows have lengths of their own, and a row may be overwritten from any position on: attention looks only at
    columns up to the row's own position, so what stands behind it cannot matter. Attention runs over the columns in
    use, not over the whole context. One new token a row, the common case, takes a path without padding; several (a
    prompt, a reply) are packed, so that no padding passes through the model's matrices.

    Subclasses supply the arithmetic of one architecture, over packed tokens (N, D).

    Args:
        num_rows: n.
        num_layers: number of layers.
        num_heads: query heads H.
        num_cached_heads: key and value heads K, a divisor of H.
        head_dim: d.
        max_length: longest sequence.
        like: a weight that gives dtype and device.
    """

    def __init__(
        self,
        num_rows: int,
        num_layers: int,
        num_heads: int,
        num_cached_heads: int,
        head_dim: int,
        max_length: int,
        like: torch.Tensor,
    ):
        self._num_rows = num_rows
        self._num_layers = num_layers
        self._num_heads = num_heads
        self._num_cached_heads = num_cached_heads
        self._head_dim = head_dim
        self._max_length = max_length
        self._device = like.device
        self._all = np.arange(num_rows)
        self._cached = np.zeros(num_rows, dtype=np.int64)
        self._capacity = 0
        self._cache = [like.new_zeros(2, num_rows, num_cached_heads, 0, head_dim) for _ in range(num_layers)]
        self._forbidden = torch.finfo(like.dtype).min
        self._columns = torch.arange(max_length + 1, device=self._device)
        self._every_row = torch.arange(num_rows, device=self._device)

    @abstractmethod
    def _embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Input (N, D) of the first layer, for ids (N,) at positions (N,)."""

    @abstractmethod
    def _project(self, layer: int, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled queries (N, H, d), and keys with values (N, 2, K, d), of a layer's input (N, D)."""

    @abstractmethod
    def _finish(self, layer: int, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Output (N, D) from a layer's input (N, D), which may be overwritten, and what it attended to (N, H·d)."""

    @abstractmethod
    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        """The model's last normalisation, (N, D)."""

    @torch.inference_mode()
    def extend(self, rows: np.ndarray | None, tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """See `Decoder.extend`."""
        index = self._all if rows is None else rows
        counts = ends - starts
        self._grow(int(ends.max()))
        single = counts == 1
        if single.all():
            features = self._step(rows, tokens[self._all[: len(index)], starts], starts)
        elif not single.any():
            features = self._read(index, tokens, starts, counts)
        else:
            ones, many = np.flatnonzero(single), np.flatnonzero(~single)
            first = self._step(index[ones], tokens[ones, starts[ones]], starts[ones])
            features = first.new_empty(len(index), first.shape[1])
            features[torch.from_numpy(ones)] = first
            features[torch.from_numpy(many)] = self._read(index[many], tokens[many], starts[many], counts[many])
        self._cached[index] = ends
        return features

    def _grow(self, needed: int) -> None:
        if needed <= self._capacity:
            return
        capacity = min(max(needed, CHUNK, 2 * self._capacity), self._max_length + 1)
        for layer, old in enumerate(self._cache):
            new = old.new_zeros(*old.shape[:3], capacity, self._head_dim)
            new[:, :, :, : self._capacity] = old
            self._cache[layer] = new
        self._capacity = capacity

    def _step(self, rows: np.ndarray | None, ids: np.ndarray, positions: np.ndarray) -> torch.Tensor:
        """One new token a row: ids (m,) at positions (m,). Returns features (m, D)."""
        if rows is not None and 2 * len(rows) >= self._num_rows:
            # Gathering most of the cache costs more than letting the idle rows run along: what they write, one
            # column behind their end, is overwritten before it is ever looked at.
            all_ids = np.zeros(self._num_rows, dtype=ids.dtype)
            all_positions = self._cached.copy()
            self._grow(int(all_positions.max()) + 1)
            all_ids[rows], all_positions[rows] = ids, positions
            return self._step(None, all_ids, all_positions)[torch.from_numpy(rows).to(self._device)]
        where = torch.from_numpy(positions).to(self._device)
        length = int(positions.max()) + 1
        aligned = rows is None and int(positions.min()) + 1 == length
        index = None if rows is None else torch.from_numpy(rows).to(self._device)
        written = self._every_row if index is None else index
        x = self._embed(torch.from_numpy(ids.astype(np.int64)).to(self._device), where.clamp(max=self._max_length - 1))
        mask = None
        if not aligned:
            mask = self._mask(where[:, None], length)[:, None].expand(-1, self._num_cached_heads, -1, -1).flatten(0, 1)
        for layer, cache in enumerate(self._cache):
            queries, new = self._project(layer, x, where)
            if aligned:
                cache[:, :, :, length - 1] = new.transpose(0, 1)
            else:
                cache[:, written, :, where] = new
            seen = cache[:, :, :, :length] if index is None else cache[:, index, :, :length]
            attended = self._attend(queries.reshape(-1, self._group, self._head_dim), seen, mask)
            x = self._finish(layer, x, attended.view(len(x), -1))
        return self._normalise(x)

    @property
    def _group(self) -> int:
        """Query heads that share a cached head."""
        return self._num_heads // self._num_cached_heads

    def _mask(self, positions: torch.Tensor, length: int) -> torch.Tensor:
        """Additive mask (m, q, T) that hides columns behind each query's position (m, q)."""
        hidden = self._columns[:length] > positions[..., None]
        return torch.zeros(hidden.shape, dtype=self._cache[0].dtype, device=self._device).masked_fill_(
            hidden, self._forbidden
        )

    @staticmethod
    def _attend(queries: torch.Tensor, seen: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attention of queries (m·K, q, d) over seen keys and values (2, m, K, T, d), (m·K, q, d).

        Plain batched products: with few queries a row they are faster than the fused CPU kernel.
        """
        keys, values = seen[0].flatten(0, 1), seen[1].flatten(0, 1)
        scores = torch.bmm(queries, keys.mT) if mask is None else torch.baddbmm(mask, queries, keys.mT)
        return torch.bmm(torch.softmax(scores, dim=-1), values)

    def _read(self, rows: np.ndarray, tokens: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> torch.Tensor:
        """Several new tokens a row. Returns the features of each row's last token, (m, D)."""
        longest = int(counts.max())
        per_row = self._num_heads * longest * int((starts + counts).max())
        group = max(1, MAX_SCORES // per_row)
        parts = [slice(i, i + group) for i in range(0, len(rows), group)]
        return torch.cat([self._read_group(rows[p], tokens[p], starts[p], counts[p]) for p in parts])

    def _read_group(self, rows: np.ndarray, tokens: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> torch.Tensor:
        device, longest = self._device, int(counts.max())
        offsets = np.arange(longest)
        # Packed coordinates of the new tokens: the row's place in this call, and the place among its new tokens.
        row, offset = np.nonzero(offsets < counts[:, None])
        column = starts[row] + offset
        ids = torch.from_numpy(tokens[row, column].astype(np.int64)).to(device)
        cache_row = torch.from_numpy(rows[row]).to(device)
        where = torch.from_numpy(column).to(device)
        index = torch.from_numpy(rows).to(device)
        everyone = len(rows) == self._num_rows and bool((rows[1:] > rows[:-1]).all())
        at = (torch.from_numpy(row).to(device), torch.from_numpy(offset).to(device))
        length = int((starts + counts).max())
        heads, group, size = self._num_cached_heads, self._group, self._head_dim
        mask = self._mask(torch.from_numpy(starts[:, None] + offsets).to(device), length)
        mask = mask[:, None, None].expand(-1, heads, group, -1, -1).reshape(-1, group * longest, length)
        x = self._embed(ids, where)
        for layer, cache in enumerate(self._cache):
            queries, new = self._project(layer, x, where)
            cache[:, cache_row, :, where] = new
            padded = queries.new_zeros(len(rows), longest, heads, group, size)
            padded[at] = queries.view(-1, heads, group, size)
            padded = padded.permute(0, 2, 3, 1, 4).reshape(-1, group * longest, size)
            seen = cache[:, :, :, :length] if everyone else cache[:, index, :, :length]
            attended = self._attend(padded, seen, mask)
            attended = attended.view(-1, heads, group, longest, size).permute(0, 3, 1, 2, 4)[at]
            x = self._finish(layer, x, attended.reshape(len(x), -1))
        last = torch.from_numpy(np.cumsum(counts) - 1).to(device)
        return self._normalise(x[last])
