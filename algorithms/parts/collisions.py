"""Collisions: how likely two draws from the policy are the same token, which the size of a score follows from."""

from __future__ import annotations

import numpy as np
import torch

from ...agents import Agent
from ...agents.chunks import chunks
from ...agents.masks import opened
from ...agents.sampling import log_softmax, wide
from ..data import Batch, FlatTokens


@torch.no_grad()
def collision_probabilities(agent: Agent, batch: Batch, chunk_bytes: int | None = None) -> np.ndarray:
    """Return Σ_a π(a|s)² in the state of each token of ``batch``, float64 (N,), in chunks over the states."""
    where = (batch.tokens, batch.lengths, batch.rows, batch.columns)
    features = agent.features(*where, heads=("policy",), groups=batch.groups)[0]
    found = []
    for part in chunks(len(batch), agent.vocabulary.num_actions, limit=chunk_bytes):
        allowed = None if batch.masks is None else opened(batch.masks, part)
        log_probs = log_softmax(wide(agent.policy_logits(features[part])), allowed)
        found.append((2 * log_probs).exp().sum(-1))
    return torch.cat(found).double().cpu().numpy()


def squared_scores(flat: FlatTokens, probabilities: np.ndarray, collisions: np.ndarray) -> np.ndarray:
    """Return W_t = Σ_{j ≤ t} (1 − 2π_j + Σ_a π(a|s_j)²) along each episode, float64 (N,).

    It is the squared norm of the gradient of log π(a_0 … a_t) by the logits, where each state has logits of its own.
    """
    terms = 1 - 2 * probabilities + collisions
    sums = np.cumsum(terms)
    before = np.concatenate([[0.0], sums])[flat.episode_offsets[:-1]]
    return np.maximum(sums - before[flat.episode], 0.0)
