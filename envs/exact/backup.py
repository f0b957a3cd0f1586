"""Backward passes over the information states of a finite task: expected values, soft values, moments of the return."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..checking import TokenGymError
from ..finite import FiniteTask
from .levels import Graph, Level, row_keys


def require_finite(task: object) -> None:
    """Raise TokenGymError unless the task is compiled from finitely many states."""
    if not isinstance(task, FiniteTask):
        raise TokenGymError(
            f"{getattr(task, 'name', type(task).__name__)} is not a FiniteTask: exact scores need a task that lists "
            "its states and transitions. Estimate it by sampled episodes instead."
        )


def legal_actions(task: FiniteTask, level: Level) -> np.ndarray:
    """Return the legal tokens at each node, bool (N, A).

    Raises:
        TokenGymError: which tokens are legal depends on what the agent cannot know.
    """
    legal = task.arrays.legal
    if legal is None:
        return np.ones((level.num_nodes, task.arrays.num_actions), dtype=bool)
    of_node = legal[level.state[level.starts[:-1]]]
    if (legal[level.state] != of_node[level.node]).any():
        raise TokenGymError(f"{task.name} has legal tokens that reveal its hidden state: solve it with masked=False.")
    return of_node


def action_values(graph: Graph, depth: int, next_values: np.ndarray | None) -> np.ndarray:
    """Return Q, float64 (N, A), at one level, from the values (N',) of the next level's nodes (None after the last)."""
    level, arrays = graph.levels[depth], graph.arrays
    probability = arrays.probability[level.state]  # (P, A, K)
    outcome = arrays.reward[level.state]
    if next_values is not None:
        outcome = outcome + _after(graph, depth, next_values[graph.levels[depth + 1].node])
    of_pair = np.einsum("pak,pak->pa", probability, outcome) * level.weight[:, None]
    return np.add.reduceat(of_pair, level.starts[:-1], axis=0)


def _after(graph: Graph, depth: int, of_next_pair: np.ndarray) -> np.ndarray:
    """Return a quantity of the next level's pairs at each pair, token and outcome (P, A, K); 0 at the end."""
    return np.append(of_next_pair, 0.0)[graph.children[depth]]


def moments(graph: Graph, policy: list[np.ndarray]) -> tuple[float, float]:
    """Return the mean and the variance of the return of a policy, given its probabilities (N, A) on each level.

    First and second moments are carried back for every pair (node, hidden state), because what was paid and what will
    be paid may depend on the same hidden state.
    """
    arrays = graph.arrays
    first = second = None
    for depth in reversed(range(len(graph.levels))):
        level = graph.levels[depth]
        chance = arrays.probability[level.state] * policy[depth][level.node][:, :, None]  # (P, A, K)
        reward = arrays.reward[level.state]
        square = reward**2 + arrays.noise[level.state] ** 2
        if first is not None and second is not None:
            mean_after = _after(graph, depth, first)
            square += 2 * reward * mean_after + _after(graph, depth, second)
            reward = reward + mean_after
        first = np.einsum("pak,pak->p", chance, reward)
        second = np.einsum("pak,pak->p", chance, square)
    assert first is not None and second is not None
    root = graph.levels[0]
    mass = graph.root_probability[root.node] * root.weight
    mean = float(mass @ first)
    return mean, max(0.0, float(mass @ second) - mean**2)


def ask(
    policy: Callable[..., np.ndarray], level: Level, num_actions: int, masks: np.ndarray | None = None
) -> np.ndarray:
    """Return a policy's probabilities (N, A) at a level's nodes, asking once for each different observation.

    Raises:
        TokenGymError: the answer has another shape, or its rows are not probabilities.
    """
    assert level.tokens is not None and level.lengths is not None
    width = int(level.lengths.max())
    keys = row_keys(np.column_stack([level.lengths, level.tokens[:, :width]]))
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    arguments = (level.tokens[first], level.lengths[first])
    answer = np.asarray(policy(*arguments) if masks is None else policy(*arguments, masks[first]), dtype=np.float64)
    if answer.shape != (len(first), num_actions):
        raise TokenGymError(
            f"the policy returned shape {answer.shape}: expected probabilities of shape {(len(first), num_actions)}, "
            "one row an observation and one column a token that can be said."
        )
    total = answer.sum(axis=1)
    wrong = ~(np.isfinite(answer).all(axis=1) & (answer >= 0).all(axis=1) & (np.abs(total - 1) < 1e-4))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise TokenGymError(
            f"the policy returned {answer[row]} at observation {arguments[0][row, : arguments[1][row]].tolist()}: "
            "expected probabilities, not negative and with sum 1."
        )
    return (answer / total[:, None])[inverse]


def soft_values(
    graph: Graph, uniform: list[np.ndarray], reference: Callable[..., np.ndarray] | None, beta: float
) -> tuple[float, list[np.ndarray]]:
    """Return the KL-regularised optimum from V = β·log Σ π_ref·exp(Q/β), and its player's probabilities by level.

    Args:
        graph: the information states, with observations if a reference is given.
        uniform: the default reference's probabilities (N, A) by level; zero where a token is not allowed.
        reference: the reference player; where tokens are not allowed its probabilities are cut and renormalised.
        beta: positive weight of the KL divergence.
    """
    values = None
    policy: list[np.ndarray] = [np.empty(0)] * len(graph.levels)
    for depth in reversed(range(len(graph.levels))):
        prior = uniform[depth]
        if reference is not None:
            prior = ask(reference, graph.levels[depth], prior.shape[1]) * (prior > 0)
            if (prior.sum(axis=1) == 0).any():
                raise TokenGymError(
                    "the reference never says a legal token at some observation: solve with masked=False."
                )
            prior = prior / prior.sum(axis=1, keepdims=True)
        scaled = action_values(graph, depth, values) / beta
        peak = np.where(prior > 0, scaled, -np.inf).max(axis=1, keepdims=True)
        weights = prior * np.exp(np.minimum(scaled - peak, 0.0))
        total = weights.sum(axis=1)
        policy[depth] = weights / total[:, None]
        values = beta * (peak[:, 0] + np.log(total))
    assert values is not None
    return float(graph.root_probability @ values), policy
