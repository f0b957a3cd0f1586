"""The exact evaluation of a policy: its return, values, entropy and KL divergence by enumeration of what it can see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..columns import ColumnTotals, How
from ..finite import FiniteTask
from .backup import action_values, ask, legal_actions, moments, require_finite
from .levels import Graph, Level, unfold


@dataclass(frozen=True, eq=False)
class PolicyEvaluation:
    """What a policy is worth on a finite task, exactly (undiscounted).

    The arrays have one row for each information state that the policy can reach, in the order of the tokens said. In
    context "turn" rows may share an observation and differ in what a player with a memory would know.

    Attributes:
        expected_return: the expected sum of rewards.
        variance: the variance of that sum.
        entropy: expected sum over the episode's tokens of the policy's entropy, in nats.
        kl: KL divergence from the reference, expected sum over the episode's tokens, in nats; inf where the policy
            says what the reference never does.
        expected_length: expected number of agent tokens in an episode.
        tokens: int32 array of shape (M, L), the observations.
        lengths: int32 array of shape (M,).
        reach: float64 array of shape (M,), probability that an episode passes through.
        probabilities: float64 array of shape (M, A), the policy.
        q: float64 array of shape (M, A), expected return from there after saying a token, then following the policy;
            right only for tokens that the policy says with a positive probability, NaN for the others.
        values: float64 array of shape (M,), expected return from there.
        columns: what the task reports beside the reward, each summed up as `Task.columns` says.
    """

    expected_return: float
    variance: float
    entropy: float
    kl: float
    expected_length: float
    tokens: np.ndarray
    lengths: np.ndarray
    reach: np.ndarray
    probabilities: np.ndarray
    q: np.ndarray
    values: np.ndarray
    columns: dict[str, float] = field(default_factory=dict)

    def kl_regularised(self, beta: float) -> float:
        """Return expected return − beta · KL, to be compared with `Solution.kl_optimal_return`."""
        return self.expected_return - beta * self.kl


def evaluate_policy(
    task: FiniteTask,
    policy: Callable[..., np.ndarray],
    reference: Callable[..., np.ndarray] | None = None,
    *,
    masked: bool = False,
    max_nodes: int = 200_000,
) -> PolicyEvaluation:
    """Evaluate a policy exactly on a finite task.

    The tree of observation prefixes is built token by token; what the policy never says is not followed, so a greedy
    policy is cheap on tasks that are far too large to enumerate. In context "turn" prefixes with equal observations and
    equal beliefs are one. The policy is asked once a level for all observations that differ.

    Args:
        task: a finite task whose episodes end.
        policy: probabilities (m, A) from tokens (m, L) int32 and lengths (m,) int32; a greedy policy is one-hot.
        reference: the same for the player that the KL divergence is measured from, called without masks; uniform by
            default.
        masked: call `policy(tokens, lengths, masks)` with the legal tokens, bool (m, A), and take the reference
            over the legal tokens.
        max_nodes: the largest number of prefixes to visit.

    Raises:
        TooManyNodesError: there are more than `max_nodes` prefixes.
        TokenGymError: the task is not finite, or an answer of the policy is not a table of probabilities.
    """
    require_finite(task)
    num_actions = task.vocabulary.num_actions
    probabilities: list[np.ndarray] = []
    priors: list[np.ndarray] = []

    def follow(level: Level) -> np.ndarray:
        masks = legal_actions(task, level) if masked else None
        probabilities.append(ask(policy, level, num_actions, masks))
        if reference is not None:
            prior = ask(reference, level, num_actions)
            priors.append(prior if masks is None else _among(prior, masks))
        else:
            allowed = np.ones((level.num_nodes, num_actions)) if masks is None else masks.astype(np.float64)
            priors.append(allowed / allowed.sum(axis=1, keepdims=True))
        return probabilities[-1] > 0

    graph = unfold(task, observe=True, follow=follow, max_nodes=max_nodes)
    q, values = _evaluate_backwards(graph, probabilities)
    reach = _reach(graph, probabilities)
    expected_return, variance = moments(graph, probabilities)
    levels = graph.levels
    joined = np.concatenate(probabilities)
    weight = np.concatenate(reach)
    return PolicyEvaluation(
        expected_return=expected_return,
        variance=variance,
        entropy=float(weight @ -_divergence(joined, np.ones_like(joined))),
        kl=float(weight @ _divergence(joined, np.concatenate(priors))),
        expected_length=float(weight.sum()),
        tokens=np.concatenate([level.tokens for level in levels if level.tokens is not None]),
        lengths=np.concatenate([level.lengths for level in levels if level.lengths is not None]),
        reach=weight,
        probabilities=joined,
        q=np.where(joined > 0, np.concatenate(q), np.nan),
        values=np.concatenate(values),
        columns=_columns(graph, probabilities, reach, task.columns),
    )


def _evaluate_backwards(graph: Graph, policy: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the policy's Q (N, A) and V (N,) on each level."""
    q, values = [], []
    for depth in reversed(range(len(graph.levels))):
        q.append(action_values(graph, depth, values[-1] if values else None))
        values.append((policy[depth] * q[-1]).sum(axis=1))
    return q[::-1], values[::-1]


def _reach(graph: Graph, policy: list[np.ndarray]) -> list[np.ndarray]:
    """Return the probability (N,) of passing through each node, by level."""
    reach = [graph.root_probability]
    for depth, level in enumerate(graph.levels[:-1]):
        flow = graph.arrays.probability[level.state] * policy[depth][level.node][:, :, None]
        flow *= (reach[-1][level.node] * level.weight)[:, None, None]
        child, following = graph.children[depth], graph.levels[depth + 1]
        arrived = np.bincount(child[child >= 0], flow[child >= 0], minlength=len(following.node))
        reach.append(np.add.reduceat(arrived, following.starts[:-1]))
    return reach


def _columns(
    graph: Graph, policy: list[np.ndarray], reach: list[np.ndarray], how: Mapping[str, How]
) -> dict[str, float]:
    """Return what is reported on the way, by name, expected as `how` says."""
    arrays, totals = graph.arrays, ColumnTotals()
    if not arrays.columns:
        return {}
    for depth, level in enumerate(graph.levels):
        chance = arrays.probability[level.state] * policy[depth][level.node][:, :, None]
        chance *= (reach[depth][level.node] * level.weight)[:, None, None]
        for name, values in arrays.columns.items():
            totals.add_weighted(name, values[level.state], chance)
    return totals.summary(how, 1.0)


def _among(prior: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return distributions (N, A) over the tokens that masks (N, A) allow alone."""
    kept = np.where(masks, prior, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return kept / np.where(total > 0, total, 1.0)


def _divergence(policy: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return Σ_a π·log(π / π_ref) for each row (N, A), with 0·log 0 = 0."""
    said = policy > 0
    with np.errstate(divide="ignore"):
        ratio = np.log(np.where(said, policy, 1.0)) - np.log(np.where(said, reference, 1.0))
    return (policy * ratio).sum(axis=1)
