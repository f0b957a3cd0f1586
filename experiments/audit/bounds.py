"""What a method keeps its policy to, such as the likeliest tokens, and all that is said within that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...algorithms import Episodes
from ...envs import FiniteTask
from .enumeration import Policy, all_episodes
from .tables import observations

Bounds = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From tokens (m, L) and lengths (m,) to bool (m, A), what may be said there: at least one token that a policy says."""


def within(policy: Policy, bounds: Bounds | None) -> Policy:
    """Return a policy renormalised over what may be said; None: over everything."""
    if bounds is None:
        return policy

    def bounded(tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        said = np.where(bounds(tokens, lengths), np.asarray(policy(tokens, lengths), np.float64), 0.0)
        return said / said.sum(axis=1, keepdims=True)

    return bounded


def bounded_episodes(
    task: FiniteTask, policy: Policy | None, bounds: Bounds | None = None
) -> tuple[Episodes, np.ndarray]:
    """List every episode that a policy has within bounds, what was allowed noted with each token; see `all_episodes`.

    Args:
        task: of context "episode".
        policy: probabilities (m, A) from tokens (m, L) and lengths (m,); None is uniform.
        bounds: what may be said; None is everything, and nothing is noted.
    """
    if bounds is None:
        return all_episodes(task, policy)
    episodes, chances = all_episodes(task, within(policy or uniform(task), bounds))
    return replace(episodes, action_masks=bounds(*observations(episodes))), chances


def likeliest(said: np.ndarray, top_p: float) -> np.ndarray:
    """Return bool (m, A): the fewest tokens, the likeliest first, that have a share of the probabilities (m, A)."""
    order = np.argsort(-said, axis=1, kind="stable")
    ranked = np.take_along_axis(said, order, axis=1)
    found = np.zeros(said.shape, bool)
    np.put_along_axis(found, order, np.cumsum(ranked, axis=1) - ranked < top_p, axis=1)
    return found


def uniform(task: FiniteTask) -> Policy:
    """Return the policy that says every token with the same probability."""
    width = task.vocabulary.num_actions
    return lambda tokens, lengths: np.full((len(lengths), width), 1 / width)
