"""Losses: the pure parts that on-policy objectives are made of, one value a token."""

from __future__ import annotations

import torch
from torch import Tensor

from .exponentials import bounded_exp, exp_excess


def clipped_surrogate(log_ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's clipped surrogate loss (Schulman et al. 2017, equation 7): −min(ρA, clip(ρ, 1 − ε, 1 + ε)A).

    Args:
        log_ratio: log ρ = log π − log π_old, (N,).
        advantages: A, (N,).
        clip: ε; infinity turns clipping off.

    Returns:
        The losses, (N,).
    """
    ratio = bounded_exp(log_ratio)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def value_errors(values: Tensor, targets: Tensor, old_values: Tensor, clip: float | None = None) -> Tensor:
    """Half squared errors ½(V − R)²; with ``clip`` the larger of that and the error of V clipped around the old V.

    Args:
        values: V, (N,).
        targets: R, (N,).
        old_values: V when the tokens were said, (N,).
        clip: how far V may move from there before its gradient stops; None does not clip.

    Returns:
        The losses, (N,).
    """
    errors = values - targets
    if clip is not None:
        clipped = old_values + (values - old_values).clamp(-clip, clip) - targets
        # Chosen by size before squaring: two squares beyond the type's range would tie at infinity.
        errors = torch.where(errors.abs() >= clipped.abs(), errors, clipped)
    return errors**2 / 2


def expectile_errors(values: Tensor, targets: Tensor, expectile: float) -> Tensor:
    """Squared errors ``|τ − 1(u < 0)|·u²`` of ``u = targets − V`` (Kostrikov et al. 2022): V becomes an expectile.

    Args:
        values: V, (N,).
        targets: what it is an expectile of, (N,).
        expectile: τ; .5 is half the squared error, whose best V is the mean, towards 1 it is the largest target.

    Returns:
        The losses, (N,).
    """
    errors = targets - values
    return (expectile - (errors < 0).to(errors.dtype)).abs() * errors**2


def conservative_gaps(q: Tensor, actions: Tensor, masks: Tensor | None = None) -> Tensor:
    """How far the soft maximum of Q is above what was said: ``log Σ_a e^{Q(s,a)} − Q(s, a_said)`` (Kumar et al. 2020).

    It is the cross-entropy of softmax(Q), over what may be said, with what was.

    Args:
        q: ``(N, A)``.
        actions: int64 ``(N,)``.
        masks: bool ``(N, A)`` of what may be said, or None.

    Returns:
        ``(N,)``, at least 0.
    """
    allowed = q if masks is None else q.masked_fill(~masks, -torch.inf)
    return torch.logsumexp(allowed, -1) - q.gather(-1, actions[:, None])[:, 0]


def token_weights(
    kind: str, lengths: Tensor, episode: Tensor, max_tokens: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Weight of each token in a loss, so that the loss of a batch is Σ weight·loss over its tokens.

    Args:
        kind: "token" weighs all tokens alike (1/N); "sequence" weighs all episodes alike, which favours the tokens of
            short ones (1/(E·length)); "constant" divides the sum of each episode by the longest that an episode can
            be, which favours none (1/(E·max_tokens)); "sum" takes the mean over episodes of these sums (1/E).
        lengths: the number of agent tokens an episode, (E,).
        episode: the episode of each token, (N,).
        max_tokens: the most agent tokens that an episode can have.
        dtype: of the weights.

    Returns:
        float (N,).
    """
    if kind == "sequence":
        return 1.0 / (lengths[episode].to(dtype) * len(lengths))
    divisor = {"token": len(episode), "constant": max_tokens * len(lengths), "sum": len(lengths)}[kind]
    return torch.full((len(episode),), 1.0 / divisor, dtype=dtype, device=lengths.device)


def ratio_metrics(log_ratio: Tensor, low: float, high: float) -> dict[str, float]:
    """Return how far a policy has moved from the one that spoke, and how much of it lies outside of ``low`` … ``high``.

    Args:
        log_ratio: float (n,), log π/π_old of the tokens of a step.
        low: what a ratio is clipped to from below.
        high: what it is clipped to from above.
    """
    ratio = bounded_exp(log_ratio)
    return {
        "policy/approx_kl": float(exp_excess(log_ratio).mean()),
        "policy/clip_fraction": float(((ratio < low) | (ratio > high)).float().mean()),
        "policy/ratio_mean": float(ratio.mean()),
        "policy/ratio_max": float(ratio.max()),
    }
