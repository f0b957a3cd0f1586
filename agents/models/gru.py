"""A recurrent trunk: embedding and GRU."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..devices import uploaded
from .trunk import Decoder, Trunk


class GRUTrunk(Trunk):
    """Embedding and a GRU (Cho et al. 2014, arXiv 1406.1078).

    Args:
        num_tokens: V.
        hidden_size: width of embedding and state.
        num_layers: stacked layers.
        max_length: longest sequence (no limit of the model's own).
        initial_std: standard deviation of the initial embeddings.
    """

    def __init__(self, num_tokens: int, hidden_size: int, num_layers: int, max_length: int, initial_std: float):
        super().__init__()
        self.feature_size = hidden_size
        self.max_length = max_length
        self._arguments = (num_tokens, hidden_size, num_layers, max_length, initial_std)
        self.embedding = nn.Embedding(num_tokens, hidden_size)
        nn.init.normal_(self.embedding.weight, std=initial_std)
        self.gru = nn.GRU(hidden_size, hidden_size, num_layers, batch_first=True)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Hidden states of the last layer, (B, L, D)."""
        return self.gru(self.embedding(tokens))[0]

    def make_decoder(self, num_rows: int) -> Decoder:
        """A decoder that keeps one state a row."""
        return GRUDecoder(self, num_rows)

    def another(self) -> GRUTrunk:
        """A trunk of the same shape with initial weights of its own."""
        return GRUTrunk(*self._arguments)


class GRUDecoder(Decoder):
    """Keeps each row's recurrent state; a row that does not simply grow is read from its beginning."""

    can_rewind = False
    can_fork = True

    def __init__(self, trunk: GRUTrunk, num_rows: int):
        self._trunk = trunk
        weight = next(trunk.gru.parameters())
        self._state = weight.new_zeros(trunk.gru.num_layers, num_rows, trunk.feature_size)

    def fork(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """See `Decoder.fork`."""
        to = uploaded(targets, self._state.device)
        self._state = self._state.index_copy(1, to, self._state[:, uploaded(sources, to.device)])

    def extend(self, rows: np.ndarray | None, tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """See `Decoder.extend`."""
        device = self._state.device
        index = None if rows is None else uploaded(rows, device)
        state = self._state if index is None else self._state[:, index]
        if (starts == 0).any():
            state = state * uploaded(starts != 0, device)[None, :, None]
        counts = ends - starts
        longest = int(counts.max())
        columns = np.minimum(starts[:, None] + np.arange(longest), tokens.shape[1] - 1)
        new = uploaded(np.take_along_axis(tokens, columns, axis=1).astype(np.int64), device)
        embedded = self._trunk.embedding(new)
        if longest == 1:
            _, state = self._trunk.gru(embedded, state.contiguous())
        else:
            packed = nn.utils.rnn.pack_padded_sequence(
                embedded, torch.from_numpy(counts), batch_first=True, enforce_sorted=False
            )
            _, state = self._trunk.gru(packed, state.contiguous())
        if index is None:
            self._state = state
        else:
            self._state = self._state.index_copy(1, index, state)
        return state[-1]
