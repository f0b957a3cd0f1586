"""From an observation, as a policy sees it, to the information state that it shows."""

from __future__ import annotations

import numpy as np

from ..checking import TokenGymError
from ..finite import FiniteTask
from .levels import Graph, row_keys


class Lookup:
    """Finds the information states that observations show.

    In context "episode" the tokens are read from the first one on: what was shown, what was said, what was shown. In
    context "turn" the observations of all information states are kept, and the earliest one that fits is meant.

    Args:
        task: the finite task.
        graph: its information states; with observations if the context is "turn".
    """

    def __init__(self, task: FiniteTask, graph: Graph) -> None:
        """See the class."""
        self.task = task
        self.graph = graph
        self._known: dict[bytes, tuple[int, int]] | None = None

    def gather(self, by_level: list[np.ndarray], tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the rows (m, …) of a quantity kept by level and node at observations tokens (m, L), lengths (m,).

        Raises:
            TokenGymError: an observation that the task cannot show before an episode's end.
        """
        depth, node = self.locate(tokens, lengths)
        out = np.empty((len(depth), *by_level[0].shape[1:]))
        for level in np.unique(depth):
            rows = depth == level
            out[rows] = by_level[level][node[rows]]
        return out

    def locate(self, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the level (m,) and the node (m,) of each observation; arguments and errors as in `gather`."""
        tokens, lengths = np.asarray(tokens), np.asarray(lengths).reshape(-1).astype(np.int64)
        depth, node = (self._by_table if self.task.context == "turn" else self._by_reading)(tokens, lengths)
        if (depth < 0).any():
            row = int(np.flatnonzero(depth < 0)[0])
            raise TokenGymError(
                f"{self.task.name} never asks for a token at the observation {tokens[row, : lengths[row]].tolist()}: "
                "expected tokens as the environment shows them, from the first one on, before the episode's end."
            )
        return depth, node

    def _by_table(self, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._known is None:
            self._known = {}
            for depth, level in enumerate(self.graph.levels):
                assert level.tokens is not None and level.lengths is not None
                for node, (row, length) in enumerate(zip(level.tokens, level.lengths, strict=True)):
                    self._known.setdefault(row[:length].tobytes(), (depth, node))
        keys = (row[:length].astype(np.int32).tobytes() for row, length in zip(tokens, lengths, strict=True))
        found = np.array([self._known.get(key, (-1, -1)) for key in keys], dtype=np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _by_reading(self, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        depths, nodes = np.full(len(tokens), -1), np.full(len(tokens), -1)
        # Readings still open: the row, how many of its tokens are read, the node it is at. Replies of different lengths
        # can leave more than one open; the first that reads a whole row counts.
        row, read, node = self._begun(tokens, lengths)
        for depth in range(len(self.graph.levels)):
            done = (read == lengths[row]) & (depths[row] < 0)
            depths[row[done]], nodes[row[done]] = depth, node[done]
            row, read, node = row[~done], read[~done], node[~done]
            row, read, node = row[depths[row] < 0], read[depths[row] < 0], node[depths[row] < 0]
            if len(row) == 0 or depth + 1 == len(self.graph.levels):
                break
            row, read, node = self._follow(depth, tokens, lengths, row, read, node)
        return depths, nodes

    def _begun(self, tokens: np.ndarray, lengths: np.ndarray):
        """Read the begin token and what is shown at the start; return the readings that fit."""
        arrays, roots = self.graph.arrays, self.graph.root_reply
        begins = tokens[:, 0] == self.task.vocabulary.bos
        rows, reads, nodes = [], [], []
        for count in np.unique(arrays.reply_counts[roots]):
            node = np.flatnonzero(arrays.reply_counts[roots] == count)
            row = np.flatnonzero(begins & (lengths > count))
            shown = np.concatenate([arrays.reply_tokens[roots[node], :count], tokens[row, 1 : 1 + count]])
            key = np.unique(row_keys(shown), return_inverse=True)[1]
            node_of_key = np.full(key.max(initial=-1) + 1, -1)
            node_of_key[key[: len(node)]] = node
            found = node_of_key[key[len(node) :]]
            rows.append(row[found >= 0])
            reads.append(np.full(len(rows[-1]), 1 + count, dtype=np.int64))
            nodes.append(found[found >= 0])
        return np.concatenate(rows), np.concatenate(reads), np.concatenate(nodes)

    def _follow(self, depth: int, tokens: np.ndarray, lengths: np.ndarray, row, read, node):
        """Read one more agent token and the reply to it; return the open readings one level down."""
        arrays, level, following = self.graph.arrays, self.graph.levels[depth], self.graph.levels[depth + 1]
        action = tokens[row, read].astype(np.int64)
        sayable = action < arrays.num_actions
        row, read, node, action = row[sayable], read[sayable], node[sayable], action[sayable]
        sizes = level.starts[node + 1] - level.starts[node]
        source = np.repeat(np.arange(len(row)), sizes)
        pair = np.arange(len(source)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + level.starts[node][source]
        child = self.graph.children[depth][pair, action[source]]  # (pairs, K)
        which, outcome = np.nonzero(child >= 0)
        reply = arrays.reply[level.state[pair[which]], action[source[which]], outcome].astype(np.int64)
        child_node = following.node[child[which, outcome]]
        # Several hidden states and outcomes show the same reply: that is one reading.
        readings = np.unique(np.column_stack([source[which], child_node, reply]), axis=0)
        source, child_node, reply = readings.T
        return self._shown(tokens, lengths, row[source], read[source] + 1, child_node, reply)

    def _shown(self, tokens: np.ndarray, lengths: np.ndarray, row, read, node, reply):
        """Keep the readings whose next tokens are the reply, and move past it."""
        arrays = self.graph.arrays
        counts = arrays.reply_counts[reply].astype(np.int64)
        column = np.arange(arrays.reply_tokens.shape[1])
        place = np.minimum(read[:, None] + column, tokens.shape[1] - 1)
        same = (tokens[row[:, None], place] == arrays.reply_tokens[reply]) | (column >= counts[:, None])
        fits = same.all(axis=1) & (read + counts <= lengths[row])
        return row[fits], (read + counts)[fits], node[fits]
