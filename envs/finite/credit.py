"""Which of a turn's tokens earned the reward that came with the last one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def share_reward(
    paid: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], counts: npt.NDArray[np.integer]
) -> list[npt.NDArray[np.float64] | None]:
    """Spreads the reward of each turn's last token over the turn's tokens, in proportion to their weights.

    What earlier tokens were paid stays theirs, so the parts of a turn sum to all that it was paid.

    Args:
        paid: What each token was paid, float64 of shape (m, T).
        weights: The tokens' weights, at least 0, float64 of shape (m, T). Where all of a turn's are 0, its tokens share
            alike.
        counts: Tokens of each turn, integers of shape (m,), each in 1 … T. Columns past them are ignored.

    Returns:
        The parts of each turn, float64 of shape (counts[i],).
    """
    row = np.arange(len(counts))
    said = np.arange(paid.shape[1]) < counts[:, None]
    weights = np.where(said, weights, 0.0)
    weights = np.where(said & (weights.sum(axis=1) == 0)[:, None], 1.0, weights)
    last = paid[row, counts - 1]
    parts = paid.copy()
    parts[row, counts - 1] = 0.0
    parts += (last / weights.sum(axis=1))[:, None] * weights
    return [parts[index, :count].copy() for index, count in enumerate(counts.tolist())]
