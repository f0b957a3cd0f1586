"""What the estimators of a KL come to on a policy whose episodes can be listed: means, variances, gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...algorithms.data import Batch
from ...algorithms.parts import AgentReference, UniformReference, kl_of_tokens
from ...envs import FiniteTask
from ...envs.checking import checked
from .enumeration import Policy, all_episodes
from .tables import table_agent

Level = Literal["token", "sequence"]
KINDS: tuple[tuple[str, Level], ...] = (
    ("k1", "token"),
    ("k2", "token"),
    ("k3", "token"),
    ("exact", "token"),
    ("k2", "sequence"),
    ("k3", "sequence"),
)
"""Estimators and what they are of; the sum of k1 is the same for both."""


@dataclass(frozen=True)
class Estimator:
    """An estimator of an episode's KL, from one episode.

    Attributes:
        name: "k1", "k2", "k3" or "exact" (the sum of the KLs in the states that were passed).
        level: of each token's log-ratio, or of the whole episode's.
        mean: its expectation.
        variance: its variance.
        loss_bias: how far the expected gradient of it as a loss is from that of the KL, as a share of that one's norm.
        reward_bias: the same of the policy gradient with it taken off the rewards.
        both_bias: the same of both added up, which is the gradient of its expectation.
    """

    name: str
    level: Level
    mean: float
    variance: float
    loss_bias: float
    reward_bias: float
    both_bias: float


@checked
def kl_estimators(task: FiniteTask, policy: Policy, reference: Policy | None = None) -> tuple[float, list[Estimator]]:
    """Return the exact KL an episode of a policy, and what each estimator makes of it.

    Args:
        task: of context "episode".
        policy: probabilities (m, A) from tokens (m, L) and lengths (m,), none of them 0.
        reference: what the KL is to; None is uniform.
    """
    episodes, probabilities = all_episodes(task, policy)
    agent = table_agent(task, policy)
    batch = Batch.from_episodes(episodes)
    other = (
        UniformReference(task.vocabulary.num_actions)
        if reference is None
        else AgentReference(table_agent(task, reference))
    )
    scores = batch.score(agent, reference=other.logits(batch))
    assert scores.kl is not None and scores.reference_log_probs is not None
    chance, number = torch.from_numpy(probabilities), batch.episodes[batch.rows]
    log_ratio = scores.log_probs - scores.reference_log_probs
    weights = agent.readouts["policy"].weight
    assert isinstance(weights, Tensor)

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, weights, retain_graph=True)[0].flatten()

    def of_episodes(tokens: Tensor) -> Tensor:
        return tokens.new_zeros(len(chance)).index_add(0, number, tokens)

    said = of_episodes(scores.log_probs)
    exact = (chance * of_episodes(scores.kl)).sum().item()
    # ∇ Σ p·f with p = Π π(…) of the policy's own tokens: the chances of the task's own draws carry no gradient.
    right = gradient((chance * torch.exp(said - said.detach()) * of_episodes(log_ratio)).sum())
    found = []
    for name, level in KINDS:
        tokens = kl_of_tokens(log_ratio, name, level, exact=scores.kl, episode=number)  # pyright: ignore[reportArgumentType]
        values = of_episodes(tokens)
        mean = (chance * values).sum().item()
        as_loss = gradient((chance * values).sum())
        in_reward = gradient((chance * said * values.detach()).sum())
        errors = (float((g - right).norm() / right.norm()) for g in (as_loss, in_reward, as_loss + in_reward))
        variance = (chance * (values.detach() - mean) ** 2).sum().item()
        found.append(Estimator(name, level, mean, variance, *errors))
    return exact, found
