"""Objectives by name, with their exact values and gradients: what losses and methods are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent
from ...algorithms import Episodes
from ...algorithms.data import Batch
from ...envs import FiniteTask, TokenGymError
from ...envs.checking import Count, NotNegative, checked, unknown_name
from .bounds import Bounds, bounded_episodes, uniform, within
from .enumeration import Policy, all_episodes
from .listing import Listing
from .tables import log_reference, table_agent

CLAIMS: dict[str, str] = {
    "return": "E[R]",
    "kl_return": "E[R] − β·KL(π‖π_ref) − α·E[log π]",
    "kl_quantile": "E[q] − β·KL(π‖π_ref), q the quantile of R under π_ref",
    "teacher": "−KL(π‖π_teacher)",
    "best": "E[max of k returns]",
    "pass_at_k": "P(one of k returns is above 0)",
    "max_rl": "−Σ_{j<k} (1 − p)^j/j with p = P(R > 0), MaxRL's truncated order",
    "likelihood": "E_μ[log π], of what a behaviour μ says",
}
"""What each name stands for; k is the objective's ``size``."""

WEIGHED = ("kl_return", "kl_quantile")
"""Those with a KL whose weight is the objective's ``beta``."""


@dataclass(frozen=True)
class Objective:
    """What is to be maximised.

    Attributes:
        name: one of `CLAIMS`.
        beta: weight of the KL to the reference; of "teacher", who is the reference then, it is 1.
        alpha: weight of the entropy.
        size: k, where the objective is of several episodes.
    """

    name: str = "return"
    beta: float = 0.0
    alpha: float = 0.0
    size: int = 1

    def __post_init__(self) -> None:
        if self.name not in CLAIMS:
            raise unknown_name("claim", self.name, CLAIMS)
        if self.name not in WEIGHED and (self.beta or self.alpha):
            raise TokenGymError(
                f"claim {self.name!r} has no KL and no entropy; expected 'kl_return' with beta or alpha."
            )
        if self.name != "kl_return" and self.alpha:
            raise TokenGymError(f"claim {self.name!r} has no entropy; expected 'kl_return' with alpha={self.alpha:g}.")

    def __str__(self) -> str:
        weights = [f"β = {self.beta:g}"] * bool(self.beta) + [f"α = {self.alpha:g}"] * bool(self.alpha)
        sized = [f"k = {self.size}"] * (self.name in _OF_SEVERAL)
        told = ", ".join(weights + sized)
        return CLAIMS[self.name] + (f" ({told})" if told else "")

    @property
    def kl(self) -> float:
        """The weight of the KL to the reference, or to the teacher."""
        return 1.0 if self.name == "teacher" else self.beta

    @property
    def by_states(self) -> bool:
        """Whether it is of single episodes and of what the policy says itself, so that each state has its optimum."""
        return self.name not in _OF_SEVERAL and self.name != "likelihood"

    def value(self, listing: Listing, logits: Tensor, reference: Tensor | None = None) -> Tensor:
        """What a policy earns on a listing; differentiable in its logits (S, A). The reference: None is uniform."""
        if self.name == "max_rl" and not bool(((listing.rewards == 0) | (listing.rewards == 1)).all()):
            raise TokenGymError("claim 'max_rl' is of rewards 0 and 1; this task pays others.")
        if self.name == "teacher":
            raise TokenGymError("claim 'teacher' is of a method that has one; a loss as a function knows of none.")
        said = listing.log_probs(logits).sum(1)
        other = listing.log_probs(listing.uniform() if reference is None else reference).sum(1)
        return self.earned(said.exp(), said, other, self.returns(listing, reference))

    def returns(self, listing: Listing, reference: Tensor | None = None) -> Tensor:
        """(E,), what it makes of the returns of all episodes of a listing. The reference: None is uniform."""
        if self.name != "kl_quantile":
            return listing.rewards
        returns, chances = listing.rewards, listing.chances(listing.uniform() if reference is None else reference)
        return torch.from_numpy(quantiles(returns.numpy(), returns.numpy(), chances.detach().numpy()))

    def gradient(self, listing: Listing, logits: Tensor, reference: Tensor | None = None) -> Tensor:
        """(S, A), of `value`."""
        at = logits.detach().clone().requires_grad_()
        return torch.autograd.grad(self.value(listing, at, reference), at)[0]

    def earned(self, chances: Tensor, said: Tensor, other: Tensor, returns: Tensor) -> Tensor:
        """What all E episodes from one start come to.

        Args:
            chances: (E,), how probable they are.
            said: (E,), the log-probabilities of what the policy said.
            other: (E,), the reference's.
            returns: (E,), or what the objective makes of them; see `paid`.
        """
        if self.name in _OF_SEVERAL:
            return _OF_SEVERAL[self.name](chances, returns, self.size)
        if self.name == "likelihood":
            raise TokenGymError("claim 'likelihood' is of what somebody else says, and of no returns.")
        return (chances * (returns - self.alpha * said - self.kl * (said - other))).sum()

    def most(self, returns: Tensor) -> float:
        """The most that a policy earns from one start, without KL and entropy: by one episode for sure, the best."""
        nothing = returns.new_zeros(1)
        return float(self.earned(nothing + 1, nothing, nothing, returns.max()[None]))


def _best(chances: Tensor, returns: Tensor, size: int) -> Tensor:
    """E[max]: the sum over returns, ascending, of each times the rise of (chance of at most it)^k."""
    order = torch.argsort(returns)
    at_most = torch.cumsum(chances[order], 0) ** size
    return (returns[order] * torch.diff(at_most, prepend=at_most.new_zeros(1))).sum()


def _pass_at_k(chances: Tensor, returns: Tensor, size: int) -> Tensor:
    return 1 - (1 - chances[returns > 0].sum()) ** size


def _max_rl(chances: Tensor, returns: Tensor, size: int) -> Tensor:
    failed = 1 - chances[returns > 0].sum()
    return -torch.stack([failed**order / order for order in range(1, max(size, 2))]).sum()


_OF_SEVERAL: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "best": _best,
    "pass_at_k": _pass_at_k,
    "max_rl": _max_rl,
}


# Of table agents ------------------------------------------------------------------------------------------------------


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
        beta: weight of the KL, for "kl_return" and "kl_quantile".
        alpha: weight of the entropy, for "kl_return".
        size: k, for objectives of several episodes.
        reference: what the KL is to, the teacher of "teacher"; None is uniform.
        behaviour: whose episodes the likelihood is of; None is the policy itself.

    Returns:
        float64 of the shape of ``table_agent(task).readouts["policy"].weight``, whose rows it shares.
    """
    agent = table_agent(task, policy)
    return gradient_of(agent, task, Objective(claim, beta, alpha, size), reference, behaviour)


def gradient_of(
    agent: Agent,
    task: FiniteTask,
    claim: Objective,
    reference: Policy | None = None,
    behaviour: Policy | None = None,
    bounds: Bounds | None = None,
) -> Tensor:
    """Return the gradient of an objective with respect to an agent's own table; see `claim_gradient`.

    With bounds it is of agent and reference within them, whatever they were made of.
    """
    weights = agent.readouts["policy"].weight
    assert isinstance(weights, Tensor)
    with torch.enable_grad():
        return torch.autograd.grad(_value(agent, task, claim, reference, behaviour, bounds), weights)[0]


def value_of(
    agent: Agent, task: FiniteTask, claim: Objective, reference: Policy | None = None, behaviour: Policy | None = None
) -> float:
    """Return what an objective comes to for an agent."""
    return float(_value(agent, task, claim, reference, behaviour).detach())


def paid(task: FiniteTask, claim: Objective, episodes: Episodes, reference: Policy | None = None) -> Episodes:
    """Return episodes of a task that are paid what an objective makes of their returns.

    That is what they are, nothing beside a teacher, or, at the end, the quantile under the reference (None: uniform):
    how probable it is that the reference earns at most as much from the same start.
    """
    if claim.name not in ("teacher", "kl_quantile"):
        return episodes
    rewards = np.zeros_like(episodes.rewards)
    if claim.name == "kl_quantile":
        among, chances = all_episodes(task, reference)
        flat, ranked = episodes.flat, np.zeros(len(episodes))
        for start in np.unique(episodes.starts):
            own, others = episodes.starts == start, among.starts == start
            ranked[own] = quantiles(episodes.returns[own], among.returns[others], chances[others])
        last = flat.is_last
        rewards[flat.row[last], flat.column[last]] = ranked[flat.episode[last]]
    return replace(episodes, rewards=rewards)


def quantiles(returns: np.ndarray, among: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Return float64 of the shape of returns: the share of what is found among others that is at most each of them.

    Args:
        returns: any shape.
        among: (m,), the others.
        chances: (m,), how probable each of these is, up to a factor.
    """
    order = np.argsort(among)
    below = np.concatenate([[0.0], np.cumsum(chances[order]) / chances.sum()])
    return below[np.searchsorted(among[order], returns, side="right")]


def _value(
    agent: Agent,
    task: FiniteTask,
    claim: Objective,
    reference: Policy | None,
    behaviour: Policy | None,
    bounds: Bounds | None = None,
) -> Tensor:
    likelihood = claim.name == "likelihood" and behaviour is not None
    episodes, probabilities = bounded_episodes(task, behaviour if likelihood else agent.probabilities, bounds)
    if bounds is not None:
        reference = within(reference or uniform(task), bounds)
    batch = Batch.from_episodes(episodes)
    log_probs = batch.score(agent).log_probs
    said = log_probs.new_zeros(len(episodes)).index_add(0, batch.episodes[batch.rows], log_probs)
    if claim.name == "likelihood":
        return (torch.from_numpy(probabilities) * said).sum()
    chances = torch.from_numpy(probabilities) * torch.exp(said - said.detach())  # the task's draws carry no gradient
    returns = torch.from_numpy(paid(task, claim, episodes, reference).returns.astype(np.float64))
    flat = episodes.flat
    each = log_reference(reference, episodes, np.arange(len(flat)), task.vocabulary.num_actions)
    other = torch.from_numpy(np.bincount(flat.episode, each[np.arange(len(flat)), flat.action], len(episodes)))
    values = []
    for start in np.unique(episodes.starts):
        members = torch.from_numpy(np.flatnonzero(episodes.starts == start))
        begun = probabilities[members.numpy()].sum()
        own = (chances[members] / begun, said[members], other[members], returns[members])
        values.append(begun * claim.earned(*own))
    return torch.stack(values).sum()
