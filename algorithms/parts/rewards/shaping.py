"""Shaping: what is made of a task's rewards before anything is learnt from them, one number a token."""

from __future__ import annotations

import numpy as np

from ....envs.checking import NotNegative, Share, checked
from ...data import FlatTokens

Rewards = np.ndarray
"""float64 (N,), over the agent's tokens of whole episodes."""


@checked
def missing_end_penalties(flat: FlatTokens, end: int, penalty: NotNegative) -> Rewards:
    """The penalty at the last token of each episode that does not end with the token ``end`` (Ziegler et al. 2019)."""
    return penalty * (flat.is_last & (flat.action != end)).astype(np.float64)


@checked
def length_penalties(flat: FlatTokens, penalty: NotNegative, free: int = 0) -> Rewards:
    """The penalty at every token of the agent's beyond the first ``free`` of its episode.

    Their sum grows linearly with what is too long, as DAPO's over-length penalty does (Yu et al. 2025); each token pays
    for itself, so that credit needs no way back.
    """
    return penalty * (flat.step >= free).astype(np.float64)


@checked
def potential_shaping(
    flat: FlatTokens, potentials: np.ndarray, gamma: Share, final_potentials: np.ndarray | None = None
) -> Rewards:
    """Return F_t = γ·Φ_{t+1} − Φ_t, which leaves the best policies what they are (Ng et al. 1999).

    Args:
        flat: the tokens.
        potentials: Φ before each token, (N,).
        gamma: the discount a token of whoever learns.
        final_potentials: Φ in each episode's final state, (E,); taken where the episode was truncated, since behind an
            end there is nothing. None is 0.
    """
    following = np.zeros(len(flat))
    following[:-1] = potentials[1:]
    ends = np.zeros(len(flat.terminated)) if final_potentials is None else np.asarray(final_potentials, np.float64)
    following[flat.is_last] = np.where(flat.terminated, 0.0, ends)[flat.episode[flat.is_last]]
    return gamma * following - np.asarray(potentials, np.float64)
