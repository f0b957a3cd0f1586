"""Cached decoding without a framework in the way: a static key-value cache with one length a row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..devices import is_half, uploaded
from .trunk import Decoder

BLOCK = 16
"""The cache grows by so many columns, or by a quarter where that is more, up to the context.

It is kept hardly longer than what is in it, and read whole: processors fetch memory ahead in runs, and a gap of half a
kilobyte behind each row's keys halves the speed at which they are read."""

MAX_SCORES = 1 << 24
"""Attention scores held at once while prompts are read; more rows than that allows are read in groups."""


FEW = 4
"""Fewer rows than this go through other matrix kernels, whose last bits differ; they are always read packed."""


Through = Callable[[Callable[[Any, torch.Tensor], torch.Tensor], Any, torch.Tensor], torch.Tensor]
"""How a teacher-forced pass sends its states through a layer: directly, or so that the layer is computed again on the
way back."""


def directly(layer: Callable[[Any, torch.Tensor], torch.Tensor], block: Any, x: torch.Tensor) -> torch.Tensor:
    """Call the layer."""
    return layer(block, x)


def are_plain(modules: Iterable[torch.nn.Module], kind: type[torch.nn.Module]) -> bool:
    """Whether modules are of this very class and have no hooks: code that reads their weights then does as they do."""
    return all(
        type(module) is kind and not module._forward_hooks and not module._forward_pre_hooks for module in modules
    )


class LeanDecoder(Decoder):
    """Attention over a cache `(2, n, K, T, d)` a layer: keys and values of n rows, K heads, T columns.

    Rows have lengths of their own, and a row may be overwritten from any position on: attention looks only at
    columns up to the row's own position, so what stands behind it cannot matter. Attention runs over the columns in
    use, not over the whole context. One new token a row, the common case, takes a path without padding; several (a
    prompt, a reply) are packed, so that no padding passes through the model's matrices.

    Subclasses supply the arithmetic of one architecture, over packed tokens (N, D).

    Attributes:
        half: whether it computes in half precision.
        folded_scale: what subclasses scale queries by, beside their weights.

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
        self.half = is_half(like.dtype)
        # Where queries are scaled by their weights, that takes no step; in half precision it would round them.
        self.folded_scale = 1.0 if self.half else head_dim**-0.5
        self._columns = torch.arange(max_length + 1, device=self._device)
        # Zeros and then what forbids: any position's mask is a stretch of it.
        self._ramp = like.new_zeros(2 * max_length + 1)
        self._ramp[max_length + 1 :] = torch.finfo(like.dtype).min
        self._flat: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._every_row = torch.arange(num_rows, device=self._device)

    can_fork = True

    @abstractmethod
    def _embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Input (N, D) of the first layer, for ids (N,) at positions (N,)."""

    @abstractmethod
    def _project(self, layer: int, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled queries (N, H, d), and keys with values (2, N, K, d), of a layer's input (N, D).

        Positions are (N,), or (1,) where all tokens stand at the same one; so they are in `_embed`.
        """

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
        if int(counts.max()) == 1:
            features = self._step(rows, tokens[self._all[: len(index)], starts], starts)
        elif int(counts.min()) > 1:
            features = self._read(index, tokens, starts, counts)
        else:
            single = counts == 1
            ones, many = np.flatnonzero(single), np.flatnonzero(~single)
            first = self._step(index[ones], tokens[ones, starts[ones]], starts[ones])
            features = first.new_empty(len(index), first.shape[1])
            features[uploaded(ones, self._device)] = first
            features[uploaded(many, self._device)] = self._read(index[many], tokens[many], starts[many], counts[many])
        self._cached[index] = ends
        return features

    @torch.inference_mode()
    def fork(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """See `Decoder.fork`."""
        self._cached[targets] = self._cached[sources]
        length = int(self._cached[sources].max(initial=0))
        copied, to = (uploaded(rows, self._device) for rows in (sources, targets))
        for cache in self._cache:
            cache[:, to, :, :length] = cache[:, copied, :, :length]

    def _grow(self, needed: int) -> None:
        if needed <= self._capacity:
            return
        wanted = max(needed, self._capacity + self._capacity // 4)
        capacity = min((wanted // BLOCK + 1) * BLOCK, self._max_length + 1)
        for layer, old in enumerate(self._cache):
            new = old.new_empty(*old.shape[:3], capacity, self._head_dim)
            new[:, :, :, : self._capacity] = old
            new[:, :, :, self._capacity :] = 0.0  # a weight of 0 hides any number, but no NaN
            self._cache[layer] = new
        self._capacity = capacity
        self._flatten()

    def _flatten(self) -> None:
        """See keys and values as (n·K, T, d), the form that attention reads in a step of all rows; the same memory."""
        self._flat = [(cache[0].flatten(0, 1), cache[1].flatten(0, 1)) for cache in self._cache]

    def __getstate__(self) -> dict[str, Any]:
        # Views are made anew in a copy: copied one by one they would no longer be views.
        return {name: value for name, value in vars(self).items() if name != "_flat"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._flatten()

    def _step(self, rows: np.ndarray | None, ids: np.ndarray, positions: np.ndarray) -> torch.Tensor:
        """One new token a row: ids (m,) at positions (m,). Returns features (m, D)."""
        if rows is not None and 2 * len(rows) >= self._num_rows:
            # Gathering most of the cache costs more than letting the idle rows run along: what they write, one
            # column behind their end, is overwritten before it is ever looked at.
            all_ids = np.zeros(self._num_rows, dtype=ids.dtype)
            all_positions = self._cached.copy()
            self._grow(int(all_positions.max()) + 1)
            all_ids[rows], all_positions[rows] = ids, positions
            return self._step(None, all_ids, all_positions)[uploaded(rows, self._device)]
        length = int(positions.max()) + 1
        given = uploaded(ids.astype(np.int64), self._device)
        if rows is None and int(positions.min()) + 1 == length:
            return self._step_aligned(given, length)
        where = uploaded(positions, self._device)
        index = None if rows is None else uploaded(rows, self._device)
        written = self._every_row if index is None else index
        x = self._embed(given, where.clamp(max=self._max_length - 1))
        read = self._columns_read(length) if index is None else length
        mask = self._mask(where[:, None], read)[:, None].expand(-1, self._num_cached_heads, -1, -1).flatten(0, 1)
        for layer, cache in enumerate(self._cache):
            queries, new = self._project(layer, x, where)
            cache[:, written, :, where] = new.transpose(0, 1)
            if index is None:
                keys, values = self._flat[layer]
                keys, values = keys.narrow(1, 0, read), values.narrow(1, 0, read)
            else:
                keys, values = cache[:, index, :, :read].flatten(1, 2).unbind(0)
            attended = self._attend(queries.reshape(-1, self._group, self._head_dim), keys, values, mask)
            x = self._finish(layer, x, attended.view(len(x), -1))
        return self._normalise(x)

    def _step_aligned(self, ids: torch.Tensor, length: int) -> torch.Tensor:
        """One new token (n,) in every row, all at position length - 1: one mask for all, and slices, not indices."""
        where = self._columns[length - 1 : length]
        read = self._columns_read(length)
        mask = None
        if read != length:
            mask = self._ramp.narrow(0, self._max_length - length + 1, read).expand(self._group, -1)
        x = self._embed(ids, where)
        shape, wide = (-1, self._group, self._head_dim), (self._num_rows, -1)
        for layer, cache in enumerate(self._cache):
            queries, new = self._project(layer, x, where)
            cache.select(3, length - 1).copy_(new)
            keys, values = self._flat[layer]
            attended = self._attend(queries.reshape(shape), keys.narrow(1, 0, read), values.narrow(1, 0, read), mask)
            x = self._finish(layer, x, attended.view(wide))
        return self._normalise(x)

    def _columns_read(self, length: int) -> int:
        """How many columns a step reads of all rows: the whole cache unless most of it is behind them.

        In half precision those that are used, as the fused kernel reads them.
        """
        return length if self.half or 2 * length < self._capacity else self._capacity

    @property
    def _group(self) -> int:
        """Query heads that share a cached head."""
        return self._num_heads // self._num_cached_heads

    def _mask(self, positions: torch.Tensor, length: int) -> torch.Tensor:
        """Additive mask (m, q, T) that hides columns behind each query's position (m, q)."""
        return self._ramp.unfold(0, length, 1)[self._max_length - positions]

    def _attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention of queries (m·K, q, d) over seen keys and values (m·K, T, d), (m·K, q, d).

        Plain batched products: with few queries a row they are faster than the fused CPU kernel. In half precision they
        would round the scores, which that kernel keeps in float32, as the teacher-forced pass does.
        """
        if self.half:
            return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        scores = torch.bmm(queries, keys.mT) if mask is None else torch.baddbmm(mask, queries, keys.mT)
        return torch.bmm(torch.softmax(scores, dim=-1), values)

    def _read(self, rows: np.ndarray, tokens: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> torch.Tensor:
        """Several new tokens a row. Returns the features of each row's last token, (m, D).

        Rows that begin alike one after the other, as those of a group do, are read once and copied.
        """
        begins = np.ones(len(rows), bool)
        begins[1:] = (tokens[1:] != tokens[:-1]).any(1) | (counts[1:] != counts[:-1])
        if 2 * np.count_nonzero(begins) <= len(rows) and not starts.any():
            firsts, copies = np.flatnonzero(begins), np.flatnonzero(~begins)
            owners = np.cumsum(begins) - 1
            features = self._read(rows[firsts], tokens[firsts], starts[firsts], counts[firsts])
            self._cached[rows[firsts]] = counts[firsts]
            self.fork(rows[firsts[owners[copies]]], rows[copies])
            return features[uploaded(owners, self._device)]
        longest, start = int(counts.max()), int(starts[0])
        per_row = self._num_heads * longest * int((starts + counts).max())
        group = max(1, MAX_SCORES // per_row)
        # As many rows as there are, in ascending order, are all rows in order.
        everyone = len(rows) == self._num_rows and bool((rows[1:] > rows[:-1]).all())
        alike = int(counts.min()) == longest and bool((starts == start).all())
        if everyone and alike and FEW <= len(rows) <= group:
            return self._read_aligned(tokens, start, longest)
        parts = [slice(i, i + group) for i in range(0, len(rows), group)]
        return torch.cat([self._read_group(rows[p], tokens[p], starts[p], counts[p]) for p in parts])

    def _read_aligned(self, tokens: np.ndarray, start: int, count: int) -> torch.Tensor:
        """`count` new tokens in every row, from one position on: a rectangle, without packing."""
        rows, heads, group, size = self._num_rows, self._num_cached_heads, self._group, self._head_dim
        length = start + count
        columns = self._columns[start:length]
        mask, where = self._mask(columns, length).repeat(group, 1), columns.repeat(rows)
        x = self._embed(uploaded(tokens[:, start:length].astype(np.int64), self._device).view(-1), where)
        for layer, cache in enumerate(self._cache):
            queries, new = self._project(layer, x, where)
            cache[:, :, :, start:length] = new.view(2, rows, count, heads, size).transpose(2, 3)
            queries = queries.reshape(rows, count, heads, group, size).permute(0, 2, 3, 1, 4)
            keys, values = (part.narrow(1, 0, length) for part in self._flat[layer])
            attended = self._attend(queries.reshape(-1, group * count, size), keys, values, mask)
            attended = attended.view(rows, heads, group, count, size).permute(0, 3, 1, 2, 4).reshape(rows, count, -1)
            x = x.view(rows, count, -1)
            if layer == self._num_layers - 1:
                # Nobody looks at the other tokens' outputs.
                x, attended = x[:, -1:].contiguous(), attended[:, -1:]
            x = self._finish(layer, x.flatten(0, 1), attended.flatten(0, 1))
        return self._normalise(x.view(rows, -1, x.shape[-1])[:, -1])

    def _read_group(self, rows: np.ndarray, tokens: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> torch.Tensor:
        device, longest = self._device, int(counts.max())
        offsets = np.arange(longest)
        # Packed coordinates of the new tokens: the row's place in this call, and the place among its new tokens.
        row, offset = np.nonzero(offsets < counts[:, None])
        column = starts[row] + offset
        ids = uploaded(tokens[row, column].astype(np.int64), device)
        cache_row = uploaded(rows[row], device)
        where = uploaded(column, device)
        index = uploaded(rows, device)
        everyone = len(rows) == self._num_rows and bool((rows[1:] > rows[:-1]).all())
        at = (uploaded(row, device), uploaded(offset, device))
        length = int((starts + counts).max())
        heads, group, size = self._num_cached_heads, self._group, self._head_dim
        mask = self._mask(uploaded(starts[:, None] + offsets, device), length)
        mask = mask[:, None, None].expand(-1, heads, group, -1, -1).reshape(-1, group * longest, length)
        x = self._embed(ids, where)
        for layer, cache in enumerate(self._cache):
            queries, new = self._project(layer, x, where)
            cache[:, cache_row, :, where] = new.transpose(0, 1)
            padded = queries.new_zeros(len(rows), longest, heads, group, size)
            padded[at] = queries.view(-1, heads, group, size)
            padded = padded.permute(0, 2, 3, 1, 4).reshape(-1, group * longest, size)
            seen = cache[:, :, :, :length] if everyone else cache[:, index, :, :length]
            attended = self._attend(padded, seen[0].flatten(0, 1), seen[1].flatten(0, 1), mask)
            attended = attended.view(-1, heads, group, longest, size).permute(0, 3, 1, 2, 4)[at]
            x = self._finish(layer, x, attended.reshape(len(x), -1))
        last = uploaded(np.cumsum(counts) - 1, device)
        return self._normalise(x[last])
