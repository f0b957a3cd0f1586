"""What part of a gain is length: the exact split of a score's gain and of a KL by the lengths of texts.

With ρ the reference, p the policy, ρ(ℓ) and p(ℓ) the probabilities of their lengths, and m_ρ(ℓ) and m_p(ℓ) their mean
scores among the texts of length ℓ,

    E_p[s] − E_ρ[s] = Σ ρ(ℓ)(m_p(ℓ) − m_ρ(ℓ)) + Σ (p(ℓ) − ρ(ℓ))·m_ρ(ℓ) + Σ (p(ℓ) − ρ(ℓ))(m_p(ℓ) − m_ρ(ℓ)):

what is gained at equal lengths, by length alone (the reference's own texts, drawn with the policy's lengths), and by
both together. The KL is that of the lengths and that of the texts among those of their length,

    KL(p ‖ ρ) = KL(p(ℓ) ‖ ρ(ℓ)) + Σ p(ℓ)·KL(p(·|ℓ) ‖ ρ(·|ℓ)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...envs.exact import divergence

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LengthSplit:
    """Where a gain comes from.

    Attributes:
        at_equal_lengths: What the policy's texts gain where they are drawn with the reference's lengths.
        by_length: What the reference's texts gain where they are drawn with the policy's lengths.
        by_both: What is left, because the policy's texts gain more at some lengths than at others.
    """

    at_equal_lengths: float
    by_length: float
    by_both: float

    @property
    def gain(self) -> float:
        """The whole gain."""
        return self.at_equal_lengths + self.by_length + self.by_both


def split_gain(
    scores: npt.ArrayLike, lengths: npt.NDArray[np.integer], probabilities: Array, log_reference: Array
) -> LengthSplit:
    """Return where the gain E_p[score] − E_ρ[score] comes from.

    Args:
        scores: One a text, (N,).
        lengths: Of the texts, (N,), at least 0.
        probabilities: The policy's, (N,).
        log_reference: The reference's logarithms, (N,). A length that either never writes gains nothing
            at equal lengths.
    """
    values, chance = np.asarray(scores, np.float64), np.exp(log_reference)
    before, after = np.bincount(lengths, chance), np.bincount(lengths, probabilities)
    of_reference = _mean(np.bincount(lengths, chance * values), before)
    of_policy = _mean(np.bincount(lengths, probabilities * values), after)
    better = np.where((before > 0) & (after > 0), of_policy - of_reference, 0.0)
    return LengthSplit(
        at_equal_lengths=float(before @ better),
        by_length=float((after - before) @ of_reference),
        by_both=float((after - before) @ better),
    )


def length_divergence(lengths: npt.NDArray[np.integer], probabilities: Array, log_reference: Array) -> float:
    """Return the part of KL(p ‖ ρ) that is the lengths' own, in nats."""
    before, after = np.bincount(lengths, np.exp(log_reference)), np.bincount(lengths, probabilities)
    with np.errstate(divide="ignore"):
        return divergence(after / after.sum(), np.log(before))


def _mean(sums: npt.NDArray, weights: npt.NDArray) -> Array:
    return np.divide(sums, weights, out=np.zeros(len(sums)), where=weights > 0)
