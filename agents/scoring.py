"""Scores: log-probability, entropy and KL of what was said, without ever holding a number for every token and state.

A vocabulary has 50,000 tokens or more, and a batch thousands of states: one tensor over both takes gigabytes, and a
loss needs several. So the projection onto the vocabulary runs over chunks of states, forward and again backward. What
fits one chunk takes the plain path and is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .chunks import checkpointed, chunks
from .masks import PackedMasks, opened
from .sampling import LEAST, divergence, entropy, log_softmax, wide
from .session import StepOutput

ReferenceLogits = Callable[[slice], Tensor]
"""Gives a reference's logits (n, A) in a run of the states, without a gradient."""


@dataclass
class Scores:
    """What an agent thinks of N tokens that were said.

    Attributes:
        log_probs: float (N,), of the tokens said.
        entropy: float (N,), of the distributions that they were drawn from.
        kl: float (N,), KL(π ‖ π_ref) of the whole distributions, or None without a reference.
        reference_log_probs: float (N,), of the tokens said under the reference, without a gradient, or None.
        values: float (N,), or None where not asked for.
        final: values in the final states, or None where none were asked for.
    """

    log_probs: Tensor
    entropy: Tensor
    kl: Tensor | None = None
    reference_log_probs: Tensor | None = None
    values: Tensor | None = None
    final: StepOutput | None = None

    @staticmethod
    def joined(parts: Sequence[Scores]) -> Scores:
        """Join the scores of parts, one after the other."""

        def join(values: list[Tensor | None]) -> Tensor | None:
            kept = [value for value in values if value is not None]
            return torch.cat(kept) if kept else None

        final = join([None if part.final is None else part.final.values for part in parts])
        return Scores(
            log_probs=torch.cat([part.log_probs for part in parts]),
            entropy=torch.cat([part.entropy for part in parts]),
            kl=join([part.kl for part in parts]),
            reference_log_probs=join([part.reference_log_probs for part in parts]),
            values=join([part.values for part in parts]),
            final=None if final is None else StepOutput(values=final),
        )


def score(
    project: Callable[[Tensor], Tensor],
    features: Tensor,
    actions: Tensor,
    width: int,
    masks: PackedMasks | Tensor | None = None,
    reference: ReferenceLogits | None = None,
    chunk_bytes: int | None = None,
) -> Scores:
    """Score what was said in N states.

    Args:
        project: from features (n, D) to logits (n, A).
        features: (N, D).
        actions: int64 (N,).
        width: A.
        masks: bool (N, A), True where allowed, packed or not, or None.
        reference: the logits of what the KL is measured to, or None.
        chunk_bytes: the most that a tensor of n states times A float32 numbers may take; None is `CHUNK_BYTES`.
    """
    parts = chunks(len(actions), width, limit=chunk_bytes)
    if len(parts) == 1:
        seen = _plain(project(features), actions, opened(masks), None if reference is None else reference(parts[0]))
        return Scores(*seen)
    pieces: list[tuple[Any, ...]] = [
        checkpointed(_of_chunk, project, features[part], actions[part], masks, reference, part)
        if torch.is_grad_enabled()
        else _of_chunk(project, features[part], actions[part], masks, reference, part)
        for part in parts
    ]
    return Scores.joined([Scores(*piece) for piece in pieces])


def _plain(logits: Tensor, actions: Tensor, masks: Tensor | None, reference: Tensor | None) -> tuple[Any, ...]:
    """Log-probabilities, entropies, KLs and the reference's log-probabilities, each (n,), by torch's own gradients."""
    log_probs = log_softmax(wide(logits), masks)
    chosen = log_probs.gather(-1, actions[:, None]).squeeze(-1)
    if reference is None:
        return chosen, entropy(log_probs), None, None
    others = log_softmax(wide(reference), masks)
    return chosen, entropy(log_probs), divergence(log_probs, others), others.gather(-1, actions[:, None]).squeeze(-1)


def _of_chunk(
    project: Callable[[Tensor], Tensor],
    features: Tensor,
    actions: Tensor,
    masks: PackedMasks | Tensor | None,
    reference: ReferenceLogits | None,
    part: slice,
) -> tuple[Any, ...]:
    """`_plain` for a run of states, with one tensor as wide as the vocabulary kept for its gradient."""
    allowed = opened(masks, part)
    with torch.no_grad():
        others = None if reference is None else reference(part)
    seen: Any = _Summary.apply(project(features), actions, allowed, others)
    return seen if reference is not None else (*seen[:2], None, None)


class _Summary(torch.autograd.Function):
    """From logits to what is said about them; the gradient in closed form, so that nothing but log π is kept."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, actions: Tensor, masks: Tensor | None, reference: Tensor | None
    ) -> tuple[Any, ...]:
        log_probs = log_softmax(wide(logits), masks)
        chosen = log_probs.gather(-1, actions[:, None]).squeeze(-1)
        entropies = entropy(log_probs)
        others = None if reference is None else log_softmax(wide(reference), masks)
        kl, other = torch.zeros_like(chosen), None
        if others is not None:
            kl, other = divergence(log_probs, others), others.gather(-1, actions[:, None]).squeeze(-1)
        ctx.save_for_backward(log_probs, actions, masks, others, entropies, kl)
        ctx.dtype = logits.dtype
        if other is not None:
            ctx.mark_non_differentiable(other)
        return chosen, entropies, kl, other

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        of_chosen, of_entropy, of_kl, _ = gradients
        log_probs, actions, masks, others, entropies, kl = ctx.saved_tensors
        # With z the logits: ∂ log π(a) = 1[a] − π, ∂H = −π (log π + H), ∂KL = π (log π − log π_ref − KL).
        weights = log_probs.clamp(min=LEAST).add_(entropies[:, None]).mul_(-of_entropy[:, None])
        weights.sub_(of_chosen[:, None])
        probs = log_probs.exp()
        if others is not None:
            excess = (log_probs - others).masked_fill_(probs == 0, 0.0).sub_(kl[:, None])
            weights.add_(excess.mul_(of_kl[:, None]))
        result = probs.mul_(weights)
        result.scatter_add_(1, actions[:, None], of_chosen[:, None])
        if masks is not None:
            result.masked_fill_(~masks, 0.0)
        return result.to(ctx.dtype), None, None, None
