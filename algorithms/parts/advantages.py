"""Advantages and returns along the agent's tokens, on flat arrays."""

from __future__ import annotations

import numpy as np

from ...envs.checking import Share, checked
from ..data import FlatTokens

NEGLIGIBLE = 1e-7
"""A standard deviation below this share of the largest value is the rounding of float32: the values do not vary."""


@checked
def gae(
    flat: FlatTokens,
    rewards: np.ndarray,
    values: np.ndarray,
    final_values: np.ndarray,
    gamma: Share,
    lam: Share,
) -> tuple[np.ndarray, np.ndarray]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16) over the agent's tokens.

    δ_t = r_t + γ·V_{t+1} − V_t and A_t = δ_t + γλ·A_{t+1}, where t counts the tokens that the agent said, whatever
    stood between them. After the last one V is 0 if the episode terminated and the value of the final state if it was
    truncated.

    Args:
        flat: the tokens.
        rewards: float (N,), what the update learns from.
        values: float (N,), the value before each token.
        final_values: float (E,), the value in each episode's final state; ignored where it terminated.
        gamma: discount a token.
        lam: λ; 0 trusts the critic after one token, 1 is the return less the value.

    Returns:
        float (N,) advantages, and float (N,) value targets A + V, in the precision of the tokens' rewards.
    """
    precision = np.result_type(np.float32, flat.reward, flat.log_prob)
    rewards = np.asarray(rewards, np.float64)
    values = np.asarray(values, np.float64)
    errors = rewards + gamma * following(flat, values, final_values) - values
    advantages = discounted_sums(flat, errors, gamma * lam)
    return advantages.astype(precision), (advantages + values).astype(precision)


@checked
def returns_to_go(
    flat: FlatTokens, gamma: Share, rewards: np.ndarray | None = None, final_values: np.ndarray | None = None
) -> np.ndarray:
    """Discounted sum of the rewards from each token to the end of its episode, float64 (N,).

    Args:
        flat: the tokens.
        gamma: discount a token.
        rewards: float (N,); None takes the task's.
        final_values: float (E,), added after the end of episodes that were truncated; None adds nothing.
    """
    rewards = np.array(flat.reward if rewards is None else rewards, np.float64)
    if final_values is not None:
        last_episode = flat.episode[flat.is_last]
        rewards[flat.is_last] += gamma * np.where(flat.terminated, 0.0, final_values)[last_episode]
    return discounted_sums(flat, rewards, gamma)


def following(flat: FlatTokens, values: np.ndarray, final_values: np.ndarray) -> np.ndarray:
    """Return what comes behind each token, float64 (N,).

    Args:
        flat: the tokens.
        values: float (N,), of which it is the next token's.
        final_values: float (E,), of which it is the episode's behind its last token; 0 where it terminated.
    """
    behind = np.empty(len(flat), np.float64)
    behind[:-1] = values[1:]
    behind[flat.is_last] = np.where(flat.terminated, 0.0, final_values)[flat.episode[flat.is_last]]
    return behind


@checked
def discounted_sums(flat: FlatTokens, terms: np.ndarray, factor: Share | np.ndarray) -> np.ndarray:
    """Return S_t = terms_t + factor_t·S_{t+1} along each episode, float64 (N,).

    All episodes run backwards side by side, padded to the longest: T vector steps in place of N scalar ones.

    Args:
        flat: the tokens.
        terms: float (N,).
        factor: one for all tokens, or float (N,).
    """
    num_episodes = len(flat.terminated)
    horizon = int(flat.step.max()) + 1 if len(flat) else 0
    # Time comes first so that each step reads and writes one contiguous row; zeros after the end change nothing.
    sums = np.zeros((horizon + 1, num_episodes))
    sums[flat.step, flat.episode] = terms
    factors = np.zeros((horizon, num_episodes))
    factors[flat.step, flat.episode] = factor
    for t in range(horizon - 1, -1, -1):
        sums[t] += factors[t] * sums[t + 1]
    return sums[flat.step, flat.episode]


@checked
def whiten(values: np.ndarray, keep_mean: bool = False) -> np.ndarray:
    """Scale to a standard deviation of 1, and shift to a mean of 0 unless ``keep_mean``.

    Args:
        values: float (N,) over the agent's tokens; there is nothing else in flat arrays to dilute the statistics.
        keep_mean: scale around the mean, as Ziegler et al. 2019 do with rewards.

    Returns:
        float (N,) of the type of the values; zeros (or the mean) where they do not vary.
    """
    precision = np.asarray(values).dtype
    values = np.asarray(values, np.float64)
    if not len(values):
        return values.astype(precision)
    mean, deviation = values.mean(), values.std()
    if deviation <= NEGLIGIBLE * np.abs(values).max():
        whitened = np.zeros_like(values)
    else:
        whitened = (values - mean) / (deviation + 1e-8)
    return (whitened + mean if keep_mean else whitened).astype(precision)
