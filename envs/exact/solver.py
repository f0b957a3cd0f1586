"""Exact scores of finite tasks: random, optimal and KL-optimal returns, their variance, Q and V everywhere.

The solver plans over information states (`exact_levels`), that is over what the agent can know, so a hidden draw never
gives a clairvoyant score. An agent sees the tokens that are shown, remembers what it said, and notices that the episode
has not ended; it does not see rewards. Returns are undiscounted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np

from ..checking import TokenGymError
from ..finite import FiniteTask
from .backup import action_values, legal_actions, moments, require_finite, soft_values
from .evaluation import PolicyEvaluation, evaluate_policy
from .following import Follower
from .levels import Graph, unfold
from .lookup import Lookup

__all__ = ["Policy", "PolicyEvaluation", "Solution", "evaluate_policy", "optimal_policy", "solve"]

Policy = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Observations to probabilities: tokens (m, L) int32 and lengths (m,) to float64 (m, A)."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The exact scores of a finite task, and what the best players do.

    Attributes:
        task: the solved task.
        masked: whether only legal tokens were allowed.
        random_return: expected return of a uniform choice among all tokens (among the legal ones if `masked`).
        random_variance: variance of that player's return.
        optimal_return: the largest expected return of any player that remembers what it saw and said.
        optimal_variance: variance of the optimal player's return (the first token among equals is said).
        beta: weight of the KL divergence, or None.
        kl_optimal_return: the largest value of expected return − β·KL(player ‖ reference), or None without `beta`.
        kl_optimal_reward: expected return, without the KL term, of the player that attains it.
        kl_optimal_kl: that player's KL divergence from the reference, summed over the episode.
        graph: the information states.
        optimal_q: for each level a float64 array (N, A), the return of saying a token and being optimal from there;
            −inf for tokens that are not allowed.
        optimal_v: for each level a float64 array (N,), the optimal return from each information state.
        random_probabilities, optimal_probabilities, kl_optimal_probabilities: for each level the players' float64
            probabilities (N, A); the last is None without `beta`.
    """

    task: FiniteTask
    masked: bool
    random_return: float
    random_variance: float
    optimal_return: float
    optimal_variance: float
    beta: float | None
    kl_optimal_return: float | None
    kl_optimal_reward: float | None
    kl_optimal_kl: float | None
    graph: Graph
    optimal_q: list[np.ndarray]
    optimal_v: list[np.ndarray]
    random_probabilities: list[np.ndarray]
    optimal_probabilities: list[np.ndarray]
    kl_optimal_probabilities: list[np.ndarray] | None

    @property
    def num_information_states(self) -> int:
        """How many different information states there are."""
        return self.graph.num_nodes

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.task, self.graph)

    def q_values(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return optimal Q, float64 (m, A), at observations: tokens (m, L) int, lengths (m,) int.

        Raises:
            TokenGymError: an observation that the task cannot show.
        """
        return self._lookup.gather(self.optimal_q, tokens, lengths)

    def values(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return optimal V, float64 (m,), at observations; arguments and errors as in `q_values`."""
        return self._lookup.gather(self.optimal_v, tokens, lengths)

    def policy(self, kind: Literal["random", "optimal", "kl_optimal"] = "optimal") -> Policy:
        """Return one of the solved players as a function of observations (see `Policy`).

        In context "episode" an observation tells the information state, and the player is exact. In context "turn" it
        may not (a clock that is not shown); the player then acts as at the earliest information state that shows it.
        `follower` gives the exact one there.
        """
        probabilities = getattr(self, f"{kind}_probabilities", None)
        if probabilities is None:
            raise TokenGymError(f"kind={kind!r}: expected 'random', 'optimal', or with beta given 'kl_optimal'.")
        return partial(self._lookup.gather, probabilities)

    def follower(self, num_rows: int) -> Follower:
        """Return what follows `num_rows` episodes through the information states, in either context.

        `follower.gather(solution.optimal_probabilities, rows)` are then the exact player's, clock and memory included.
        """
        return Follower(self.task, self.graph, num_rows)


def solve(
    task: FiniteTask,
    beta: float | None = None,
    reference: Policy | None = None,
    *,
    masked: bool = False,
    max_nodes: int = 3_000_000,
) -> Solution:
    """Solve a finite task exactly.

    Args:
        task: the task; its episodes must end.
        beta: weight of the KL divergence to the reference in the objective of the KL-optimal player
            (Ziebart 2010; Levine 2018): V = β·log Σ π_ref·exp(Q/β).
        reference: the reference player's probabilities; uniform over the allowed tokens by default. A callable is asked
            once for every different observation prefix, so it is for small tasks.
        masked: allow only legal tokens, for the random player too.
        max_nodes: the largest number of information states to build.

    Raises:
        TooManyNodesError: there are more than `max_nodes` information states.
        TokenGymError: the task is not finite or without end, its legal tokens depend on what is hidden, `beta` is not
            positive, or the reference's answer is not a table of probabilities.
    """
    require_finite(task)
    if beta is not None and not (np.isfinite(beta) and beta > 0):
        raise TokenGymError(f"beta={beta!r}: expected a positive number, or None for no KL term.")
    if reference is not None and beta is None:
        raise TokenGymError("a reference was given without beta: give beta=… too, the weight of the KL divergence.")
    observe = reference is not None or task.context == "turn"
    follow = (lambda level: legal_actions(task, level)) if masked else None
    graph = unfold(task, observe=observe, follow=follow, max_nodes=max_nodes)

    num_levels, num_actions = len(graph.levels), task.vocabulary.num_actions
    allowed = [
        legal_actions(task, level) if masked else np.ones((level.num_nodes, num_actions), bool)
        for level in graph.levels
    ]
    uniform = [mask / mask.sum(axis=1, keepdims=True) for mask in allowed]
    q, v = [np.empty(0)] * num_levels, [np.empty(0)] * num_levels
    for depth in reversed(range(num_levels)):
        values = action_values(graph, depth, v[depth + 1] if depth + 1 < num_levels else None)
        q[depth] = np.where(allowed[depth], values, -np.inf)
        v[depth] = q[depth].max(axis=1)
    best = [_first_best(values) for values in q]
    random_return, random_variance = moments(graph, uniform)
    _, optimal_variance = moments(graph, best)

    soft = soft_return = soft_reward = soft_kl = None
    if beta is not None:
        soft_return, soft = soft_values(graph, uniform, reference, float(beta))
        soft_reward, _ = moments(graph, soft)
        soft_kl = max(0.0, (soft_reward - soft_return) / beta)
    return Solution(
        task,
        masked,
        random_return,
        random_variance,
        float(graph.root_probability @ v[0]),
        optimal_variance,
        beta,
        soft_return,
        soft_reward,
        soft_kl,
        graph,
        q,
        v,
        uniform,
        best,
        soft,
    )


def _first_best(q: np.ndarray) -> np.ndarray:
    """Return probabilities (N, A) that are all on the first token among equals with the largest Q (N, A)."""
    # Not by rows of an identity matrix, which is quadratic in the vocabulary.
    probabilities = np.zeros(q.shape)
    np.put_along_axis(probabilities, q.argmax(axis=1)[:, None], 1.0, axis=1)
    return probabilities


def optimal_policy(task: FiniteTask) -> Policy:
    """Return the optimal player of a finite task: tokens (m, L), lengths (m,) to one-hot probabilities (m, A)."""
    return solve(task).policy("optimal")
