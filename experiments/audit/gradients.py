"""The expected gradient of a method's own loss, over every batch that it might have drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...algorithms import Episodes
from ...algorithms.parts import KLBudget, KLController, RunningStd, VisitCounts
from ...envs import TokenGymError


@dataclass(frozen=True, eq=False)
class ExpectedGradient:
    """What the gradient of a loss comes to on average.

    Attributes:
        of: float64, by the names of the agent's parameters.
        loss: the expected loss.
        variance: E‖g‖² − ‖E g‖² of a single batch's gradient g.
    """

    of: dict[str, Tensor]
    loss: float
    variance: float

    @property
    def vector(self) -> Tensor:
        """All of it, float64 (P,)."""
        return torch.cat([gradient.flatten() for gradient in self.of.values()])

    @property
    def largest(self) -> float:
        """The largest absolute entry; 0 at a fixed point."""
        return float(self.vector.abs().max())

    @property
    def norm(self) -> float:
        """The Euclidean norm."""
        return float(self.vector.norm())


def expected_gradient(
    algorithm: Any, batches: Iterable[tuple[float, Any]], moved: Mapping[str, Tensor] | None = None
) -> ExpectedGradient:
    """Average the gradients of an algorithm's own loss over batches.

    Each batch goes through the algorithm's own ``prepare(batch)`` and ``loss(part, prepared)``, with all of it in one
    part. What an algorithm adapts from batch to batch stands still meanwhile: the scale of rewards, the KL coefficient,
    its generator. Nothing of the algorithm is changed.

    Args:
        algorithm: has an agent in float64, and ``prepare`` and ``loss``. What ``prepare`` returns has the whole batch
            as its ``batch``, or a list of ``parts``.
        batches: (probability, what ``prepare`` takes), such as `drawn` yields; probabilities sum to 1.
        moved: values of parameters by name, at which the loss is taken after `prepare` has seen the present ones: the
            gradient of a later step on the same batch.

    Raises:
        TokenGymError: the agent is not in float64, a name is no parameter, or the probabilities do not sum to 1.
    """
    sums: dict[str, Tensor] = {}
    total = squares = mass = 0.0
    for probability, loss, gradients in each_gradient(algorithm, batches, moved):
        for name, gradient in gradients.items():
            sums.setdefault(name, torch.zeros_like(gradient)).add_(gradient, alpha=probability)
            squares += probability * float(gradient.square().sum())
        total += probability * loss
        mass += probability
    if abs(mass - 1) > 1e-9:
        raise TokenGymError(f"The probabilities of the batches sum to {mass!r}; expected 1: list all of them.")
    length = sum(float(sum_of.square().sum()) for sum_of in sums.values())
    return ExpectedGradient(sums, total, max(squares - length, 0.0))


def each_gradient(
    algorithm: Any, batches: Iterable[tuple[float, Any]], moved: Mapping[str, Tensor] | None = None
) -> Iterator[tuple[float, float, dict[str, Tensor]]]:
    """Yield each batch's (probability, loss, gradients by the names of parameters); see `expected_gradient`."""
    parameters = dict(algorithm.agent.named_parameters())
    if algorithm.agent.dtype != torch.float64:
        raise TokenGymError(f"The agent computes in {algorithm.agent.dtype}; an exact gradient needs dtype='float64'.")
    for name in moved or {}:
        if name not in parameters:
            raise TokenGymError(f"moved names {name!r}; expected parameters of the agent: {', '.join(parameters)}.")
    with standing_still(algorithm):
        for probability, batch in batches:
            prepared = algorithm.prepare(batch)
            with torch.enable_grad(), at(parameters, moved):
                if moved and getattr(prepared, "scores", None) is not None:
                    prepared = dataclasses.replace(prepared, scores=None)  # a pass of the weights before
                loss = _whole_loss(algorithm, prepared)
                found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            gradients = {
                name: torch.zeros_like(parameter) if gradient is None else gradient
                for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
            }
            yield probability, float(loss.detach()), gradients


def _whole_loss(algorithm: Any, prepared: Any) -> Tensor:
    """The loss of all that was prepared, in as few parts as it has."""
    parts = getattr(prepared, "parts", None)
    parts = [prepared.batch] if parts is None else parts
    losses = [algorithm.loss(part, prepared).total for part in parts]
    return torch.stack(losses).sum()


@contextmanager
def standing_still(algorithm: Any) -> Iterator[None]:
    """Hold what an algorithm adapts to the batches that it sees, and put it back as it was."""
    kept = {
        name: vars(algorithm)[name]
        for name in ("return_scale", "kl_controller", "kl_budget", "visits", "warned_of_ties")
        if name in vars(algorithm)
    }
    drawn = algorithm.generator.get_state()
    absent = {"warned_of_ties"} - set(kept)
    algorithm.warned_of_ties = True  # a listing holds every tie that there is
    if kept.get("visits") is not None:
        algorithm.visits = _StandingCounts(kept["visits"])
    if "return_scale" in kept:
        algorithm.return_scale = _StandingStd(kept["return_scale"])
    if "kl_controller" in kept:
        algorithm.kl_controller = KLController(kept["kl_controller"].coef)
    if "kl_budget" in kept:
        algorithm.kl_budget = KLBudget()
    try:
        yield
    finally:
        vars(algorithm).update(kept)
        for name in absent:
            del vars(algorithm)[name]
        algorithm.generator.set_state(drawn)


class _StandingStd(RunningStd):
    """A running scale that no batch moves."""

    def __init__(self, present: RunningStd) -> None:
        super().__init__()
        self.load_state(present.state())

    def update(self, values: Any) -> None:
        """Take nothing in."""


class _StandingCounts(VisitCounts):
    """Counts of visits that no batch adds to."""

    def __init__(self, present: VisitCounts) -> None:
        super().__init__()
        self.load_state_arrays(present.state_arrays())

    def add(self, episodes: Episodes) -> None:
        """Count nothing."""


@contextmanager
def at(parameters: Mapping[str, Tensor], moved: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Give parameters other values for a while."""
    kept = {name: parameters[name].detach().clone() for name in moved or {}}
    with torch.no_grad():
        for name, value in (moved or {}).items():
            parameters[name].copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                parameters[name].copy_(value)
