"""Objectives by name, with their exact gradients on a table: what a loss is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent
from ...algorithms import Episodes
from ...algorithms.data import Batch
from ...envs import FiniteTask, TokenGymError
from ...envs.checking import Count, NotNegative, checked, unknown_name
from .enumeration import Policy, all_episodes
from .tables import observations, table_agent

ClaimName = Literal["return", "kl_return", "best", "pass_at_k", "max_rl", "likelihood"]

CLAIMS: dict[str, str] = {
    "return": "E[R]",
    "kl_return": "E[R] − β·KL(π‖π_ref) − α·E[log π]",
    "best": "E[max of k returns]",
    "pass_at_k": "P(one of k returns is above 0)",
    "max_rl": "−Σ_{j<k} (1 − p)^j/j with p = P(R > 0), MaxRL's truncated order",
    "likelihood": "E_μ[log π], of what a behaviour μ says",
}
"""What each name stands for; k is the claim's ``size``."""

UNBIASED = 1e-10
"""The largest error after the best scale of what is called unbiased."""


@dataclass(frozen=True)
class Claim:
    """An objective.

    Attributes:
        name: one of `CLAIMS`.
        beta: weight of the KL to the reference.
        alpha: weight of the entropy.
        size: k, where the objective is of several episodes.
    """

    name: str
    beta: float = 0.0
    alpha: float = 0.0
    size: int = 1

    def __post_init__(self) -> None:
        if self.name not in CLAIMS:
            raise unknown_name("claim", self.name, CLAIMS)
        if self.name != "kl_return" and (self.beta or self.alpha):
            raise TokenGymError(
                f"claim {self.name!r} has no KL and no entropy; expected 'kl_return' with beta or alpha."
            )

    def __str__(self) -> str:
        weights = [f"β = {self.beta:g}"] * bool(self.beta) + [f"α = {self.alpha:g}"] * bool(self.alpha)
        sized = [f"k = {self.size}"] * (self.name in ("best", "pass_at_k", "max_rl"))
        told = ", ".join(weights + sized)
        return CLAIMS[self.name] + (f" ({told})" if told else "")


@dataclass(frozen=True)
class Comparison:
    """An expected gradient beside the one that was claimed.

    Attributes:
        cosine: of the angle between the two.
        scale: ⟨g, g*⟩/‖g*‖², by which the claimed one is to be multiplied.
        error: ‖g − scale·g*‖/‖g‖, the sine of the angle: what no step size mends.
        bias: ‖g − g*‖/‖g*‖, as they are.
        norm: ‖g‖.
        claimed: ‖g*‖.
    """

    cosine: float
    scale: float
    error: float
    bias: float
    norm: float
    claimed: float

    @property
    def unbiased(self) -> bool:
        """Whether it points where it is said to, up to a positive scale."""
        return self.scale > 0 and self.error < UNBIASED

    @property
    def vanishes(self) -> bool:
        """Whether there is no gradient at all."""
        return self.norm < 1e-12


def compare(found: Tensor, claimed: Tensor) -> Comparison:
    """Hold an expected gradient against a claimed one, both directions of ascent of the same shape."""
    g, right = found.detach().double().flatten(), claimed.detach().double().flatten()
    norm, length = float(g.norm()), float(right.norm())
    if norm < 1e-300 or length < 1e-300:
        equal = norm == length
        return Comparison(1.0 if equal else 0.0, 0.0, 0.0 if equal else 1.0, 0.0 if equal else 1.0, norm, length)
    scale = float(g @ right) / length**2
    error = float((g - scale * right).norm()) / norm
    return Comparison(float(g @ right) / norm / length, scale, error, float((g - right).norm()) / length, norm, length)


@checked
def claim_gradient(
    task: FiniteTask,
    policy: Policy | None,
    claim: str,
    *,
    beta: NotNegative = 0.0,
    alpha: NotNegative = 0.0,
    size: Count = 1,
    reference: Policy | None = None,
    behaviour: Policy | None = None,
) -> Tensor:
    """Return the exact gradient of an objective with respect to the logits of a table.

    Args:
        task: of context "episode".
        policy: what the table says; None is uniform. Of what it never says nothing is known.
        claim: a name in `CLAIMS`.
        beta: weight of the KL, for "kl_return".
        alpha: weight of the entropy, for "kl_return".
        size: k, for objectives of several episodes.
        reference: what the KL is to; None is uniform.
        behaviour: whose episodes the likelihood is of; None is the policy itself.

    Returns:
        float64 of the shape of ``table_agent(task).readouts["policy"].weight``, whose rows it shares.
    """
    agent = table_agent(task, policy)
    return gradient_of(agent, task, Claim(claim, beta, alpha, size), reference, behaviour)


def gradient_of(
    agent: Agent, task: FiniteTask, claim: Claim, reference: Policy | None = None, behaviour: Policy | None = None
) -> Tensor:
    """Return the gradient of an objective with respect to an agent's own table; see `claim_gradient`."""
    weights = agent.readouts["policy"].weight
    assert isinstance(weights, Tensor)
    with torch.enable_grad():
        return torch.autograd.grad(_value(agent, task, claim, reference, behaviour), weights)[0]


def value_of(
    agent: Agent, task: FiniteTask, claim: Claim, reference: Policy | None = None, behaviour: Policy | None = None
) -> float:
    """Return what an objective comes to for an agent."""
    return float(_value(agent, task, claim, reference, behaviour).detach())


def _value(agent: Agent, task: FiniteTask, claim: Claim, reference: Policy | None, behaviour: Policy | None) -> Tensor:
    likelihood = claim.name == "likelihood" and behaviour is not None
    episodes, probabilities = all_episodes(task, behaviour if likelihood else agent.probabilities)
    batch = Batch.from_episodes(episodes)
    log_probs = batch.score(agent).log_probs
    said = log_probs.new_zeros(len(episodes)).index_add(0, batch.episodes[batch.rows], log_probs)
    chance = torch.from_numpy(probabilities)
    if claim.name == "likelihood":
        return (chance * said).sum()
    chance = chance * torch.exp(said - said.detach())  # the task's own draws carry no gradient
    returns = torch.from_numpy(episodes.returns.astype(np.float64))
    if claim.name in ("return", "kl_return"):
        other = torch.from_numpy(_log_reference(task, episodes, reference)) if claim.beta else 0.0
        return (chance * (returns - claim.alpha * said - claim.beta * (said - other))).sum()
    starts = np.unique(episodes.starts, return_inverse=True)[1]
    values = []
    for start in range(int(starts.max()) + 1):
        members = torch.from_numpy(np.flatnonzero(starts == start))
        begun = probabilities[members.numpy()].sum()
        values.append(begun * _OF_SEVERAL[claim.name](chance[members] / begun, returns[members], claim.size))
    return torch.stack(values).sum()


def _best(chance: Tensor, returns: Tensor, size: int) -> Tensor:
    """E[max]: the sum over returns, ascending, of each times the rise of (chance of at most it)^k."""
    order = torch.argsort(returns)
    cumulated = torch.cumsum(chance[order], 0) ** size
    before = torch.cat([cumulated.new_zeros(1), cumulated[:-1]])
    return (returns[order] * (cumulated - before)).sum()


def _pass_at_k(chance: Tensor, returns: Tensor, size: int) -> Tensor:
    return 1 - (1 - chance[returns > 0].sum()) ** size


def _max_rl(chance: Tensor, returns: Tensor, size: int) -> Tensor:
    failed = 1 - chance[returns > 0].sum()
    return -torch.stack([failed**order / order for order in range(1, max(size, 2))]).sum()


_OF_SEVERAL: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "best": _best,
    "pass_at_k": _pass_at_k,
    "max_rl": _max_rl,
}


def _log_reference(task: FiniteTask, episodes: Episodes, reference: Policy | None) -> np.ndarray:
    """float64 (E,), the log-probability under the reference of what the agent said in each episode."""
    flat, width = episodes.flat, task.vocabulary.num_actions
    if reference is None:
        return -np.log(width) * episodes.episode_lengths
    tokens, lengths = observations(episodes)
    each = np.log(np.asarray(reference(tokens, lengths), np.float64)[np.arange(len(flat)), flat.action])
    return np.bincount(flat.episode, each, len(episodes))
