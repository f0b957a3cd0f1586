"""Following episodes through the information states, token by token: the player that remembers everything."""

from __future__ import annotations

import numpy as np

from ..checking import TokenGymError
from ..finite import FiniteTask
from .levels import Graph


class Follower:
    """Knows at which information state each of a batch of rows is, from what it was shown and what it said.

    In context `"episode"` an observation tells as much (`Solution.policy`). In context `"turn"` it does not: how many
    tokens were said, and what was shown before, is then only in the memory of a player that followed the episode, and
    the exact optimum belongs to that player.

    Args:
        task: The finite task.
        graph: Its information states.
        num_rows: How many rows are followed.

    Attributes:
        depth: The level that each row is at, int64 of shape (num_rows,).
        node: Its node on that level, int64 of shape (num_rows,); −1 before its first episode.
    """

    def __init__(self, task: FiniteTask, graph: Graph, num_rows: int) -> None:
        self.task = task
        self.graph = graph
        self.depth = np.zeros(num_rows, np.int64)
        self.node = np.full(num_rows, -1, np.int64)
        self._read = np.zeros(num_rows, np.int64)
        arrays = graph.arrays
        shown = zip(arrays.reply_tokens.tolist(), arrays.reply_counts.tolist(), strict=True)
        self._replies = {tuple(tokens[:count]): index for index, (tokens, count) in enumerate(shown)}
        self._roots = {int(reply): node for node, reply in enumerate(graph.root_reply)}

    def begin(self, rows: np.ndarray, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Take the first observation of an episode in each of `rows` (m,): tokens (m, L), lengths (m,)."""
        tokens, lengths = np.asarray(tokens), np.asarray(lengths).reshape(-1)
        replies = self._shown(tokens, np.ones(len(rows), np.int64), lengths)
        nodes = [self._roots.get(int(reply), -1) for reply in replies]
        self.depth[rows], self.node[rows], self._read[rows] = 0, nodes, lengths
        self._check(rows, tokens, lengths)

    def follow(self, rows: np.ndarray, actions: np.ndarray, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Take what each of `rows` (m,) said, (m,), and the observation that it got: tokens (m, L), lengths (m,).

        Raises:
            TokenGymError: An observation that the task cannot show there.
        """
        tokens, lengths = np.asarray(tokens), np.asarray(lengths).reshape(-1).astype(np.int64)
        begun_anew = (self.depth[rows] + 1) % self.task.turn_tokens == 0 if self.task.context == "turn" else False
        replies = self._shown(tokens, np.where(begun_anew, 1, self._read[rows] + 1), lengths)
        for depth in np.unique(self.depth[rows]).tolist():
            here = np.flatnonzero(self.depth[rows] == depth)
            self.node[rows[here]] = self._children(depth, self.node[rows[here]], actions[here], replies[here])
        self.depth[rows] += 1
        self._read[rows] = lengths
        self._check(rows, tokens, lengths)

    def gather(self, by_level: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """Return the entries (m, …) of a quantity kept by level and node, such as a player's probabilities."""
        out = np.empty((len(rows), *by_level[0].shape[1:]), by_level[0].dtype)
        depths = self.depth[rows]
        for depth in np.unique(depths).tolist():
            here = depths == depth
            out[here] = by_level[depth][self.node[rows[here]]]
        return out

    def _shown(self, tokens: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return the index (m,) of the reply that stands at places begins … ends of each row; −1 for none."""
        said = zip(tokens, begins.tolist(), ends.tolist(), strict=True)
        found = [self._replies.get(tuple(row[begin:end].tolist()), -1) for row, begin, end in said]
        return np.array(found, np.int64)

    def _children(self, depth: int, nodes: np.ndarray, actions: np.ndarray, replies: np.ndarray) -> np.ndarray:
        """Return the nodes (m,) one level down, −1 where the reply cannot follow."""
        if depth + 1 >= len(self.graph.levels):
            return np.full(len(nodes), -1, np.int64)
        steps, inverse = np.unique(np.column_stack([nodes, actions, replies]), axis=0, return_inverse=True)
        node, action, reply = steps.T
        level, arrays = self.graph.levels[depth], self.graph.arrays
        sizes = level.starts[node + 1] - level.starts[node]
        step = np.repeat(np.arange(len(steps)), sizes)
        pair = np.arange(len(step)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + level.starts[node][step]
        child = self.graph.children[depth][pair, action[step]]  # (pairs, K)
        fits = (child >= 0) & (arrays.reply[level.state[pair], action[step]] == reply[step][:, None])
        which, outcome = np.nonzero(fits)
        following = np.full(len(steps), -1, np.int64)
        # All outcomes that show the same lead to the same information state.
        following[step[which]] = self.graph.levels[depth + 1].node[child[which, outcome]]
        return following[inverse.reshape(-1)]

    def _check(self, rows: np.ndarray, tokens: np.ndarray, lengths: np.ndarray) -> None:
        lost = np.flatnonzero(self.node[rows] < 0)
        if len(lost):
            seen = tokens[lost[0], : lengths[lost[0]]].tolist()
            raise TokenGymError(
                f"{self.task.name} cannot show {seen} to row {int(rows[lost[0]])} after what it was followed through: "
                "begin with an episode's first observation, and follow every token until the episode's end."
            )
