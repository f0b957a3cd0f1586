"""Surrogates: what takes the place of log π in losses on tokens of an older policy; one value a token."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .exponentials import bounded_exp

Ratio = Literal["none", "token", "sequence", "geometric"]
"""What is weighed against the old policy, see `surrogate`."""


def episode_sums(values: Tensor, episode: Tensor) -> Tensor:
    """Return for each token the sum over the tokens of its episode, (N,); arguments as for `episode_means`."""
    place = torch.unique_consecutive(episode, return_inverse=True)[1]
    return values.new_zeros(int(place[-1]) + 1).index_add(0, place, values)[place]


def episode_means(values: Tensor, episode: Tensor) -> Tensor:
    """Return for each token the mean over the tokens of its episode, (N,), in the graph of ``values``.

    Args:
        values: (N,).
        episode: int64 (N,), ascending: the episode of each token.
    """
    place = torch.unique_consecutive(episode, return_inverse=True)[1]
    counts = torch.bincount(place)
    sums = values.new_zeros(len(counts)).index_add(0, place, values)
    return (sums / counts)[place]


def surrogate(
    ratio: Ratio,
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    low: float,
    high: float,
    episode: Tensor | None = None,
    detached: bool = False,
) -> Tensor:
    """The loss of each token, (N,), whose gradient where the policies are equal is −A·∇log π on average an episode.

    Args:
        ratio: "none": −A·log π, whatever the old policy was; "token": −min(ρA, clip(ρ)A) (PPO); "sequence": the same of
            the episode's s = exp(mean log ρ), which all its tokens share (GSPO); "geometric": −A·exp(mean log m), where
            m is ρ, or the bound that it has passed in A's direction (GMPO).
        log_probs: log π, (N,).
        old_log_probs: log π_old, (N,).
        advantages: A, (N,); for "geometric" equal in sign within an episode.
        low: 1 − ε below, from 0.
        high: 1 + ε above.
        episode: int64 (N,), ascending, for "sequence" and "geometric".
        detached: −sg(clip(ρ))·A·log π, so that no token loses its gradient (CISPO); with "token" or "sequence".
    """
    if ratio == "none":
        return -advantages * log_probs
    log_ratio = log_probs - old_log_probs
    if ratio == "geometric":
        assert episode is not None
        bounds = torch.tensor([low, high], dtype=log_ratio.dtype, device=log_ratio.device).log()
        # min(ρA, clip(ρ)A) is A times this: only the bound in A's direction holds.
        held = torch.where(advantages >= 0, log_ratio.clamp(max=bounds[1]), log_ratio.clamp(min=bounds[0]))
        return -advantages * bounded_exp(episode_means(held, episode))
    if ratio == "sequence":
        assert episode is not None
        log_ratio = episode_means(log_ratio, episode)
    weight = bounded_exp(log_ratio)
    if detached:
        return -weight.detach().clamp(low, high) * advantages * log_probs
    return -torch.minimum(weight * advantages, weight.clamp(low, high) * advantages)


def divergence_surrogate(
    log_probs: Tensor, behaviour_log_probs: Tensor, advantages: Tensor, low: float, high: float, cap: float
) -> Tensor:
    """−sg(min(ρ, C))·A·log π of each token, (N,), or 0 where π − μ has passed a bound in A's direction (DPPO).

    The bound is on probabilities: the total variation between "this token" and "another one" under both policies. A
    rare token may become many times as likely, where a clip of the ratio ρ = π/μ would stop it at once.

    Args:
        log_probs: log π, (N,).
        behaviour_log_probs: log μ, (N,).
        advantages: A, (N,).
        low: how far π may fall below μ where A < 0.
        high: how far it may rise above where A > 0.
        cap: C.
    """
    now = log_probs.detach()
    moved = now.exp() - behaviour_log_probs.exp()
    passed = torch.where(advantages > 0, moved > high, moved < -low)
    weights = bounded_exp(now - behaviour_log_probs).clamp(max=cap).masked_fill(passed, 0.0)
    return -weights * advantages * log_probs


def tapered_surrogate(log_probs: Tensor, behaviour_log_probs: Tensor, advantages: Tensor, episode: Tensor) -> Tensor:
    """−α·A·log π of each token, (N,): α is 1 where A ≥ 0, else sg(min(π/μ, 1)) of the whole episode (TOPR).

    Args:
        log_probs: log π, (N,).
        behaviour_log_probs: log μ, (N,).
        advantages: A, (N,), equal within an episode.
        episode: int64 (N,), ascending: whole episodes.
    """
    kept = torch.exp(episode_sums(log_probs.detach() - behaviour_log_probs, episode).clamp(max=0.0))
    return -torch.where(advantages < 0, kept, torch.ones_like(kept)) * advantages * log_probs


def importance_weights(
    log_ratio: Tensor,
    kind: Literal["truncate", "mask"],
    level: Literal["token", "sequence"],
    cap: float,
    floor: float,
    episode: Tensor,
) -> Tensor:
    """Weights π_old/μ of tokens that μ said, (N,), without a gradient, kept within bounds.

    Args:
        log_ratio: log π_old − log μ, (N,).
        kind: "truncate": the smaller of the weight and ``cap`` (TIS); "mask": the weight, 0 outside of ``floor`` …
            ``cap`` (IcePop).
        level: of each token, or of the whole episode, the product of its tokens' weights.
        cap: the largest weight.
        floor: the smallest, for "mask".
        episode: int64 (N,), ascending.
    """
    if level == "sequence":
        log_ratio = episode_sums(log_ratio, episode)
    weights = bounded_exp(log_ratio.detach())
    if kind == "truncate":
        return weights.clamp(max=cap)
    return weights.masked_fill((weights < floor) | (weights > cap), 0.0)
