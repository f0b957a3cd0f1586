"""The KL to a reference policy: estimators from samples, and the coefficient that weighs it."""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent, ReferenceLogits
from ...agents.chunks import chunks
from ...agents.sampling import wide
from ...envs import TokenGymError
from ...envs.checking import Count, NotNegative, Positive, checked
from ..data import Batch
from .exponentials import exp_excess
from .soft import said_and_levels

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, Tensor)


Estimator = Literal["k1", "k2", "k3"]
"""How a log-ratio estimates a KL."""


@checked
def kl_estimate(log_ratio: ArrayOrTensor, estimator: Estimator) -> ArrayOrTensor:
    """Estimate KL(π ‖ π_ref) a token from samples of π (Schulman 2020, "Approximating KL divergence").

    With r = log π − log π_ref at the sampled token: k1 = r (unbiased), k2 = r²/2 (biased), k3 = e^(−r) − 1 + r
    (unbiased, never negative).

    As a loss, for a single token, k2 has the gradient of the KL, k3 that of the reverse KL, and k1 none. Summed over
    the tokens of an episode they have these gradients of each state's distribution alone: that earlier tokens lead to
    states with a larger KL is left out. So the sum of k2 has not the gradient of the episode's KL, and where a reward
    and that loss balance is not the KL-regularised optimum (arXiv 2506.09477). The half square of the whole episode's
    log-ratio, ½(Σ r)², has that gradient (see `kl_of_tokens`). In the reward k1 has it.

    Args:
        log_ratio: r, any shape.
        estimator: "k1", "k2" or "k3".

    Returns:
        The estimates, in the shape of ``log_ratio``.
    """
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return log_ratio**2 / 2
    # r far below 0 means a token that the policy has all but given up: its exp would overflow float32 at 89.
    if isinstance(log_ratio, Tensor):
        return exp_excess(-log_ratio)
    return exp_excess(torch.as_tensor(-log_ratio)).numpy().astype(log_ratio.dtype)


def kl_of_tokens(
    log_ratio: Tensor,
    estimator: Estimator | Literal["exact"],
    level: Literal["token", "sequence"] = "token",
    *,
    exact: Tensor | None = None,
    episode: Tensor | None = None,
) -> Tensor:
    """Estimate the KL along episodes, so that the sum over an episode's tokens estimates its KL.

    Args:
        log_ratio: r of each token said, (N,), whole episodes one after the other.
        estimator: of `kl_estimate`, or "exact": the KL of the whole distribution in the state of each token.
        level: whether each token is estimated, or each episode's Σ r as one number, which stands at its last token.
        exact: the exact KLs, (N,), for "exact".
        episode: int64 (N,), the episode of each token, ascending, for "sequence".

    Returns:
        (N,), in the graph of its arguments.
    """
    if estimator == "exact":
        assert exact is not None
        return exact
    if level == "token":
        return kl_estimate(log_ratio, estimator)
    assert episode is not None
    begins = torch.ones_like(episode, dtype=torch.bool)
    begins[1:] = episode[1:] != episode[:-1]
    place = torch.cumsum(begins, 0) - 1
    last = torch.nonzero(begins.roll(-1)).squeeze(1)  # where the next begins; behind the last one the first does
    sums = log_ratio.new_zeros(len(last)).index_add(0, place, log_ratio)
    return torch.zeros_like(log_ratio).index_copy(0, last, kl_estimate(sums, estimator))


class KLBudget:
    """The KL an episode at which learning ends.

    Args:
        limit: in nats; None never ends it.

    Attributes:
        spent: the KL as it was last measured, or None before.
    """

    @checked
    def __init__(self, limit: Positive | None = None) -> None:
        self.limit = limit
        self.spent: float | None = None

    @property
    def exceeded(self) -> bool:
        """Whether the last measured KL is above the limit."""
        return self.limit is not None and self.spent is not None and self.spent > self.limit

    def take(self, kl: float) -> None:
        """Take in the mean KL an episode of a collection, as it was before its update.

        Raises:
            TokenGymError: it is the first one, and above the limit: there is nothing to spend.
        """
        first, self.spent = self.spent is None, kl
        if first and self.exceeded:
            self.spent = None
            raise TokenGymError(
                f"kl_budget is {self.limit:g}, and before the first update the policy is {kl:.4g} nats an episode from "
                "its reference already. Raise kl_budget, or take a reference that is closer: the policy itself "
                "(kl_reference='initial', no reference=…)."
            )


class KLController:
    """The coefficient β: fixed, or steered to a target KL an episode (Ziegler et al. 2019, section 2.2).

    After n episodes with mean KL k: β ← β·(1 + clip(k/target − 1, −0.2, 0.2)·n/horizon), at least halved.
    """

    @checked
    def __init__(self, coef: NotNegative, target: Positive | None = None, horizon: Count = 10_000) -> None:
        self.coef = coef
        self.target = target
        self.horizon = horizon

    def update(self, kl: float, num_episodes: int) -> None:
        """Take in the mean KL an episode of ``num_episodes`` new episodes; a fixed coefficient stays."""
        if self.target is not None:
            error = min(max(kl / self.target - 1.0, -0.2), 0.2)
            # With more episodes than five horizons the rule itself would turn the coefficient negative.
            self.coef *= max(1.0 + error * num_episodes / self.horizon, 0.5)


class Reference(Protocol):
    """What the KL is measured against."""

    def logits(self, batch: Batch) -> ReferenceLogits:
        """Return a function that gives the logits (n, A) in a run of the states of ``batch``, as `Agent.score` asks."""
        ...


class UniformReference:
    """The uniform policy over the tokens that may be said."""

    @checked
    def __init__(self, num_actions: Count) -> None:
        self.num_actions = num_actions

    def logits(self, batch: Batch) -> ReferenceLogits:
        """Return a function that gives zeros (n, A)."""
        return lambda part: batch.log_probs.new_zeros(part.stop - part.start, self.num_actions)


class AgentReference:
    """A frozen agent; one teacher-forced pass a batch, without gradients."""

    @checked
    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def logits(self, batch: Batch) -> ReferenceLogits:
        """Read ``batch`` once; return a function that gives the logits (n, A), at the agent's own temperature."""
        return self.agent.reference_logits(batch.tokens, batch.lengths, batch.rows, batch.columns, batch.groups)


@torch.no_grad()
def log_probs_under(reference: Reference, batch: Batch, num_actions: int) -> Tensor:
    """Return float (N,), the log-probabilities of what is said in a batch under a reference, over A tokens."""
    logits, said = reference.logits(batch), []
    for run in chunks(len(batch), num_actions):
        masks = None if batch.masks is None else batch.masks.unpack(run)
        said.append(said_and_levels(wide(logits(run)), batch.actions[run], masks)[0])
    return torch.cat(said)
