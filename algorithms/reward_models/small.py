"""Small Bradley–Terry models in numpy, for tasks whose proxy reward is fitted in the second in which they are made.

A network with one hidden layer, or a linear model, reads a text by its places (which token stands where), by its counts
(how often each occurs), or by its places and repeats (powers of the counts). Members of an ensemble are trained side by
side, from initial weights and through orders of their own, and where asked for on resampled comparisons.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...envs import TokenGymError
from ...envs.checking import Count, NotNegative, Positive, Seed, checked
from .fitted_tables import remembered

Array = npt.NDArray[np.float64]
Features = Literal["places", "counts", "repeats"]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_POWERS = (2, 3, 4)
_SCORED = 8192
"""Texts that are scored at a time: it bounds the memory."""


@checked
def fit_scores(
    tokens: npt.NDArray[np.integer],
    lengths: npt.NDArray[np.integer],
    better: npt.NDArray[np.integer],
    worse: npt.NDArray[np.integer],
    *,
    num_tokens: Count,
    features: Features = "places",
    hidden: int = 64,
    roughness: Positive = 0.5,
    members: Count = 1,
    updates: Count = 1000,
    batch_pairs: Count = 64,
    learning_rate: Positive = 0.01,
    weight_decay: NotNegative = 0.0,
    bootstrap: bool = False,
    seed: Seed = 0,
) -> Array:
    """Fit Bradley–Terry models to comparisons of texts, and return what they score all the texts.

    The loss is −log σ(s_better − s_worse), by AdamW with a learning rate that falls to 0 in a line. What was fitted
    once is remembered, see `fitted_tables`.

    Args:
        tokens: The texts, ids of shape (M, T), whatever beyond their lengths.
        lengths: Their lengths, shape (M,), in 0 … T.
        better: Indices of the preferred texts, shape (P,).
        worse: Indices of the others, shape (P,).
        num_tokens: How many tokens there are.
        features: `"places"` reads which token stands where, `"counts"` how often each occurs, `"repeats"` which stands
            where and the second to fourth power of how much more often than evenly each occurs.
        hidden: Units of the hidden layer; 0 for a model that is linear in the features.
        roughness: Size of the hidden layer's input before training: a smooth model carries over from what was compared
            to all that is like it, a rough one learns it by heart.
        members: How many models.
        updates: Steps of the optimiser.
        batch_pairs: Comparisons in a step; all of them where there are fewer.
        learning_rate: Its first value.
        weight_decay: Decoupled decay of all weights, as in AdamW.
        bootstrap: Whether each model learns from comparisons of its own, drawn with replacement from those given and as
            many: models that saw the same wrong labels err alike.
        seed: Draws initial weights, orders and what each model sees.

    Returns:
        float64 of shape (members, M), read-only.

    Raises:
        TokenGymError: For no comparison at all, or indices, lengths or tokens that do not fit.
    """
    tokens, lengths = np.ascontiguousarray(tokens, np.int32), np.ascontiguousarray(lengths, np.int32)
    pairs = np.stack([np.asarray(better, np.int64), np.asarray(worse, np.int64)])
    if not pairs.size:
        raise TokenGymError("there is no comparison to fit a reward model to: give at least one")
    if hidden < 0:
        raise TokenGymError(f"hidden={hidden} is negative: give 0 for a linear model, or how many units")
    shown = np.arange(tokens.shape[1]) < lengths[:, None]
    if pairs.min() < 0 or pairs.max() >= len(tokens) or len(lengths) != len(tokens) or lengths.max() > tokens.shape[1]:
        raise TokenGymError(f"comparisons or lengths do not fit {len(tokens)} texts of {tokens.shape[1]} tokens")
    if shown.any() and not 0 <= tokens[shown].min() <= tokens[shown].max() < num_tokens:
        raise TokenGymError(f"tokens lie outside of 0 … {num_tokens - 1}")
    settings = (
        num_tokens,
        features,
        hidden,
        roughness,
        members,
        updates,
        batch_pairs,
        learning_rate,
        weight_decay,
        bootstrap,
        seed,
    )

    def fit() -> Array:
        spread = roughness / np.sqrt(tokens.shape[1])
        model = _Model(_width(tokens, num_tokens, features), hidden, members, seed, spread)
        compared, where = np.unique(pairs, return_inverse=True)
        read = _features(tokens[compared], shown[compared], num_tokens, features)
        model.fit(read, where.reshape(pairs.shape), updates, batch_pairs, learning_rate, weight_decay, bootstrap)
        parts = [slice(first, first + _SCORED) for first in range(0, len(tokens), _SCORED)]
        scores = [model.scores(_features(tokens[part], shown[part], num_tokens, features)) for part in parts]
        return np.concatenate(scores, axis=1)

    # The program is part of the key: what another version fitted is another thing.
    program = Path(__file__).read_bytes()
    return remembered((program, repr(settings).encode(), np.where(shown, tokens, -1), lengths, pairs), fit)


def _width(tokens: np.ndarray, num_tokens: int, features: Features) -> int:
    """Return how many features a text has (D)."""
    places = num_tokens * tokens.shape[1]
    return {"places": places, "counts": num_tokens, "repeats": places + num_tokens * len(_POWERS)}[features]


def _features(tokens: np.ndarray, shown: np.ndarray, num_tokens: int, features: Features) -> Array:
    """Return what a model reads of texts (m, T): float64 (m, D)."""
    rows, places = np.nonzero(shown)
    said = tokens[rows, places]
    read = np.zeros((len(tokens), _width(tokens, num_tokens, features)))
    np.add.at(read, (rows, said if features == "counts" else places * num_tokens + said), 1.0)
    if features == "repeats":
        counts = np.zeros((len(tokens), num_tokens))
        np.add.at(counts, (rows, said), 1.0)
        more = (counts - tokens.shape[1] / num_tokens) / 2  # halved, so that the powers are of one size at first
        read[:, num_tokens * tokens.shape[1] :] = np.concatenate([more**power for power in _POWERS], axis=1)
    return read


class _Model:
    """Scores (K, m) of K models from features (m, D); no bias at the end, which comparisons cannot see."""

    def __init__(self, width: int, hidden: int, members: int, seed: int, spread: float = 1.0) -> None:
        self._draw = np.random.default_rng(seed)
        self._weights = [np.zeros((members, width))]
        if hidden:
            first = spread * self._draw.standard_normal((members, width, hidden))
            last = self._draw.standard_normal((members, hidden)) / np.sqrt(hidden)
            self._weights = [first, np.zeros((members, hidden)), last]

    def scores(self, read: Array) -> Array:
        return self._forward(np.broadcast_to(read, (len(self._weights[0]), *read.shape)))[0]

    def _forward(self, read: Array) -> tuple[Array, Array | None]:
        if len(self._weights) == 1:
            return np.einsum("kmd,kd->km", read, self._weights[0]), None
        first, bias, last = self._weights
        units = np.tanh(read @ first + bias[:, None])
        return np.einsum("kmh,kh->km", units, last), units

    def _gradients(self, read: Array, by_score: Array, units: Array | None) -> list[Array]:
        """Return the gradients of the weights, from the loss's by the scores (K, m)."""
        if units is None:
            return [np.einsum("kmd,km->kd", read, by_score)]
        inner = by_score[:, :, None] * self._weights[2][:, None] * (1 - units**2)
        return [read.transpose(0, 2, 1) @ inner, inner.sum(axis=1), np.einsum("kmh,km->kh", units, by_score)]

    def fit(
        self,
        read: Array,
        pairs: np.ndarray,
        updates: int,
        batch_pairs: int,
        learning_rate: float,
        decay: float,
        bootstrap: bool,
    ) -> None:
        """Train on comparisons: the features (m, D) of the texts, and which are better and worse, (2, P)."""
        members, total = len(self._weights[0]), pairs.shape[1]
        seen = np.broadcast_to(np.arange(total), (members, total))
        if bootstrap:
            seen = self._draw.integers(total, size=(members, total))
        size = min(batch_pairs, total)
        moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in self._weights]
        orders, place = np.empty((members, 0), np.int64), 0
        for update in range(updates):
            if place + size > orders.shape[1]:
                orders = self._draw.permuted(seen, axis=1)
                place = 0
            drawn = pairs[:, orders[:, place : place + size]]  # (2, K, size)
            place += size
            batch = read[np.concatenate([drawn[0], drawn[1]], axis=1)]  # (K, 2·size, D)
            scores, units = self._forward(batch)
            margin = scores[:, :size] - scores[:, size:]
            slope = -1 / (1 + np.exp(np.minimum(margin, 500.0))) / size
            gradients = self._gradients(batch, np.concatenate([slope, -slope], axis=1), units)
            rate = learning_rate * (1 - update / updates)
            for weight, gradient, (mean, square) in zip(self._weights, gradients, moments, strict=True):
                mean += (1 - _BETA1) * (gradient - mean)
                square += (1 - _BETA2) * (gradient**2 - square)
                step = mean / (1 - _BETA1 ** (update + 1))
                step /= np.sqrt(square / (1 - _BETA2 ** (update + 1))) + _EPSILON
                weight -= rate * (step + decay * weight)
