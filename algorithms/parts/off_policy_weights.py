"""V-trace: values and advantages of a policy from what another one said, with weights that are truncated."""

from __future__ import annotations

import numpy as np

from ...envs.checking import Share, checked
from ..data import FlatTokens
from .advantages import discounted_sums, following


@checked
def vtrace(
    flat: FlatTokens,
    rewards: np.ndarray,
    values: np.ndarray,
    final_values: np.ndarray,
    log_ratio: np.ndarray,
    gamma: Share,
    rho_cap: float,
    trace_cap: float,
    lam: Share = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """V-trace (Espeholt et al. 2018, equations 1 and 4) over the agent's tokens.

    With δ_t = r_t + γ·V_{t+1} − V_t, ρ_t = min(ρ̄, π/μ) and c_t = λ·min(c̄, π/μ), the targets are
    v_t = V_t + ρ_t·δ_t + γ·c_t·(v_{t+1} − V_{t+1}), and the advantages ρ_t·(r_t + γ·v_{t+1} − V_t). The targets rest at
    the value of the policy that says a token in proportion to min(ρ̄·μ, π); c̄ changes only how fast they come there.

    Args:
        flat: the tokens.
        rewards: float (N,), what the update learns from.
        values: float (N,), the value before each token.
        final_values: float (E,), the value in each episode's final state; ignored where it terminated.
        log_ratio: float (N,), log π − log μ of each token.
        gamma: discount a token.
        rho_cap: ρ̄.
        trace_cap: c̄.
        lam: λ.

    Returns:
        float (N,) advantages, and float (N,) value targets, in the precision of the tokens' rewards.
    """
    precision = np.result_type(np.float32, flat.reward, flat.log_prob)
    values = np.asarray(values, np.float64)
    ratio = np.asarray(log_ratio, np.float64)
    rho = np.exp(np.minimum(ratio, np.log(rho_cap)))
    traces = lam * np.exp(np.minimum(ratio, np.log(trace_cap)))
    rewards = np.asarray(rewards, np.float64)
    errors = rho * (rewards + gamma * following(flat, values, final_values) - values)
    targets = values + discounted_sums(flat, errors, gamma * traces)
    advantages = rho * (rewards + gamma * following(flat, targets, final_values) - values)
    return advantages.astype(precision), targets.astype(precision)
