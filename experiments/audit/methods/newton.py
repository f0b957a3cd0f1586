"""Where an expected gradient vanishes: followed uphill from a start, then met by Newton's method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Field = Callable[[np.ndarray], np.ndarray]
"""Logits (S, A) to the direction (S, A) that a method moves them in, on average."""

STILL = 1e-9
"""The largest entry of an expected gradient at what is called a fixed point."""


@dataclass(frozen=True, eq=False)
class Rest:
    """Where a method comes to rest.

    Attributes:
        logits: float64 (S, A).
        norm: the largest absolute entry of the expected gradient there.
        steps: how many steps it took.
        interior: whether it rests there; else it runs on, ever surer of itself, and these are the logits where it was
            left.
    """

    logits: np.ndarray
    norm: float
    steps: int
    interior: bool


def rest(field: Field, logits: np.ndarray, most_steps: int = 80, sure: float = 40.0, levels: bool = False) -> Rest:
    """Follow a field of expected gradients to where it vanishes.

    Each step is one of the implicit Euler method, (1/Δ − J)·d = F, whose Δ grows as F falls: in the beginning the path
    of small gradient steps, at the end Newton's. J is taken by differences. It is left where some token's logit is
    ``sure`` above another's in its row and the field still drives them apart.

    Args:
        field: what the method does on average.
        logits: float64 (S, A), where to start; each row's mean is held at 0.
        most_steps: of Euler's.
        sure: the difference of logits, in nats, at which a policy is called sure.
        levels: the level of a row matters as well, as it does of values; then nothing is ever sure.
    """
    # Logits matter up to a constant a row: A − 1 directions each, orthonormal.
    width = logits.shape[1]
    basis = np.diag(np.ones(width)) if levels else np.linalg.qr(np.diag(np.ones(width)) - 1 / width)[0][:, : width - 1]

    def whole(y: np.ndarray) -> np.ndarray:
        return y.reshape(-1, basis.shape[1]) @ basis.T

    def reduced(y: np.ndarray) -> np.ndarray:
        return (field(whole(y)) @ basis).ravel()

    y = (logits @ basis).ravel()
    taken = 0
    f = reduced(y)
    largest = max(np.abs(f).max(), 1e-300)
    span = 4.0 / largest
    while taken < most_steps:
        size = np.abs(f).max()
        if size < STILL / 100:
            break
        if not levels and np.ptp(whole(y), axis=1).max() > sure:
            break
        jacobian = np.empty((len(y), len(y)))
        for place in range(len(y)):
            moved = y.copy()
            moved[place] += 1e-6
            jacobian[:, place] = (reduced(moved) - f) / 1e-6
        while True:
            change = np.linalg.lstsq(np.diag(np.ones(len(y))) / span - jacobian, f, rcond=None)[0]
            longest = np.abs(change).max()
            change *= min(1.0, 3.0 / max(longest, 1e-300))
            after = reduced(y + change)
            # Far away the path is followed, whichever way F goes; close by it has to fall, or the step was too long.
            if np.abs(after).max() < 2 * size or span < 1e-3 / largest:
                break
            span /= 4
        span *= min(max(size / max(np.abs(after).max(), 1e-300), 0.5), 10.0) * 1.5
        y, f = y + change, after
        taken += 1
    x, norm = whole(y), float(np.abs(f).max())
    return Rest(x, norm, taken, norm < STILL and (levels or bool(np.ptp(x, axis=1).max() <= sure)))
