"""Values and policies of methods whose optimum is soft: with an entropy bonus, or a KL to a reference.

Nothing here knows of networks: arrays of states ``(N, A)``, or of whole episodes, in, numbers out. Masks come with the
reference: a token that must not be said has a log-probability of minus infinity there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...envs import TokenGymError
from .stepping import Loss
from .targets import EpisodeGrid, at_actions, mask_illegal, n_step_targets

IMPOSSIBLE = -1e30
"""Log-probabilities below this are those of masked tokens: minus infinity, or the most negative finite number."""


def soft_values(
    q: Tensor,
    log_probs: Tensor,
    entropy_coef: float | Tensor = 0.0,
    kl_coef: float | Tensor = 0.0,
    reference_log_probs: Tensor | None = None,
) -> Tensor:
    """Value of each state under a stochastic policy with an entropy bonus and a KL penalty, ``(N,)``.

    ``V(s) = Σ_a π(a|s) [Q(s, a) − α log π(a|s) − β (log π(a|s) − log π_ref(a|s))]``, the exact expectation over all
    tokens: a sum over tokens, never a mean, which would scale it by ``1 / A`` (Christodoulou 2019).

    Args:
        q: ``(N, A)`` values of every token.
        log_probs: ``(N, A)`` log-probabilities of the policy; minus infinity, or hugely negative, at illegal tokens.
        entropy_coef: α.
        kl_coef: β; needs the reference unless it is 0.
        reference_log_probs: ``(N, A)`` log-probabilities of the reference, or None.

    Raises:
        TokenGymError: when the reference says never what the policy may say, as the KL is then infinite.
    """
    probs = log_probs.exp()
    # 0 · ∞ is 0 here: an impossible token has no share in the expectation.
    finite_log_probs = log_probs.masked_fill(probs == 0, 0.0)
    inner = q - entropy_coef * finite_log_probs
    if reference_log_probs is not None:
        finite_reference = reference_log_probs.masked_fill(probs == 0, 0.0)
        if bool((finite_reference < IMPOSSIBLE).any()):
            raise TokenGymError(
                "the reference gives probability 0 to a token that the policy may say, so their KL is infinite; "
                "expected a reference whose action masks are those of the policy"
            )
        inner = inner - kl_coef * (finite_log_probs - finite_reference)
    return (probs * inner.masked_fill(probs == 0, 0.0)).sum(-1)


def soft_optimal_values(q: Tensor, reference_log_probs: Tensor, kl_coef: float) -> Tensor:
    """Value of each state under soft Q-learning, ``β log Σ_a π_ref(a|s) e^{Q(s,a)/β}``, ``(N,)``.

    It is the largest value that `soft_values` takes over all policies (α = 0); `soft_optimal_log_probs` is
    the policy that takes it. Illegal tokens have a reference log-probability of minus infinity.
    """
    best, logits = _soft_optimal_logits(q, reference_log_probs, kl_coef)
    return best[:, 0] + kl_coef * torch.logsumexp(logits, -1)


def soft_optimal_log_probs(q: Tensor, reference_log_probs: Tensor, kl_coef: float) -> Tensor:
    """Log-probabilities ``(N, A)`` of the KL-regularised optimum ``π_ref e^{Q/β} / Z``."""
    return torch.log_softmax(_soft_optimal_logits(q, reference_log_probs, kl_coef)[1], -1)


def _soft_optimal_logits(q: Tensor, reference_log_probs: Tensor, kl_coef: float) -> tuple[Tensor, Tensor]:
    """The best value ``(N, 1)`` that the reference allows, and ``(Q − best) / β + log π_ref``, at most 0."""
    legal = reference_log_probs > IMPOSSIBLE
    best = mask_illegal(q, legal).amax(-1, keepdim=True)
    return best, mask_illegal((q - best) / kl_coef, legal) + reference_log_probs


def logit_q(logits: Tensor, reference_logits: Tensor | None, kl_coef: float) -> Tensor:
    """Q of every token from a policy's own logits, ``β (ℓ − ℓ_ref)``, in the shape of ``logits``; ``β ℓ`` without one.

    With `logit_values` for V, ``softmax(ℓ)`` is exactly ``π_ref e^{(Q − V)/β}``, over any set of legal tokens, and both
    are 0 where the policy is the reference. A constant added to all logits of a state is a constant added to Q and V,
    so logits must not be normalised on the way.
    """
    return kl_coef * (logits if reference_logits is None else logits - reference_logits)


def logit_values(logits: Tensor, reference_logits: Tensor, kl_coef: float, masks: Tensor | None = None) -> Tensor:
    """V of every state from a policy's own logits: ``β (logsumexp ℓ − logsumexp ℓ_ref)`` over legal tokens; ``(N,)``.

    It is `soft_optimal_values` of `logit_q`.
    """
    ours, reference = mask_illegal(logits, masks), mask_illegal(reference_logits, masks)
    return kl_coef * (torch.logsumexp(ours, -1) - torch.logsumexp(reference, -1))


def munchausen_bonuses(log_policies: Tensor, alpha: float, least: float | None = None) -> Tensor:
    """What Munchausen (Vieillard et al. 2020) pays for a token besides: ``α · max(λ log π(a|s), l₀)``.

    The policy is ``m e^{(Q − V)/λ}`` of a temperature λ and a measure m: 1 with an entropy, π_ref with a KL. Then
    ``λ log (π/m) = Q − V``, so that no logarithm of a small probability is taken. Where nothing is clipped,
    ``Q = r + α (Q − V) + γ V'`` says that ``(1 − α) Q + α V`` is the Q of temperature ``(1 − α) λ``, and π is the
    optimum of that one: the entropy or the KL to the reference weighs ``(1 − α) λ``, a KL to the last policy the rest.

    Args:
        log_policies: ``λ log (π/m)`` of the tokens said, ``Q − V`` under the slow network, any shape. With an entropy
            they are at most 0 by themselves; with a KL a token that π says more often than π_ref is paid for that.
        alpha: α, at least 0 and below 1.
        least: l₀, below 0; None does not clip. It is of ``λ log π`` and not of ``log π`` alone.
    """
    return alpha * (log_policies if least is None else log_policies.clamp(min=least))


def said_and_levels(logits: Tensor, actions: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the tokens said and the logsumexp of the legal logits, ``(N,)`` each.

    The difference of two policies' logsumexps, times β, is what `logit_values` gives.
    """
    level = torch.logsumexp(mask_illegal(logits, masks), -1)
    return at_actions(logits, actions) - level, level


def path_sums(paid: Tensor, grid: EpisodeGrid, gamma: float) -> Tensor:
    """Return ``Σ_t γ^t paid_t`` of each episode, ``(E,)``, with a gradient where ``paid (N,)`` has one."""
    if gamma != 1:
        paid = paid * torch.pow(torch.as_tensor(gamma, dtype=paid.dtype, device=paid.device), grid.step)
    return paid.new_zeros(grid.num_episodes).index_add(0, grid.episode, paid)


def path_returns(
    paid: Tensor, grid: EpisodeGrid, gamma: float, values: Tensor, final_values: Tensor, length: int | None = None
) -> Tensor:
    """Return what each token and all that follows it was paid, ``(N,)``, with a gradient where the arguments have one.

    With ``paid`` the reward less β times the log-ratio of policy and reference these are the soft returns of path
    consistency learning (Nachum et al. 2017): each equals V of its own state where the policy is optimal, whatever was
    said.

    Args:
        paid: ``(N,)``.
        grid: the episodes.
        gamma: discount a token.
        values: ``(N,)``, of the states in which stretches of ``length`` tokens end.
        final_values: ``(E,)``, of the states in which the episodes ended (0 where they terminated).
        length: tokens of a stretch; None goes on to the end of the episode.
    """
    if length is not None:
        return n_step_targets(paid, values, final_values, grid, length, gamma)
    padded = grid.pad(paid)
    if gamma == 1:
        to_go = padded.flip(1).cumsum(1).flip(1)
        return grid.flatten(to_go) + final_values[grid.episode]
    # Behind its end an episode is worth what its final state is: only there the columns hold anything but padding.
    last = grid.lengths - 1
    following, columns = final_values, []
    for step in range(grid.longest - 1, -1, -1):
        here = padded[:, step] + gamma * following
        following = torch.where(step <= last, here, final_values)
        columns.append(following)
    return grid.flatten(torch.stack(columns[::-1], 1))


def sampled_soft_values(returns: np.ndarray, beta: float) -> np.ndarray:
    """Return ``β log mean e^{R/β}`` along the last axis, float64: the optimal soft value as samples of a reference say.

    The logarithm of a mean lies below the mean's own, so with finitely many samples it is too low on average.
    """
    scaled = np.asarray(returns, np.float64) / beta
    best = scaled.max(-1, keepdims=True)
    return beta * (best[..., 0] + np.log(np.exp(scaled - best).mean(-1)))


def quantiles_among(returns: np.ndarray | float, samples: np.ndarray) -> np.ndarray:
    """Return the share of samples that are at most each return, float64 of the shape of the returns."""
    ordered = np.sort(np.asarray(samples))
    return np.searchsorted(ordered, np.asarray(returns), side="right") / len(ordered)


def log_partitions(beta: float, samples: np.ndarray | None = None) -> float:
    """Return ``log E_ref[e^{q/β}]``, q the quantile of a return among the reference's own.

    Args:
        beta: above 0.
        samples: float (N,), returns of the reference, over whose own quantiles the mean is taken; None takes q as
            uniform, ``log β(e^{1/β} − 1)``, which it is where no two returns are equal.
    """
    if samples is None:
        return float(1 / beta + np.log(beta) + np.log1p(-np.exp(-1 / beta)))
    scaled = quantiles_among(samples, samples) / beta
    return float(scaled.max() + np.log(np.exp(scaled - scaled.max()).mean()))


def ranked_aims(
    returns: np.ndarray,
    starts: np.ndarray,
    samples: Mapping[int, np.ndarray],
    beta: float,
    partition: Literal["continuous", "sampled"],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the quantiles q of episodes, and what QRPO holds β log π/π_ref against, q − β log Z, float64 (E,) each.

    Args:
        returns: float (E,).
        starts: uint64 (E,), where they began.
        samples: by start, float (N,), returns of the reference from there.
        beta: above 0.
        partition: whether log Z is that of returns of which no two are equal, or of the samples; see `log_partitions`.
    """
    quantiles, partitions = np.zeros(len(returns)), np.zeros(len(returns))
    for start in np.unique(starts).tolist():
        own = starts == start
        quantiles[own] = quantiles_among(returns[own], samples[start])
        partitions[own] = log_partitions(beta, samples[start] if partition == "sampled" else None)
    return quantiles, quantiles - beta * partitions


def consistency_loss(
    residuals: Tensor, count: int, log_ratio: Tensor, num_episodes: int, named: Mapping[str, Tensor]
) -> Loss:
    """Return ½ the mean square of what vanishes at a soft optimum, of a part of a batch.

    Args:
        residuals: float, of the part's tokens or episodes.
        count: how many there are in the whole batch.
        log_ratio: float, log π/π_ref, of the part's tokens or summed by episode.
        num_episodes: of the whole batch.
        named: what the residuals were made of, in the order of computing, to name what diverged.
    """
    total = residuals.square().sum() / (2 * count)
    return Loss(
        total,
        terms={
            "path/loss": total.detach(),
            "path/residual": residuals.detach().abs().sum() / count,
            "path/log_ratio": log_ratio.detach().sum() / num_episodes,
        },
        named={**named, "log_ratio": log_ratio, "residuals": residuals},
    )
