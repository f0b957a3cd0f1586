"""Best of n, exactly: what is said where n whole episodes are drafted and the one with the highest return is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np

from ..checking import Range, TokenGymError, checked
from ..finite import FiniteTask
from .backup import ask, legal_actions, require_finite
from .levels import Graph, Level, unfold
from .lookup import Lookup
from .tilting import best_of_draws, divergence


@dataclass(frozen=True, eq=False)
class BestOfNEvaluation:
    """The player that says the best of n drafts, with every number exact.

    Attributes:
        n: how many drafts.
        expected_return: the expected return of the draft that is kept.
        kl: KL divergence from who drafts, over whole episodes, in nats.
        policy: the player as a function of observations: tokens (m, L), lengths (m,) to probabilities (m, A).
    """

    n: int
    expected_return: float
    kl: float
    policy: Callable[..., np.ndarray]

    @property
    def bound(self) -> float:
        """Log n − (n − 1)/n, the KL where no two drafts can tie: no `kl` is above it."""
        return math.log(self.n) - (self.n - 1) / self.n


@checked
def best_of_n(
    task: FiniteTask,
    policy: Callable[..., np.ndarray],
    n: Annotated[int, Range(least=1, most=10**9)],
    *,
    masked: bool = False,
    max_nodes: int = 200_000,
) -> BestOfNEvaluation:
    """Work out the best of n whole episodes that a policy drafts from one start; of equals any, at random.

    With F(R) the probability that a draft has at most the return R, an episode y is kept with the probability
    π(y)·(F(R)ⁿ − F(R−)ⁿ)/(F(R) − F(R−)). Summed over the ends of the tree that is a policy of tokens.

    Args:
        task: a finite task of context "episode" whose transitions are certain and whose start is shown.
        policy: who drafts: probabilities (m, A) from tokens (m, L) int32 and lengths (m,) int32.
        n: how many drafts.
        masked: call `policy(tokens, lengths, masks)` with the legal tokens, bool (m, A).
        max_nodes: the largest number of prefixes to visit.

    Raises:
        TooManyNodesError: there are more than `max_nodes` prefixes.
        TokenGymError: the task is not finite, or not as it has to be.
    """
    require_finite(task)
    if not task.deterministic or task.context != "episode":
        raise TokenGymError(
            f"best of n is worked out for whole completions (context 'episode') with certain transitions, which "
            f"{task.name!r} does not have: estimate it by episodes"
        )
    if (task.arrays.noise > 0).any():
        raise TokenGymError(
            f"{task.name!r} pays with noise, so that no draft is better for sure: estimate it by episodes"
        )
    drafting: list[np.ndarray] = []

    def follow(level: Level) -> np.ndarray:
        if len(level.state) != level.num_nodes:
            raise TokenGymError(
                f"{task.name!r} hides a state that the return depends on, so that who keeps the best draft knows what "
                "no policy sees: estimate it by episodes"
            )
        drafting.append(ask(policy, level, task.vocabulary.num_actions, legal_actions(task, level) if masked else None))
        return drafting[-1] > 0

    graph = unfold(task, observe=True, follow=follow, max_nodes=max_nodes)
    root, chance, returns, going = _ends(graph, drafting)
    kept, kl = np.zeros(len(chance)), np.zeros(len(graph.root_probability))
    by_root = np.argsort(root, kind="stable")
    for among in np.split(by_root, np.flatnonzero(np.diff(root[by_root])) + 1):
        drafted = np.log(chance[among])
        # Returns that differ by rounding alone are equal.
        kept[among] = best_of_draws(np.round(returns[among], 12), n, drafted)
        kl[root[among[0]]] = divergence(kept[among], drafted)
    said = _tokens_of(graph, going, kept)
    probabilities = [_shares(mass, before) for mass, before in zip(said, drafting, strict=True)]
    return BestOfNEvaluation(
        n,
        expected_return=float(graph.root_probability[root] @ (kept * returns)),
        kl=float(graph.root_probability @ kl),
        policy=partial(Lookup(task, graph).gather, probabilities),
    )


def _ends(
    graph: Graph, drafting: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Return root (e,), probability (e,) given the root and return (e,) of every way to end; and how tokens lead on.

    The last, by level: bool (N, A) which tokens end there, intp (N, A) the end that each is, and intp (N, A) the node
    of the next level that each leads to, −1 where none.
    """
    arrays = graph.arrays
    root, chance, paid = np.arange(graph.levels[0].num_nodes), np.ones(graph.levels[0].num_nodes), 0.0
    returns_so_far = np.full(len(root), paid)
    roots, chances, totals = [], [], []
    going: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    count = 0
    for depth, level in enumerate(graph.levels):
        outcome = arrays.probability[level.state].argmax(axis=2)  # the only one (N, A)
        reward = np.take_along_axis(arrays.reward[level.state], outcome[:, :, None], axis=2)[:, :, 0]
        child = np.take_along_axis(graph.children[depth], outcome[:, :, None], axis=2)[:, :, 0].astype(np.intp)
        said = drafting[depth] > 0
        ends = said & (child < 0)
        number = np.full(child.shape, -1, np.intp)
        number[ends] = count + np.arange(int(ends.sum()))
        count += int(ends.sum())
        node, token = np.nonzero(ends)
        roots.append(root[node])
        chances.append(chance[node] * drafting[depth][node, token])
        totals.append(returns_so_far[node] + reward[node, token])
        going.append((ends, number, np.where(said, child, -1)))
        if depth + 1 == len(graph.levels):
            break
        following = graph.levels[depth + 1]
        node, token = np.nonzero(said & (child >= 0))
        after = following.node[child[node, token]]
        next_root = np.zeros(following.num_nodes, np.intp)
        next_chance, next_return = np.zeros(following.num_nodes), np.zeros(following.num_nodes)
        next_root[after] = root[node]
        next_chance[after] = chance[node] * drafting[depth][node, token]
        next_return[after] = returns_so_far[node] + reward[node, token]
        root, chance, returns_so_far = next_root, next_chance, next_return
    return np.concatenate(roots), np.concatenate(chances), np.concatenate(totals), going


def _tokens_of(
    graph: Graph, going: list[tuple[np.ndarray, np.ndarray, np.ndarray]], kept: np.ndarray
) -> list[np.ndarray]:
    """Return by level the probability (N, A) of what is kept that goes through each token."""
    after: np.ndarray | None = None
    found: list[np.ndarray] = []
    for depth in reversed(range(len(graph.levels))):
        ends, number, child = going[depth]
        mass = np.where(ends, kept[number], 0.0)
        if after is not None:
            node = graph.levels[depth + 1].node
            mass = np.where(child >= 0, after.sum(axis=1)[node[child]], mass)
        found.append(mass)
        after = mass
    return found[::-1]


def _shares(mass: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return mass (N, A) as distributions; where nothing that is kept passes, what who drafts says."""
    total = mass.sum(axis=1, keepdims=True)
    return np.where(total > 0, mass / np.where(total > 0, total, 1.0), before)
