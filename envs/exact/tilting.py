"""Distributions over finitely many outcomes, pushed towards a score: the exact frontiers of optimisation.

An outcome is a whole episode of a task that is small enough to list them all. `tilted` is where reinforcement learning
with a KL penalty ends, `best_of_draws` what best-of-n draws: how much of another score survives either is then a sum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, finite_number, positive_int

Array = npt.NDArray[np.float64]


def tilted(scores: npt.ArrayLike, beta: float, log_reference: npt.ArrayLike | None = None) -> Array:
    """Return the distribution with the largest E[score] − β·KL to the reference: reference · exp(score/β), normalised.

    Args:
        scores: One an outcome, shape (N,).
        beta: Weight of the KL divergence, above 0.
        log_reference: Log-probabilities of the outcomes under the reference, shape (N,); uniform by default.

    Returns:
        Probabilities, float64 (N,).

    Raises:
        TokenGymError: For scores that are not finite, a reference that is none, or a β that is not above 0.
    """
    found, reference = _checked(scores, log_reference)
    if finite_number("beta", beta) <= 0:
        raise TokenGymError(f"beta={beta!r}: give a number above 0; towards 0 only the highest score remains")
    weight = reference + found / beta
    weight = np.exp(weight - weight.max())
    return weight / weight.sum()


def best_of_draws(scores: npt.ArrayLike, n: int, log_reference: npt.ArrayLike | None = None) -> Array:
    """Return the distribution of the highest-scored of n draws from the reference, ties broken by a fair draw.

    Args:
        scores: One an outcome, shape (N,).
        n: How many are drawn, at least 1.
        log_reference: Log-probabilities of the outcomes under the reference, shape (N,); uniform by default.

    Returns:
        Probabilities, float64 (N,).

    Raises:
        TokenGymError: For scores that are not finite, a reference that is none, or an n below 1.
    """
    found, reference = _checked(scores, log_reference)
    positive_int("n", n)
    chance = np.exp(reference)
    _, level = np.unique(found, return_inverse=True)
    of_level = np.bincount(level, chance)
    # From above, so that a level of tiny probability at the top keeps its digits: P(best > level) = 1 − (1 − above)^n.
    at_or_above = np.minimum(of_level[::-1].cumsum()[::-1], 1.0)
    with np.errstate(divide="ignore"):
        reached = -np.expm1(n * np.log1p(-at_or_above))
    won = reached - np.append(reached[1:], 0.0)
    return won[level] * np.divide(chance, of_level[level], out=np.zeros_like(chance), where=of_level[level] > 0)


def divergence(probabilities: npt.ArrayLike, log_reference: npt.ArrayLike | None = None) -> float:
    """Return KL(probabilities ‖ reference) in nats; inf where the reference excludes what has a probability."""
    found, reference = _checked(probabilities, log_reference)
    said = found > 0
    return max(0.0, float((found[said] * (np.log(found[said]) - reference[said])).sum()))


def _checked(scores: npt.ArrayLike, log_reference: npt.ArrayLike | None) -> tuple[Array, Array]:
    """Return one number an outcome, and the reference's log-probabilities, normalised."""
    found = np.asarray(scores, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise TokenGymError(f"expected one finite number an outcome, shape (N,), got shape {found.shape}")
    if log_reference is None:
        return found, np.full(len(found), -np.log(len(found)))
    reference = np.asarray(log_reference, np.float64)
    with np.errstate(invalid="ignore"):
        total = np.exp(reference).sum() if reference.shape == found.shape else np.nan
    if not abs(total - 1) < 1e-6:
        raise TokenGymError(
            f"log_reference of shape {reference.shape} holds probabilities with the sum {total:.6g}; expected the "
            f"logarithms of {len(found)} that sum to 1"
        )
    return found, reference - np.log(total)
