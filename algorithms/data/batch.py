"""Batches: episodes as tensors on the learner's device, cut into minibatches of whole sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent, Evaluation
from .episodes import Episodes


@dataclass(frozen=True, eq=False)
class Batch:
    """The sequences of some episodes and the agent's tokens in them.

    Attributes:
        tokens: int64 (B, L), right-padded.
        lengths: int64 (B,).
        rows: int64 (N,), the sequence of each agent token.
        columns: int64 (N,), its place; the state before it is ``tokens[row, :column]``.
        actions: int64 (N,), the token.
        log_probs: float32 (N,), under the behaviour that said it.
        masks: bool (N, A) of what might be said, or None.
        index: int64 (N,), where each token stands in ``episodes.flat`` of the episodes that the batch was cut from.
        final_rows: int64 (F,), the sequences whose ends are final states to look at.
    """

    tokens: Tensor
    lengths: Tensor
    rows: Tensor
    columns: Tensor
    actions: Tensor
    log_probs: Tensor
    masks: Tensor | None
    index: Tensor
    final_rows: Tensor

    def __len__(self) -> int:
        """The number of agent tokens, N."""
        return len(self.rows)

    @classmethod
    def from_episodes(cls, episodes: Episodes, device: torch.device | str = "cpu") -> Batch:
        """Move whole episodes to ``device``; ``final_rows`` are the ends of all E episodes."""
        flat = episodes.flat

        def tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(array).to(device=device, dtype=dtype)

        masks = episodes.action_masks
        return cls(
            tokens=tensor(episodes.tokens, torch.int64),
            lengths=tensor(episodes.lengths, torch.int64),
            rows=tensor(flat.row, torch.int64),
            columns=tensor(flat.column, torch.int64),
            actions=tensor(flat.action, torch.int64),
            log_probs=tensor(flat.log_prob, torch.float32),
            masks=None if masks is None else masks.to(device).unpack(),
            index=torch.arange(len(flat), device=device),
            final_rows=tensor(episodes.last_sequences, torch.int64),
        )

    def sequences(self, chosen: Tensor) -> Batch:
        """Return the batch of some sequences, int64 (C,) in ascending order, trimmed to the longest of them.

        ``final_rows`` of the result is empty: final states are looked at once, over the whole batch.
        """
        place = torch.full((len(self.tokens),), -1, device=self.tokens.device)
        place[chosen] = torch.arange(len(chosen), device=self.tokens.device)
        rows = place[self.rows]
        kept = torch.nonzero(rows >= 0).squeeze(1)
        lengths = self.lengths[chosen]
        return replace(
            self,
            tokens=self.tokens[chosen, : int(lengths.max())],
            lengths=lengths,
            rows=rows[kept],
            columns=self.columns[kept],
            actions=self.actions[kept],
            log_probs=self.log_probs[kept],
            masks=None if self.masks is None else self.masks[kept],
            index=self.index[kept],
            final_rows=self.final_rows[:0],
        )

    def minibatches(self, count: int, generator: torch.Generator) -> Iterator[Batch]:
        """Cut the sequences in which the agent spoke into ``count`` random parts of nearly equal size.

        One part is the batch itself in its own order, so that a single minibatch costs no copy. Fewer parts come out
        where there are fewer sequences.
        """
        if count == 1:
            yield self
            return
        spoken = torch.unique(self.rows)
        order = spoken[torch.randperm(len(spoken), generator=generator).to(spoken.device)]
        for part in torch.tensor_split(order, min(count, len(spoken))):
            yield self.sequences(torch.sort(part).values)

    def evaluate(self, agent: Agent, heads: tuple[str, ...], final: bool = False) -> Evaluation:
        """Run one teacher-forced pass of ``agent``; with ``final`` also in the final states."""
        return agent.evaluate(
            self.tokens,
            self.lengths,
            self.rows,
            self.columns,
            final_rows=self.final_rows if final else None,
            heads=heads,
        )
