"""Likelihood: what cloning, fine-tuning and learning from the best samples descend, −Σ w·log π."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...agents import Agent
from ..data import Batch, Episodes
from .losses import token_weights
from .stepping import Loss


@dataclass(frozen=True, eq=False)
class Weighed:
    """A batch and how much each of its tokens counts.

    Attributes:
        batch: the tokens.
        weights: float (N,), which sum to 1.
        metrics: what was seen of the episodes.
    """

    batch: Batch
    weights: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


def weigh(
    episodes: Episodes, kind: Literal["token", "sequence"], agent: Agent, metrics: dict[str, float] | None = None
) -> Weighed:
    """Weigh the tokens that were said in some episodes, see `token_weights`, for an agent that is to say them."""
    batch = Batch.from_episodes(episodes, agent.device)
    lengths = torch.as_tensor(episodes.episode_lengths, device=agent.device)
    episode = torch.as_tensor(episodes.flat.episode, device=agent.device)
    dtype = torch.float64 if agent.dtype == torch.float64 else torch.float32
    return Weighed(batch, token_weights(kind, lengths, episode, 1, dtype), metrics or {})


def negative_log_likelihood(agent: Agent, part: Batch, prepared: Weighed) -> Loss:
    """−Σ w·log π over the tokens of ``part``, all of what was weighed or some of its sequences."""
    scores, weights = part.score(agent), prepared.weights[part.index] * part.scale
    nll = -(weights * scores.log_probs).sum()
    entropy = (weights * scores.entropy.detach()).sum()
    return Loss(nll, terms={"policy/loss": nll, "policy/entropy": entropy}, named={"log_probs": scores.log_probs})


NOTHING_CHOSEN = "the episodes that are kept are no better than the others: the policy learns to say what it says"
"""What it means for those who keep the best where all are equal."""


def compared_within(episodes: Episodes, within: Literal["group", "collection"]) -> np.ndarray:
    """Return which episodes are compared with each other, int64 (E,): those of one start, or all."""
    return np.unique(episodes.starts, return_inverse=True)[1] if within == "group" else np.zeros(len(episodes), int)


def best_episodes(episodes: Episodes, keep: float, within: Literal["group", "collection"]) -> np.ndarray:
    """Return which episodes have the highest returns, int64 (k,), in their order; of equal ones the earlier.

    Args:
        episodes: what was played.
        keep: the share to keep, at least one of each group or of all.
        within: compare those that share a start, or all.
    """
    returns, group = episodes.returns, compared_within(episodes, within)
    order = np.lexsort((np.arange(len(returns)), -returns, group))
    sizes = np.bincount(group)
    begins = np.cumsum(sizes) - sizes
    place = np.arange(len(order)) - begins[group[order]]
    wanted = np.maximum(1, np.round(keep * sizes)).astype(int)
    return np.sort(order[place < wanted[group[order]]])
