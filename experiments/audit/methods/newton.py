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


def rest(
    field: Field, values: np.ndarray, logits: slice | None = None, most_steps: int = 80, sure: float = 40.0
) -> Rest:
    """Follow a field of expected gradients to where it vanishes.

    Each step is one of the implicit Euler method, (1/Δ − J)·d = F, whose Δ grows as F falls: in the beginning the path
    of small gradient steps, at the end Newton's. J is taken by differences. It is left where some token's logit is
    ``sure`` above another's in its row and the field still drives them apart.

    Args:
        field: what the method does on average.
        values: float64 (S, W), where to start.
        logits: which columns are logits, that matter up to a constant a row; each row's mean is held at 0.
        most_steps: of Euler's.
        sure: the difference of logits, in nats, at which a policy is called sure.
    """
    width = values.shape[1]
    basis = np.diag(np.ones(width))
    if logits is not None:  # A − 1 directions each, orthonormal
        actions = logits.stop - logits.start
        centred = np.linalg.qr(np.diag(np.ones(actions)) - 1 / actions)[0][:, : actions - 1]
        others = np.delete(basis, np.arange(logits.start, logits.stop), axis=1)
        inside = np.zeros((width, actions - 1))
        inside[logits] = centred
        basis = np.concatenate([inside, others], axis=1)

    def spread(values: np.ndarray) -> float:
        return 0.0 if logits is None else float(np.ptp(values[:, logits], axis=1).max())

    def whole(y: np.ndarray) -> np.ndarray:
        return y.reshape(-1, basis.shape[1]) @ basis.T

    def reduced(y: np.ndarray) -> np.ndarray:
        return (field(whole(y)) @ basis).ravel()

    y = (values @ basis).ravel()
    taken = 0
    f = reduced(y)
    largest = max(np.abs(f).max(), 1e-300)
    span = 4.0 / largest
    while taken < most_steps:
        size = np.abs(f).max()
        if size < STILL / 100:
            break
        if spread(whole(y)) > sure:
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
    return Rest(x, norm, taken, norm < STILL and spread(x) <= sure)
