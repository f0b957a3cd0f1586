"""Steps of the optimiser: the losses of micro-batches, whose gradients add up to that of the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...envs import TokenGymError
from .nonfinite import DivergedError, first_nonfinite


@dataclass(frozen=True, eq=False)
class Loss:
    """What one part of a batch adds to the batch's loss; all of it, where the batch is not cut.

    Attributes:
        total: scalar, with a graph. Its terms are weighed over the whole batch, so that the totals of the parts add up.
        terms: scalars worth reporting that add up likewise.
        tokens: one value for each agent token of the part, (n,), to be reported or remembered.
        named: what went into the total, in the order in which it was computed; where the total is not finite, the
            first of these that is not either is named.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    tokens: Mapping[str, Tensor] = field(default_factory=dict)
    named: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Step:
    """A step that the optimiser took.

    Attributes:
        grad_norm: the norm of the whole gradient, before clipping.
        terms: the sums of the parts' terms.
        tokens: the parts' values a token, joined in the order of the parts.
    """

    grad_norm: float
    terms: dict[str, float]
    tokens: dict[str, Tensor]


def accumulate(
    parts: Iterable[Loss], num_updates: int, gather: Callable[[], None] | None = None
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Add the gradients of all parts to the parameters' and return the sums of their terms and their joined tokens.

    Each part's graph is gone before the next part is asked for: with a generator there is only ever one.

    Args:
        parts: the losses.
        num_updates: for the message where one diverged.
        gather: called when a part's gradients have been added to the parameters'.

    Raises:
        TokenGymError: a part's total is no scalar, or hangs on no parameter.
        DivergedError: a part's total is not finite.
    """
    terms: dict[str, Tensor] = {}
    tokens: dict[str, list[Tensor]] = {}
    for part in parts:
        if part.total.numel() != 1 or not part.total.requires_grad:
            shape, graph = tuple(part.total.shape), "with" if part.total.requires_grad else "without"
            raise TokenGymError(
                f"update {num_updates}: the loss has shape {shape}, {graph} a graph; expected one number with a graph: "
                "weigh what each token adds, add it up, and detach nothing that is to be learnt from."
            )
        if not torch.isfinite(part.total):
            raise DivergedError(first_nonfinite({**part.named, "loss": part.total}), num_updates)
        part.total.backward()
        if gather is not None:
            gather()
        for name, value in part.terms.items():
            terms[name] = terms[name] + value.detach() if name in terms else value.detach()
        for name, values in part.tokens.items():
            tokens.setdefault(name, []).append(values.detach())
        del part
    joined = {name: values[0] if len(values) == 1 else torch.cat(values) for name, values in tokens.items()}
    return {name: value.item() for name, value in terms.items()}, joined
