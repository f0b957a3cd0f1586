"""How often one number orders pairs as another does, exactly, and how well a signal tells of an event."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def right_share(scores: Array, truth: Array, first: Array, second: Array | None = None) -> Array:
    """Return the probability that scores order two outcomes as the truth does, exactly, of pairs whose truths differ.

    A tie of scores counts half. All N² pairs are counted, in N·log² N steps.

    Args:
        scores: one an outcome, shape (N,).
        truth: one an outcome, shape (N,).
        first: distributions over the outcomes that the one of a pair is drawn from, shape (K, N).
        second: those that the other is drawn from, independently, shape (K, N); by default the same.

    Returns:
        float64 (K,), NaN where no two outcomes differ in truth.
    """
    second = first if second is None else second
    _, rank = np.unique(scores, return_inverse=True)
    _, level = np.unique(truth, return_inverse=True)
    # Outcomes that tie in truth stand in the order in which they are never counted.
    right = _ascents(np.lexsort((-rank, level)), rank, first, second)
    wrong = _ascents(np.lexsort((rank, level)), -rank, first, second)
    of_level = [np.array([np.bincount(level, row) for row in part]) for part in (first, second)]
    differ = first.sum(axis=1) * second.sum(axis=1) - (of_level[0] * of_level[1]).sum(axis=1)
    known = differ > 1e-12
    return np.where(known, 0.5 + 0.5 * (right - wrong) / np.where(known, differ, 1.0), np.nan)


def _ascents(order: npt.NDArray[np.intp], values: npt.NDArray[np.integer], first: Array, second: Array) -> Array:
    """Return the weight (K,) of the pairs of which the one that stands earlier in the order has the smaller value."""
    count = len(order)
    size = 1 << max(0, count - 1).bit_length()
    keys = np.zeros(size, np.int64)
    keys[:count] = values[order]
    weights = np.zeros((2, len(first), size))
    weights[0, :, :count], weights[1, :, :count] = first[:, order], second[:, order]
    total = np.zeros(len(first))
    half = 1
    while half < size:
        later = np.tile(np.arange(2 * half) >= half, (size // (2 * half), 1))
        # Of equal values the later one comes first, so that it is not counted.
        sorting = np.lexsort((~later, keys.reshape(later.shape)), axis=1)
        places = (sorting + 2 * half * np.arange(len(sorting))[:, None]).ravel()
        later = np.take_along_axis(later, sorting, axis=1)
        one, other = (part[:, places].reshape(len(first), *later.shape) for part in weights)
        for left, right in ((one, other), (other, one)):
            total += (np.cumsum(left * ~later, axis=2) * (right * later)).sum(axis=(1, 2))
        half *= 2
    return total


def ranks(values: Array) -> Array:
    """Return ranks from 0 on, the mean of those that ties would have, float64 of shape (n,)."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[where]


def rank_correlation(one: Array, other: Array) -> float:
    """Return Spearman's rank correlation of two columns (n,); NaN where one of them is constant."""
    first, second = (ranks(values) - (len(values) - 1) / 2 for values in (one, other))
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > 0 else np.nan


def auroc(signal: Array, event: npt.NDArray[np.bool_]) -> float:
    """Return the probability that a case with the event has more of the signal (n,) than one without it.

    Ties count half. NaN where all cases or none have it.
    """
    having = int(event.sum())
    without = len(event) - having
    if not having or not without:
        return np.nan
    return float((ranks(signal)[event].sum() - having * (having - 1) / 2) / (having * without))
