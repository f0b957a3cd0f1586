"""Batches: episodes as tensors on the learner's device, cut into minibatches, and those into what a pass can hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent, Evaluation, ReferenceLogits, Scores
from ...agents.masks import PackedMasks
from ...envs import TokenGymError
from .episodes import Episodes

Unit = Literal["sequence", "episode", "group"]
"""What a loss needs together: a sequence is enough where advantages are known, a group where its members compare."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The sequences of some episodes and the agent's tokens in them.

    Attributes:
        tokens: int64 (B, L), right-padded.
        lengths: int64 (B,).
        rows: int64 (N,), the sequence of each agent token.
        columns: int64 (N,), its place; the state before it is ``tokens[row, :column]``.
        actions: int64 (N,), the token.
        log_probs: float (N,), under the behaviour that said it.
        masks: (N, A) of what might be said, packed, or None.
        index: int64 (N,), where each token stands in ``episodes.flat`` of the episodes that the batch was cut from.
        final_rows: int64 (F,), the sequences whose ends are final states to look at.
        episodes: int64 (B,), the episode of each sequence, ascending.
        groups: int64 (B,), the group of each sequence: the first of the episodes that share its start and follow one
            another.
        scale: what weights over the batch that this one was cut from are multiplied by, so that a sum over this one
            estimates the sum over that.
    """

    tokens: Tensor
    lengths: Tensor
    rows: Tensor
    columns: Tensor
    actions: Tensor
    log_probs: Tensor
    masks: PackedMasks | None
    index: Tensor
    final_rows: Tensor
    episodes: Tensor
    groups: Tensor
    scale: int = 1

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
        starts = episodes.starts
        number = np.arange(len(starts))
        begins = np.concatenate([[True], starts[1:] != starts[:-1]])
        first_of_group = np.maximum.accumulate(np.where(begins, number, 0))
        return cls(
            tokens=tensor(episodes.tokens, torch.int64),
            lengths=tensor(episodes.lengths, torch.int64),
            rows=tensor(flat.row, torch.int64),
            columns=tensor(flat.column, torch.int64),
            actions=tensor(flat.action, torch.int64),
            log_probs=torch.as_tensor(flat.log_prob).to(device),
            masks=None if masks is None else masks.to(device),
            index=torch.arange(len(flat), device=device),
            final_rows=tensor(episodes.last_sequences, torch.int64),
            episodes=tensor(episodes.episode_id, torch.int64),
            groups=tensor(first_of_group[episodes.episode_id], torch.int64),
        )

    def sequences(self, chosen: Tensor, final: bool = False) -> Batch:
        """Return the batch of some sequences, int64 (C,) in ascending order, trimmed to the longest of them.

        With ``final`` it keeps which of them end in final states; else ``final_rows`` of the result is empty: final
        states are looked at once, over the whole batch.
        """
        place = torch.full((len(self.tokens),), -1, device=self.tokens.device)
        place[chosen] = torch.arange(len(chosen), device=self.tokens.device)
        rows, ends = place[self.rows], place[self.final_rows] if final else self.final_rows[:0]
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
            final_rows=ends[ends >= 0],
            episodes=self.episodes[chosen],
            groups=self.groups[chosen],
        )

    def numbers(self, unit: Unit) -> Tensor:
        """Return int64 (B,), ascending: the unit of each sequence."""
        if unit == "sequence":
            return torch.arange(len(self.tokens), device=self.tokens.device)
        return self.episodes if unit == "episode" else self.groups

    def minibatches(self, count: int, generator: torch.Generator, unit: Unit = "episode") -> Iterator[Batch]:
        """Cut the units in which the agent spoke into ``count`` random parts of nearly equal numbers of them.

        One part is the batch itself in its own order, so that a single minibatch costs no copy. Episodes stay whole
        where there are enough of them, sequences where there are not; groups always. Fewer parts come out where there
        are fewer units.
        """
        if count == 1:
            yield self
            return
        numbers = self.numbers(unit)
        spoken = torch.unique(numbers[self.rows])
        if unit == "episode" and len(spoken) < count:
            numbers = self.numbers("sequence")
            spoken = torch.unique(self.rows)
        order = spoken[torch.randperm(len(spoken), generator=generator).to(spoken.device)]
        parts = torch.tensor_split(order, min(count, len(spoken)))
        owner = numbers.new_full((int(numbers[-1]) + 1,), -1)
        for place, part in enumerate(parts):
            owner[part] = place
        owners = numbers.new_full((len(numbers),), -1)
        owners[self.rows] = owner[numbers[self.rows]]
        for place in range(len(parts)):
            chosen = torch.nonzero(owners == place).squeeze(1)
            yield replace(self.sequences(chosen), scale=self.scale * len(parts))

    def parts(self, limit: int | None, unit: Unit = "sequence", final: bool = False) -> list[Batch]:
        """Cut the batch into runs of whole units whose sequences, padded, have at most ``limit`` tokens.

        Args:
            limit: tokens that a trunk may read at once; None does not cut, and the batch itself comes out.
            unit: what stays together.
            final: whether the parts keep the final states.

        Raises:
            TokenGymError: one unit alone has more tokens.
        """
        if limit is None or self.tokens.numel() <= limit:
            return [self]
        bounds = cut_by_tokens(self.numbers(unit).cpu().numpy(), self.lengths.cpu().numpy(), limit, unit)
        device = self.tokens.device
        return [self.sequences(torch.arange(a, b, device=device), final) for a, b in pairwise(bounds)]

    def score(
        self,
        agent: Agent,
        heads: tuple[str, ...] = ("policy",),
        final: bool = False,
        reference: ReferenceLogits | None = None,
    ) -> Scores:
        """Score the tokens said in one teacher-forced pass of ``agent``; with ``final`` also look at final states."""
        return agent.score(
            self.tokens,
            self.lengths,
            self.rows,
            self.columns,
            self.actions,
            self.masks,
            final_rows=self.final_rows if final else None,
            heads=heads,
            reference=reference,
            groups=self.groups,
        )

    def evaluate(self, agent: Agent, heads: tuple[str, ...], final: bool = False) -> Evaluation:
        """Run one teacher-forced pass of ``agent``; with ``final`` also in the final states."""
        return agent.evaluate(
            self.tokens,
            self.lengths,
            self.rows,
            self.columns,
            final_rows=self.final_rows if final else None,
            heads=heads,
            groups=self.groups,
        )


def cut_by_tokens(numbers: np.ndarray, lengths: np.ndarray, limit: int, unit: str) -> list[int]:
    """Cut sequences into runs of whole units that, padded, have at most ``limit`` tokens each.

    Args:
        numbers: int (B,), ascending: the unit of each sequence.
        lengths: int (B,).
        limit: tokens of a run: its sequences times the longest of them.
        unit: what a unit is called.

    Returns:
        The R + 1 bounds of R runs, from 0 to B.

    Raises:
        TokenGymError: one unit alone has more tokens.
    """
    firsts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    ends = np.append(firsts[1:], len(numbers))
    longest = np.maximum.reduceat(lengths, firsts)
    bounds, width = [0], 0
    for first, end, length in zip(firsts.tolist(), ends.tolist(), longest.tolist(), strict=True):
        if (end - first) * length > limit:
            raise TokenGymError(
                f"micro_batch_tokens is {limit}, and one {unit} takes {(end - first) * length} tokens: "
                f"{end - first} sequence(s), padded to {length}. It cannot be cut: raise micro_batch_tokens."
            )
        width = max(width, length)
        if (end - bounds[-1]) * width > limit:
            bounds.append(first)
            width = length
    return [*bounds, len(numbers)]
