"""The KL to a reference policy: estimators from samples, and the coefficient that weighs it."""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent, ReferenceLogits
from ...envs.checking import Count, NotNegative, Positive, checked
from ..data import Batch
from .exponentials import exp_excess

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, Tensor)


@checked
def kl_estimate(log_ratio: ArrayOrTensor, estimator: Literal["k1", "k2", "k3"]) -> ArrayOrTensor:
    """Estimate KL(π ‖ π_ref) a token from samples of π (Schulman 2020, "Approximating KL divergence").

    With r = log π − log π_ref at the sampled token: k1 = r (unbiased), k2 = r²/2 (biased), k3 = e^(−r) − 1 + r
    (unbiased, never negative).

    As a loss, for a single token, k2 has the gradient of the KL, k3 that of the reverse KL, and k1 none. Summed over
    the tokens of an episode they have these gradients of each state's distribution alone: that earlier tokens lead to
    states with a larger KL is left out. So the sum of k2 has not the gradient of the episode's KL, and where a reward
    and that loss balance is not the KL-regularised optimum (arXiv 2506.09477). The half square of the whole episode's
    log-ratio, ½(Σ r)², would have that gradient. In the reward k1 has it.

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
        return self.agent.reference_logits(batch.tokens, batch.lengths, batch.rows, batch.columns)
