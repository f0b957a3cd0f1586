"""Readings: one agent's pass over drawn states, whose outputs as wide as the vocabulary are made a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...agents import Agent, StepOutput
from ...agents.chunks import checkpointed, chunks
from ...agents.sampling import wide
from ..data import Batch


class Reading:
    """One teacher-forced pass over the n tokens of a batch and its f final states.

    Q-learning and actor-critics are expectations over all tokens in every state. What such an expectation comes to is
    one number a state, so the trunk's features are kept, and the heads give (chunk, A) numbers at a time, forward and
    again backward. Where everything fits one chunk it is computed once, and serves targets and gradient alike.

    Args:
        agent: what reads.
        heads: the heads that `outputs` are wanted of.
        batch: n agent tokens, and ``final_rows`` (f,).

    Attributes:
        num_tokens: n.
        chunks: runs of the n + f states, each as large as may be held at once.
    """

    def __init__(self, agent: Agent, heads: tuple[str, ...], batch: Batch) -> None:
        self.agent = agent
        self.heads = heads
        self.num_tokens = len(batch)
        self.width = agent.vocabulary.num_actions
        final_rows = batch.final_rows if len(batch.final_rows) else None
        self.features = agent.features(batch.tokens, batch.lengths, batch.rows, batch.columns, final_rows, heads)
        self.chunks = chunks(self.num_tokens + len(batch.final_rows), self.width)
        self._graph = torch.is_grad_enabled()
        self._whole: StepOutput | None = None

    def outputs(self, states: slice) -> StepOutput:
        """What the heads say in a run of the states; of all of them at once only where they fit one chunk."""
        if len(self.chunks) > 1:
            return self._heads_of([features[states] for features in self.features])
        if self._whole is None:
            # Read under the rule that it was made under: who asks first may want no gradient, who comes later does.
            with torch.set_grad_enabled(self._graph):
                self._whole = self._heads_of(self.features)
        if states == self.chunks[0]:
            return self._whole
        return StepOutput(**{name: None if v is None else v[states] for name, v in vars(self._whole).items()})

    def of_tokens(self, function: Callable[[StepOutput, slice], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Call a function of the outputs in the states of the n tokens, with gradients.

        Args:
            function: from what the heads say in a run of k states, and the run, to tensors (k,). Where there are
                several chunks it is called again for the backward pass, so it must be pure.

        Returns:
            The function's tensors, (n,).
        """
        if len(self.chunks) == 1:
            tokens = slice(0, self.num_tokens)
            return function(self.outputs(tokens), tokens)

        def of_chunk(features: list[Tensor], run: slice) -> tuple[Tensor, ...]:
            return function(self._heads_of(features), run)

        pieces = [
            checkpointed(of_chunk, [features[run] for features in self.features], run)
            for run in chunks(self.num_tokens, self.width)
        ]
        return tuple(torch.cat(column) for column in zip(*pieces, strict=True))

    def _heads_of(self, features: list[Tensor]) -> StepOutput:
        output = vars(self.agent.apply_heads(features, self.heads))
        return StepOutput(**{name: None if value is None else wide(value) for name, value in output.items()})
