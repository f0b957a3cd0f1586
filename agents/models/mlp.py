"""A trunk of small layers over a sum: every token adds a vector of its own for the place at which it stands."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
import torch
from torch import nn

from ..devices import uploaded
from .trunk import Decoder, Trunk


class MLPTrunk(Trunk):
    """Embedded tokens times a matrix of their place, summed up to each position, normalised, then hidden layers.

    It is the usual network over the concatenated embeddings of a fixed context, written as a sum, so that one pass
    gives the features of every prefix and a new token costs one small product. It sees any rule over "token at place"
    at once, where attention has to learn to look there first, and so learns short tasks from fewer tokens; what it
    learnt at one place it does not know at another.

    Args:
        num_tokens: V.
        hidden_size: width of the sum and of the layers.
        num_layers: activations between the sum and the features; the first follows the norm itself.
        embedding_size: width of a token's embedding.
        max_length: longest sequence, one matrix a place.
        initial_std: standard deviation of what a token adds at first.
    """

    def __init__(
        self,
        num_tokens: int,
        hidden_size: int,
        num_layers: int,
        embedding_size: int,
        max_length: int,
        initial_std: float,
    ):
        super().__init__()
        self.feature_size = hidden_size
        self.max_length = max_length
        self._arguments = (num_tokens, hidden_size, num_layers, embedding_size, max_length, initial_std)
        self.embedding = nn.Embedding(num_tokens, embedding_size)
        self.places = nn.Parameter(torch.empty(max_length, embedding_size, hidden_size))
        nn.init.normal_(self.places, std=initial_std / math.sqrt(embedding_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        layers: list[nn.Module] = [nn.LayerNorm(hidden_size), nn.ReLU()]
        for _ in range(num_layers - 1):
            layers += [nn.Linear(hidden_size, hidden_size), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Features of every prefix, (B, L, D)."""
        embedded = self.embedding(tokens).transpose(0, 1)  # (L, B, E)
        added = torch.bmm(embedded, self.places[: tokens.shape[1]])  # (L, B, D)
        # On a CPU one addition a place is six times faster than `cumsum`, forward and backward.
        sums = torch.stack(list(accumulate(added.unbind(0))))
        return self.layers(sums + self.bias).transpose(0, 1)

    def make_decoder(self, num_rows: int) -> Decoder:
        """A decoder that keeps one sum a row."""
        return MLPDecoder(self, num_rows)

    def another(self) -> MLPTrunk:
        """A trunk of the same shape with initial weights of its own."""
        return MLPTrunk(*self._arguments)


class MLPDecoder(Decoder):
    """Keeps each row's sum; a row that does not simply grow is read from its beginning."""

    can_rewind = False
    can_fork = True

    def __init__(self, trunk: MLPTrunk, num_rows: int):
        self._trunk = trunk
        self._sums = trunk.bias.new_zeros(num_rows, trunk.feature_size)

    def fork(self, sources: np.ndarray, targets: np.ndarray) -> None:
        """See `Decoder.fork`."""
        to = uploaded(targets, self._sums.device)
        self._sums = self._sums.index_copy(0, to, self._sums[uploaded(sources, to.device)])

    def extend(self, rows: np.ndarray | None, tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
        """See `Decoder.extend`."""
        trunk, device = self._trunk, self._sums.device
        index = None if rows is None else uploaded(rows, device)
        sums = self._sums if index is None else self._sums[index]
        if (starts == 0).any():
            sums = sums * uploaded(starts != 0, device)[:, None]
        # One place after another, the rows that are that long: a matrix is shared by all rows that stand there.
        for place in range(int(starts.min()), int(ends.max())):
            there = np.flatnonzero((starts <= place) & (place < ends))
            if not len(there):
                continue
            new = uploaded(tokens[there, place].astype(np.int64), device)
            added = trunk.embedding(new) @ trunk.places[place]
            if len(there) == len(starts):
                sums = sums + added
            else:
                sums = sums.index_add(0, uploaded(there, device), added)
        if index is None:
            self._sums = sums
        else:
            self._sums = self._sums.index_copy(0, index, sums)
        return trunk.layers(sums + trunk.bias)
