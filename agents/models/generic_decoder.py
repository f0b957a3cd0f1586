"""Cached decoding of any attention model through its own transformers cache."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from ..devices import uploaded
from .trunk import Decoder, ReencodeDecoder, Trunk

TOLERANCE = 1e-4
"""How far features may differ from the teacher-forced pass for the cache to count as exact."""


class CachingTrunk(Trunk):
    """A trunk around a transformers model without its head.

    Attributes:
        body: the model, which takes a cache and adds to it.
    """

    body: Any


class CacheDecoder(Decoder):
    """Keeps a growing transformers cache, and masks the columns that no longer belong to a row.

    A transformers cache only appends: every call adds the same number of columns to all rows. Each row therefore
    remembers which columns hold its tokens; columns of an episode that is over, of padding, and of idle rows are
    masked out of its attention, and positions count the row's real tokens. When most of the cache is stale it is
    dropped and the rows are read again.

    Args:
        trunk: the model, whose exactness under this scheme `is_exact` has established.
        num_rows: number of rows.
    """

    can_fork = True

    def __init__(self, trunk: CachingTrunk, num_rows: int):
        self._body = trunk.body
        # Renamed in transformers 5.24, which warns of the former name.
        takes = inspect.signature(self._body.forward).parameters
        self._cache_argument = "cache" if "cache" in takes else "past_key_values"
        self._device = trunk.device
        self._num_rows = num_rows
        self._max_columns = 2 * trunk.max_length
        self._max_length = trunk.max_length
        self._tokens = np.zeros((num_rows, trunk.max_length), dtype=np.int32)
        self._lengths = np.zeros(num_rows, dtype=np.int64)
        self._clear()

    def _clear(self) -> None:
        self._cache = DynamicCache(config=self._body.config)
        self._visible = np.zeros((self._num_rows, 0), dtype=bool)
        self._column_of = np.zeros((self._num_rows, self._max_length), dtype=np.int64)

    @torch.no_grad()
    def extend(self, rows: np.ndarray | None, tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """See `Decoder.extend`."""
        index = np.arange(self._num_rows) if rows is None else rows
        width = min(tokens.shape[1], self._max_length)
        self._tokens[index, :width] = tokens[:, :width]
        begins = self._lengths.copy()
        begins[index] = starts
        self._lengths[index] = ends
        if self._visible.shape[1] + int((ends - starts).max()) > self._max_columns:
            self._clear()
            begins[:] = 0
        features = self._append(begins, self._lengths)
        return features if rows is None else features[uploaded(rows, self._device)]

    def fork(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """See `Decoder.fork`."""
        rows = np.arange(self._num_rows)
        rows[targets] = sources
        if self._visible.shape[1]:
            order: Any = uploaded(rows, self._device)
            self._cache.reorder_cache(order)
        self._tokens, self._lengths = self._tokens[rows], self._lengths[rows]
        self._visible, self._column_of = self._visible[rows], self._column_of[rows]

    def _append(self, begins: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """Run the model over tokens `begins…ends-1` of all rows, idle ones padded; features of the last tokens."""
        counts = ends - begins
        longest, before = int(counts.max()), self._visible.shape[1]
        offsets = np.arange(longest)
        real = offsets < counts[:, None]
        positions = np.minimum(begins[:, None] + offsets, self._max_length - 1)
        ids = np.where(real, np.take_along_axis(self._tokens, positions, axis=1), 0)
        self._hide_rewritten(begins)
        row, offset = np.nonzero(real)
        self._column_of[row, positions[row, offset]] = before + offset
        self._visible = np.concatenate([self._visible, real], axis=1)
        shown = self._visible.copy()
        # A row that shows nothing would average over nothing: let it look at its own padding, this once.
        shown[~shown.any(axis=1), before:] = True
        output = self._body(
            input_ids=uploaded(ids.astype(np.int64), self._device),
            attention_mask=uploaded(shown.astype(np.int64), self._device),
            position_ids=uploaded(positions, self._device),
            use_cache=True,
            **{self._cache_argument: self._cache},
        )
        last = uploaded(np.maximum(counts, 1) - 1, self._device)
        return output.last_hidden_state[torch.arange(len(counts), device=self._device), last]

    def _hide_rewritten(self, begins: np.ndarray) -> None:
        """Mask, in each row, the columns of tokens at and after the position where it is read anew."""
        kept = np.arange(self._max_length) < begins[:, None]
        row, position = np.nonzero(kept)
        self._visible[:] = False
        self._visible[row, self._column_of[row, position]] = True


@contextmanager
def layers_checkpointed(body: Any) -> Iterator[None]:
    """Let a model's layers keep only their inputs for the backward pass, within the block.

    transformers does so in training mode alone, in which nothing else of an agent is: it has no dropout.
    """
    body.activation_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    layers = [module for module in body.modules() if hasattr(module, "gradient_checkpointing")]
    before = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer, training in zip(layers, before, strict=True):
            layer.training = training
        body.activation_checkpointing_disable()


@torch.no_grad()
def is_exact(trunk: CachingTrunk) -> bool:
    """Whether `CacheDecoder` gives this model's features, tried on a few tokens.

    The trial has rows of different lengths, a row that starts over and a reply of several tokens, so it finds out
    state-space models, sliding windows shorter than the context, and models that ignore `position_ids`.
    """
    config = trunk.body.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if getattr(trunk.body, "_is_stateful", False) or (window is not None and window < trunk.max_length):
        return False
    if trunk.max_length < 5:
        return False
    generator = np.random.default_rng(0)
    old, new = generator.integers(0, min(int(config.vocab_size), 1000), (2, 3, 5)).astype(np.int32)
    calls = [
        ([0, 1, 2], old, [0, 0, 0], [1, 3, 2]),
        ([0, 1, 2], old, [1, 3, 2], [2, 4, 3]),
        ([0, 2], old[[0, 2]], [2, 3], [4, 4]),
        ([1], new[[1]], [0], [2]),
        ([0, 1, 2], np.stack([old[0], new[1], new[2]]), [4, 2, 0], [5, 3, 3]),
    ]
    cached, plain = CacheDecoder(trunk, 3), ReencodeDecoder(trunk)
    try:
        for rows, tokens, starts, ends in calls:
            call = (np.array(rows), tokens, np.array(starts), np.array(ends))
            if not torch.allclose(cached.extend(*call), plain.extend(*call), rtol=TOLERANCE, atol=TOLERANCE):
                return False
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError):
        return False
    return True
