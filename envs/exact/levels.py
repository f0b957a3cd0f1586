"""Information states, level by level: what an agent can know after each token that it says.

An *information state* (a node) is the belief over the hidden states of a finite task, given the tokens that were shown,
the tokens that were said and that the episode goes on. A level holds the nodes after the same number of agent tokens
as flat arrays of (node, state, weight) *pairs*. Going one level down expands every pair by every token and outcome,
sorts the results by what the agent can tell apart, and merges nodes whose beliefs are equal, so the cost follows the
number of different beliefs instead of the number of histories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..checking import TokenGymError, TooManyNodesError
from ..finite import FiniteArrays, FiniteTask

# Beliefs whose weights differ by less than this grid are one node; far below the solver's promised precision of 1e-12.
_WEIGHT_GRID = float(2**46)
# How many (pair, token, outcome) are expanded at a time: it bounds the memory, and a cache holds a good part of it.
_CHUNK = 1 << 19


@dataclass(frozen=True, eq=False)
class Level:
    """All information states after the same number of agent tokens.

    Attributes:
        node: int64 array of shape (P,), the node of each pair, ascending.
        state: int64 array of shape (P,), the hidden state of each pair, ascending within a node.
        weight: float64 array of shape (P,), probability of the state given the node; sums to 1 over each node.
        starts: int64 array of shape (N + 1,), where each node's pairs begin; the last entry is P.
        tokens: int32 array of shape (N, L), the observation of each node, or None where observations are not kept.
        lengths: int32 array of shape (N,), the observations' lengths, or None.
    """

    node: np.ndarray
    state: np.ndarray
    weight: np.ndarray
    starts: np.ndarray
    tokens: np.ndarray | None = None
    lengths: np.ndarray | None = None

    @property
    def num_nodes(self) -> int:
        """Number N of information states."""
        return len(self.starts) - 1


@dataclass(frozen=True, eq=False)
class Graph:
    """The information states of a task, and how they follow one another.

    Attributes:
        arrays: the compiled task.
        levels: the information states by number of agent tokens said.
        children: for each level an int32 array of shape (P, A, K): the pair of the next level that follows from a pair
            by a token and an outcome; −1 where the episode ends, the outcome is impossible or the token not followed.
        root_probability: float64 array of shape (N0,), the probability of each node of the first level.
        root_reply: int64 array of shape (N0,), the index of the reply that is shown at each node of the first level.
    """

    arrays: FiniteArrays
    levels: list[Level]
    children: list[np.ndarray]
    root_probability: np.ndarray
    root_reply: np.ndarray

    @property
    def num_nodes(self) -> int:
        """Number of information states on all levels together."""
        return sum(level.num_nodes for level in self.levels)


class Observer:
    """Writes the observations of nodes as the engine would: appended, or begun anew after a turn.

    Args:
        task: the finite task whose vocabulary, context and turns are used.
    """

    def __init__(self, task: FiniteTask) -> None:
        """See the class."""
        self.task = task
        self.replaces = task.context == "turn"

    def first(self, reply: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens (N, L) and lengths (N,) of first observations, for reply indices (N,)."""
        vocabulary = self.task.vocabulary
        tokens = np.full((len(reply), self.task.max_length), vocabulary.pad, dtype=np.int32)
        tokens[:, 0] = vocabulary.bos
        return self._append(tokens, np.ones(len(reply), dtype=np.int32), reply)

    def after(self, level: Level, depth: int, parent: np.ndarray, action: np.ndarray, reply: np.ndarray):
        """Return tokens and lengths after an action said at nodes `parent` of a level that has said `depth` tokens."""
        assert level.tokens is not None and level.lengths is not None
        if self.replaces and (depth + 1) % self.task.turn_tokens == 0:
            return self.first(reply)
        tokens, lengths = level.tokens[parent], level.lengths[parent]
        tokens[np.arange(len(parent)), lengths] = action
        return self._append(tokens, lengths + 1, reply)

    def _append(self, tokens: np.ndarray, lengths: np.ndarray, reply: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arrays = self.task.arrays
        counts = arrays.reply_counts[reply]
        row, column = np.nonzero(np.arange(arrays.reply_tokens.shape[1]) < counts[:, None])
        tokens[row, lengths[row] + column] = arrays.reply_tokens[reply[row], column]
        return tokens, (lengths + counts).astype(np.int32)


def row_keys(rows: np.ndarray) -> np.ndarray:
    """Return one opaque, sortable key (m,) for each row of an integer array (m, k): equal rows, equal keys."""
    rows = np.ascontiguousarray(np.column_stack([np.zeros(len(rows)), rows]), dtype=np.int32)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()


def unfold(
    task: FiniteTask,
    *,
    observe: bool,
    follow: Callable[[Level], np.ndarray] | None = None,
    max_nodes: int | None = None,
) -> Graph:
    """Build the information states that can be reached, level by level, until every episode has ended.

    Args:
        task: a finite task.
        observe: keep each node's observation, and merge nodes only if their observations are equal too.
        follow: bool array (N, A) for a level: the tokens worth following; by default all are.
        max_nodes: the largest number of nodes to build.

    Raises:
        TooManyNodesError: there are more nodes than `max_nodes`.
        TokenGymError: some episode never ends.
    """
    arrays = task.arrays
    observer = Observer(task) if observe else None
    initial = np.flatnonzero(arrays.initial_probability > 0)
    reply = arrays.initial_reply[initial].astype(np.int64)
    level, _, node_reply, mass = _assemble(
        reply,
        arrays.initial_state[initial].astype(np.int64),
        arrays.initial_probability[initial],
        arrays.num_states,
        None if observer is None else lambda rows: observer.first(reply[rows]),
        merge=False,
    )
    root_reply, levels, children = reply[node_reply], [level], []
    count = level.num_nodes
    while True:
        _check_size(task, count, len(levels), max_nodes)
        possible = _possible(arrays, level, None if follow is None else follow(level))
        if observer is not None and not observer.replaces:
            # No two of these histories will merge: better to stop before building them than after.
            said = np.logical_or.reduceat(possible.any(axis=2), level.starts[:-1])
            _check_size(task, count + int(said.sum()), len(levels), max_nodes)
        following, child = _expand(arrays, level, len(levels) - 1, possible, observer)
        children.append(child)
        if following is None:
            return Graph(arrays, levels, children, mass, root_reply)
        levels.append(following)
        level = following
        count += level.num_nodes


def _check_size(task: FiniteTask, count: int, depth: int, max_nodes: int | None) -> None:
    if max_nodes is not None and count > max_nodes:
        raise TooManyNodesError(
            f"{task.name} has more than max_nodes={max_nodes} information states within {depth} tokens: raise "
            "max_nodes, evaluate a greedy policy instead of a stochastic one, or estimate by sampled episodes."
        )
    if depth > task.arrays.num_states:
        raise TokenGymError(
            f"{task.name} can go on for ever: a state returns to itself, but exact scores need episodes that end. "
            "Count the steps in the state and end the episode at a limit."
        )


def _possible(arrays: FiniteArrays, level: Level, follow: np.ndarray | None) -> np.ndarray:
    """Return which outcomes (P, A, K) of the followed tokens can happen and let the episode go on."""
    possible = (arrays.probability[level.state] > 0) & (arrays.next[level.state] < arrays.num_states)
    if follow is not None:
        possible &= follow[level.node][:, :, None]
    return possible


def _expand(
    arrays: FiniteArrays, level: Level, depth: int, possible: np.ndarray, observer: Observer | None
) -> tuple[Level | None, np.ndarray]:
    """Return the next level (None if every episode has ended) and the pair of it that each outcome leads to.

    Nodes are expanded in chunks, and equal beliefs merged within a chunk before they are merged in all.
    """
    child = np.full(possible.shape, -1, dtype=np.int32)
    if not possible.any():
        return None, child
    per_pair = possible.shape[1] * possible.shape[2]
    parts, num_pairs, first = [], 0, 0
    while first < level.num_nodes:
        # At least one node, and as many more as stay within the size.
        last = int(np.searchsorted(level.starts, level.starts[first] + _CHUNK // per_pair, side="right")) - 1
        last = max(last, first + 1)
        pairs = slice(int(level.starts[first]), int(level.starts[last]))
        part, flat, target = _expand_pairs(arrays, level, depth, possible, pairs, observer)
        if part is not None:
            child[pairs].reshape(-1)[flat] = target + num_pairs
            num_pairs += len(part.node)
            parts.append(part)
        first = last
    if len(parts) == 1:
        return parts[0], child
    following, target = _merge(_joined(parts))
    return following, np.append(target, -1).astype(np.int32)[child]


def _expand_pairs(
    arrays: FiniteArrays, level: Level, depth: int, possible: np.ndarray, pairs: slice, observer: Observer | None
) -> tuple[Level | None, np.ndarray, np.ndarray]:
    """Expand the pairs of some nodes; return a level, the outcomes that go on (flat) and the pair each leads to."""
    _, num_actions, num_outcomes = possible.shape
    flat = np.flatnonzero(possible[pairs])
    if len(flat) == 0:
        return None, flat, flat
    pair, action = flat // (num_actions * num_outcomes) + pairs.start, flat // num_outcomes % num_actions
    state = level.state[pairs]
    reply = arrays.reply[state].ravel()[flat].astype(np.int64)
    history = (level.node[pair] * num_actions + action) * len(arrays.reply_counts) + reply
    following, target, _, _ = _assemble(
        history,
        arrays.next[state].ravel()[flat].astype(np.int64),
        level.weight[pair] * arrays.probability[state].ravel()[flat],
        arrays.num_states,
        None
        if observer is None
        else lambda rows: observer.after(level, depth, level.node[pair[rows]], action[rows], reply[rows]),
        merge=True,
    )
    return following, flat, target


def _joined(parts: list[Level]) -> Level:
    """Put levels behind one another."""
    nodes = np.cumsum([0, *(part.num_nodes for part in parts)])
    pairs = np.cumsum([0, *(len(part.node) for part in parts)])
    return Level(
        np.concatenate([part.node + node for part, node in zip(parts, nodes[:-1], strict=True)]),
        np.concatenate([part.state for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([[0], *(part.starts[1:] + pair for part, pair in zip(parts, pairs[:-1], strict=True))]),
        None if parts[0].tokens is None else np.concatenate([part.tokens for part in parts if part.tokens is not None]),
        None if parts[0].lengths is None else np.concatenate([p.lengths for p in parts if p.lengths is not None]),
    )


def _assemble(
    history: np.ndarray,
    state: np.ndarray,
    mass: np.ndarray,
    num_states: int,
    observe: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None,
    merge: bool,
) -> tuple[Level, np.ndarray, np.ndarray, np.ndarray]:
    """Gather rows (history, state, mass) into nodes: one a history, then one a belief where `merge` is set.

    Returns:
        The level, the pair (M,) that each row went into, for each node the row that it first came from, and its mass.
    """
    if int(history.max()) < 2**62 // num_states:
        order = np.argsort(history * num_states + state, kind="stable")
    else:
        order = np.lexsort((state, history))
    sorted_history, sorted_state = history[order], state[order]
    new_history = np.append(True, sorted_history[1:] != sorted_history[:-1])
    new_pair = new_history | np.append(True, sorted_state[1:] != sorted_state[:-1])
    pair_rows = np.flatnonzero(new_pair)
    pair_of_row = np.empty(len(order), dtype=np.int64)
    pair_of_row[order] = np.cumsum(new_pair) - 1
    pair_mass = np.add.reduceat(mass[order], pair_rows)
    pair_state = sorted_state[pair_rows]

    first_pair = np.flatnonzero(new_history[pair_rows])
    node = np.cumsum(new_history[pair_rows]) - 1
    first_row = order[pair_rows[first_pair]]
    total = np.add.reduceat(pair_mass, first_pair)
    weight = pair_mass / total[node]
    tokens, lengths = (None, None) if observe is None else observe(first_row)
    starts = np.append(first_pair, len(node))
    if not merge:
        return Level(node, pair_state, weight, starts, tokens, lengths), pair_of_row, first_row, total

    level, target = _merge(Level(node, pair_state, weight, starts, tokens, lengths))
    return level, target[pair_of_row], first_row, total


def _merge(level: Level) -> tuple[Level, np.ndarray]:
    """Merge the nodes whose beliefs are equal; return the level and the pair of it that each pair went into."""
    first_pair = level.starts[:-1]
    kept, merged = _equal_beliefs(level.state, level.weight, first_pair, level.tokens, level.lengths)
    kept_pairs = np.zeros(level.num_nodes, dtype=bool)
    kept_pairs[kept] = True
    kept_pairs = kept_pairs[level.node]
    sizes = np.diff(level.starts)[kept]
    kept_starts = np.append(0, np.cumsum(sizes))
    target = kept_starts[merged[level.node]] + np.arange(len(level.node)) - first_pair[level.node]
    smaller = Level(
        np.repeat(np.arange(len(kept)), sizes),
        level.state[kept_pairs],
        level.weight[kept_pairs],
        kept_starts,
        None if level.tokens is None else level.tokens[kept],
        None if level.lengths is None else level.lengths[kept],
    )
    return smaller, target


def _equal_beliefs(
    state: np.ndarray,
    weight: np.ndarray,
    first_pair: np.ndarray,
    tokens: np.ndarray | None,
    lengths: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes to keep, ascending, and for every node the index of the kept one that it equals.

    Beliefs are compared by 128 bits: two sums over their pairs of a mixed (state, weight).
    """
    grid = np.rint(weight * _WEIGHT_GRID).astype(np.uint64)
    hashes = []
    for seed in (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03):
        belief = np.add.reduceat(_mix(state.astype(np.uint64) * np.uint64(seed) + grid, seed), first_pair)
        if tokens is not None and lengths is not None:
            place = np.arange(tokens.shape[1], dtype=np.uint64) << np.uint64(32)
            said = _mix(_mix(tokens.astype(np.uint64) + place, seed), seed)
            belief = _mix(belief, seed) + (said * (np.arange(tokens.shape[1]) < lengths[:, None])).sum(axis=1)
        hashes.append(belief)
    order = np.lexsort(hashes)
    different = np.append(
        True, (hashes[0][order][1:] != hashes[0][order][:-1]) | (hashes[1][order][1:] != hashes[1][order][:-1])
    )
    # The sort is stable, so the first of a run of equals is the one with the smallest index.
    leaders = order[different]
    rank = np.empty(len(leaders), dtype=np.int64)
    rank[np.argsort(leaders)] = np.arange(len(leaders))
    merged = np.empty(len(order), dtype=np.int64)
    merged[order] = rank[np.cumsum(different) - 1]
    return np.sort(leaders), merged


def _mix(values: np.ndarray, seed: int) -> np.ndarray:
    """Scatter uint64 values over 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    mixed = values + np.uint64(seed)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
