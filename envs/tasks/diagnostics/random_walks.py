"""Random walks: the shortest ways through a graph, to be put together from walks that wander."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random

GOAL = 0
_MOST_NODES, _MOST_STATES = 200, 200_000
_MOST_DRAWS = 5_000


class RandomWalks(FiniteTask):
    """Walk through a graph to its goal, in as few steps as can be.

    ## Description
    A directed graph of 21 nodes, which belongs to the instance and is not shown. Every token names the next node of
    the walk; an edge that is not there ends it. Whoever wanders at random along edges gets about .35; the shortest way
    gets 1 from every node. It isolates learning from data that are far from optimal: hardly any recorded walk is a
    shortest one, and all shortest ones can be put together from pieces of them. Mirrors the random walks of Decision
    Transformer and trlX.

    ## Action space
    Tokens `n0`, `n1`, …, one a node; `n0` is the goal.

    ## Observation space
    With `observed="walk"` `[<bos>, start]`, the node where the walk starts (`at-n7`), then what the agent said, in
    context "episode". With `observed="node"` `[<bos>, node]`, where it is now, in context "turn": neither the start nor
    the steps made are shown, and the best walk needs neither.

    ## Rewards
    With the step that reaches the goal, the length of the shortest way from the start over the steps made; 0 for
    everything else.

    ## Starting state
    Every node but the goal, with equal chances.

    ## Episode end
    Terminated at the goal, after `num_steps` steps, or with a step along no edge.

    ## Information
    The legal tokens are those of the edges from the present node.

    ## Arguments
    * `num_nodes=21`: nodes of the graph, 3 to 200.
    * `num_steps=10`: steps of the longest walk.
    * `walk_return=0.35`: what a random walk along edges gets, in 0…1: graphs are drawn until one is within .01 of it.
    * `observed="walk"`: `"walk"` (the start is shown, and all that was said) or `"node"` (the present node).
    * `instance_seed=0`: draws the graph. Each node has one to four edges.

    ## References
    Chen et al., "Decision Transformer: Reinforcement Learning via Sequence Modeling", NeurIPS 2021 (shortest paths from
    random walks); trlX, `examples/randomwalks`.

    ## Version history
    * v0: first release.
    """

    name = "RandomWalks"
    family = "diagnostics"
    isolates = "putting pieces of poor data together"
    mirrors = "random walks of Decision Transformer and trlX"
    optimal_return = 1.0

    def __init__(
        self,
        num_nodes: int = 21,
        num_steps: int = 10,
        walk_return: float = 0.35,
        observed: str = "walk",
        instance_seed: int = 0,
    ) -> None:
        self.num_nodes, self.num_steps = positive_int("num_nodes", num_nodes), positive_int("num_steps", num_steps)
        if observed not in ("walk", "node"):
            raise TokenGymError(f"observed={observed!r}: expected 'walk' or 'node'.")
        if not 3 <= num_nodes <= _MOST_NODES:
            raise TokenGymError(f"num_nodes={num_nodes}: expected 3 … {_MOST_NODES}, the goal among them.")
        if num_nodes * num_nodes * num_steps > _MOST_STATES:
            raise TokenGymError(
                f"num_nodes={num_nodes}, num_steps={num_steps}: nodes times nodes times steps are more than "
                f"{_MOST_STATES}; take fewer of either."
            )
        if not isinstance(walk_return, (int, float)) or not 0 < walk_return < 1:
            raise TokenGymError(f"walk_return={walk_return!r}: expected a number between 0 and 1, such as .35.")
        self.observed, self.context = observed, "episode" if observed == "walk" else "turn"
        self.vocabulary = Vocabulary.of(
            [f"n{node}" for node in range(num_nodes)], [f"at-n{node}" for node in range(num_nodes)]
        )
        self.edges, self.distances, self.walk_return = self._drawn(float(walk_return), instance_seed)
        self.max_episode_tokens = num_steps

    def _drawn(self, wanted: float, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], float]:
        """Draw graphs until random walks get what is wanted; edges (n, n), steps to the goal (n,), what they get."""
        random = instance_random(seed)
        nearest = 2.0
        for _ in range(_MOST_DRAWS):
            edges = _some_edges(random, self.num_nodes)
            distances = _steps_to_goal(edges)
            if distances.max() > self.num_steps:
                continue
            found = _worth_of_wandering(edges, distances, self.num_steps)
            if abs(found - wanted) < 0.01:
                return edges, distances, found
            nearest = min(nearest, found, key=lambda one: abs(one - wanted))
        raise TokenGymError(
            f"walk_return={wanted:g}: none of {_MOST_DRAWS} graphs of {self.num_nodes} nodes, all within "
            f"{self.num_steps} steps of the goal, is such that random walks get that (the nearest: {nearest:.3g}). Ask "
            "for something nearer, or for other nodes or steps."
        )

    def initial(self) -> Iterable[Initial]:
        """Return every start; a state is (node, steps made, length of the shortest way from the start)."""
        chance = 1 / (self.num_nodes - 1)
        return [
            Initial(chance, (node, 0, int(self.distances[node])), self._shown(node))
            for node in range(1, self.num_nodes)
        ]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Go along an edge, or end where there is none."""
        node, made, shortest = state
        if not self.edges[node, action]:
            return [Transition(1.0, None, 0.0)]
        if action == GOAL:
            return [Transition(1.0, None, shortest / (made + 1))]
        if made + 1 == self.num_steps:
            return [Transition(1.0, None, 0.0)]
        return [
            Transition(1.0, (action, made + 1, shortest), 0.0, () if self.observed == "walk" else self._shown(action))
        ]

    def legal(self, state: Any) -> Iterable[int] | None:
        """Return the nodes that there is an edge to."""
        return np.flatnonzero(self.edges[state[0]]).tolist()

    def expert_action(self, state: Any) -> int | None:
        """Return the first step of a shortest way."""
        ways = np.flatnonzero(self.edges[state[0]])
        return int(ways[self.distances[ways].argmin()])

    def _shown(self, node: int) -> tuple[int, ...]:
        return (self.num_nodes + node,)


def _some_edges(random: np.random.Generator, num_nodes: int) -> npt.NDArray[np.bool_]:
    """One to four edges from each node, never to itself; those of the goal lead nowhere that matters."""
    order = random.random((num_nodes, num_nodes))
    np.fill_diagonal(order, 2.0)
    ranks = order.argsort(axis=1).argsort(axis=1)
    return ranks < np.minimum(random.integers(1, 5, size=num_nodes), num_nodes - 1)[:, None]


def _steps_to_goal(edges: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The length of the shortest way from each node; more than there are nodes where there is none."""
    distances = np.full(len(edges), len(edges) + 1)
    distances[GOAL], reached = 0, np.arange(len(edges)) == GOAL
    for steps in range(1, len(edges)):
        arriving = edges[:, reached].any(axis=1) & ~reached
        if not arriving.any():
            break
        distances[arriving] = steps
        reached |= arriving
    return distances


def _worth_of_wandering(edges: npt.NDArray[np.bool_], distances: npt.NDArray[np.int64], num_steps: int) -> float:
    """What random walks along edges get on average over the starts, exactly."""
    ways = edges / edges.sum(axis=1, keepdims=True)
    # Where walks are that began in each node, by the node that they began in.
    places = np.diag(np.ones(len(edges)))[np.arange(len(edges)) != GOAL]
    shortest, worth = distances[np.arange(len(edges)) != GOAL], 0.0
    for steps in range(1, num_steps + 1):
        places = places @ ways
        worth += float((places[:, GOAL] * shortest).sum()) / steps
        places[:, GOAL] = 0.0
    return worth / len(places)
