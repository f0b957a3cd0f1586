"""Gold rewards that nobody wrote down: fixed random networks over texts."""

from __future__ import annotations

import numpy as np

from .texts import Array, Texts

_UNITS = 32


def random_network(texts: Texts, roughness: float, random: np.random.Generator, repeats_count: bool = True) -> Array:
    """Returns what a random network thinks of each text, float64 (N,), with mean 0 and variance 1 under random play.

    A hidden layer of 32 units reads which word stands where. Where texts differ in length, mean and variance are the
    same among the texts of each length (but the empty one), so that the score says nothing for or against long texts.

    Args:
        texts: The texts.
        roughness: Size of the hidden layer's input: near 0 each word counts for itself, at 1 words in different places
            bend one another's effect, far above it every text is a world of its own.
        random: Draws the network.
        repeats_count: Whether words that stand beside their like are read like any others, or add nothing.
    """
    words = random.standard_normal((texts.length, texts.num_words, _UNITS)) / np.sqrt(texts.length)
    bias, last = random.standard_normal((2, _UNITS))
    inner = np.zeros((texts.count, _UNITS))
    for place in range(texts.length):
        there = texts.lengths > place
        for beside in (place - 1, place + 1):
            if not repeats_count and 0 <= beside < texts.length:
                there &= (texts.tokens[:, place] != texts.tokens[:, beside]) | (texts.lengths <= beside)
        inner[there] += words[place, texts.tokens[there, place]]
    scores = np.tanh(roughness * inner + bias) @ last
    chance = np.exp(texts.log_random)
    for length in range(texts.shortest, texts.length + 1):
        rows = slice(texts.first(length), texts.first(length + 1))
        scores[rows] -= scores[rows].mean()
        scores[rows] /= max(scores[rows].std(), 1e-12)
    return scores / np.sqrt(chance @ scores**2)
