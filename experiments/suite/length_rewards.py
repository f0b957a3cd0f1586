"""Remedies for a reward that was taught to like length, and the exact optimum of each at a given KL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from ...algorithms.labelling import SimulatedLabeller
from ...algorithms.reward_models import fit_scores
from ...envs import TokenGymError, make_task
from ...envs.exact import divergence, tilted
from ...envs.tasks.learned import LengthBias

Array = npt.NDArray[np.float64]

LABELS, TEMPERATURE = 1000, 0.5
"""Comparisons and noise of the labeller: the environment's defaults."""
_BALANCED = 77
"""Draws the pairs of equal length."""


@lru_cache(maxsize=64)
def biased(instance: int) -> LengthBias:
    """Return an instance whose labeller likes length."""
    return cast(LengthBias, make_task("LengthBias", instance_seed=instance))


def penalised(instance: int, penalty: float) -> Array:
    """Return the proxy (N,) less a penalty a token, the end's own included, as the option `length_penalty` takes it."""
    task = biased(instance)
    texts = task.texts
    return task.proxy - penalty * (texts.lengths + (texts.lengths < texts.length))


def regressed_out(instance: int) -> Array:
    """Return the proxy (N,) less its least-squares line in length, drawn through the texts that were compared."""
    task = biased(instance)
    compared = np.concatenate(task.compared)
    slope, _ = np.polyfit(task.texts.lengths[compared], task.proxy[compared], 1)
    return task.proxy - slope * task.texts.lengths


def balanced_pairs(instance: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return as many comparisons as the instance's own by the same labeller, of two texts of equal length each."""
    task, random = biased(instance), np.random.default_rng((instance, _BALANCED))
    lengths = task.texts.lengths
    pairs = task.texts.pairs(20 * LABELS, random)
    first, second = pairs[:, lengths[pairs[0]] == lengths[pairs[1]]][:, :LABELS]
    asked = SimulatedLabeller(TEMPERATURE, length_preference=0.5, seed=instance)
    wins = asked.draw(task.gold[first], task.gold[second], (lengths[first] - lengths[second]).astype(np.int64))
    return np.where(wins, first, second), np.where(wins, second, first)


@lru_cache(maxsize=64)
def balanced(instance: int) -> Array:
    """Return the scores (N,) of a model like the proxy that was fitted to comparisons of texts of equal length."""
    texts = biased(instance).texts
    scores = fit_scores(
        texts.tokens, texts.lengths, *balanced_pairs(instance), num_tokens=texts.num_words, seed=instance
    )[0]
    chance = np.exp(texts.log_random)
    centred = scores - chance @ scores
    return centred / np.sqrt(chance @ centred**2)


def known(instance: int) -> Array:
    """Return the proxy (N,) less its mean at each length: who knew that gold has nothing to do with length would."""
    task = biased(instance)
    return task.proxy - task.length_reward[task.texts.lengths]


def unbiased(instance: int) -> Array:
    """Return the proxy (N,) of a labeller who does not care for length, asked about the same pairs."""
    return cast(LengthBias, make_task("LengthBias", instance_seed=instance, length_preference=0.0)).proxy


def rewards(penalty: float) -> Mapping[str, Callable[[int], Array]]:
    """Return what may be optimised, by name, each from the number of an instance; the first is no remedy."""
    return {
        "none": lambda instance: biased(instance).proxy,
        f"penalty of {penalty:g} a token": lambda instance: penalised(instance, penalty),
        "regressed out": regressed_out,
        "balanced labels": balanced,
    }


def at_kl(reward: Array, kl: float, log_reference: Array) -> Array:
    """Return the distribution (N,) of the largest expected reward with this KL to the reference, in nats.

    Raises:
        TokenGymError: No tilt of the reference lies so far from it.
    """

    def beyond(log_beta: float) -> float:
        return divergence(tilted(reward, float(np.exp(log_beta)), log_reference), log_reference) - kl

    low, high = float(np.log(np.ptp(reward) / 500)), float(np.log(100 * np.ptp(reward)))
    if beyond(low) < 0:
        raise TokenGymError(f"kl={kl}: the reward's favourite text lies nearer; give less.")
    return tilted(reward, float(np.exp(cast(float, brentq(beyond, low, high)))), log_reference)


def text_probabilities(task: LengthBias, policy: Callable[..., np.ndarray]) -> Array:
    """Return how probable each text is under a policy, float64 (N,).

    Args:
        task: Whose texts.
        policy: Probabilities (m, A) from tokens (m, L) and lengths (m,).
    """
    texts, found = task.texts, np.zeros(task.texts.count)
    tokens, chance = np.full((1, 1), task.vocabulary.bos, np.int32), np.ones(1)
    for said in range(texts.length):
        following = np.asarray(policy(tokens, np.full(len(tokens), said + 1, np.int32)), np.float64)
        found[texts.first(said) : texts.first(said + 1)] = chance * following[:, texts.num_words]
        chance = (chance[:, None] * following[:, : texts.num_words]).reshape(-1)
        words = np.tile(np.arange(texts.num_words, dtype=np.int32), len(tokens))
        tokens = np.column_stack([np.repeat(tokens, texts.num_words, axis=0), words])
    found[texts.first(texts.length) :] = chance
    return found
