"""The observations of a batch of rows: what was said so far, in one array that is padded on the right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..outcomes import Reply, Rows

_ONE = np.array(1, np.int32)  # NumPy adds an array of one number in half the time of a Python one


class TokenBuffer:
    """The tokens of n rows, and how many each row has.

    Everywhere `rows` are strictly increasing indices, so that n of them are all the rows: that case is the fast one.

    Attributes:
        tokens: int32 of shape (n, L); the columns past a row's length hold `pad`.
        lengths: int32 of shape (n,).
        limit: The most tokens of a row (L).
    """

    def __init__(self, num_rows: int, max_length: int, bos: int, pad: int) -> None:
        self.tokens = np.full((num_rows, max_length), pad, np.int32)
        self.tokens[:, 0] = bos
        self.lengths = np.ones(num_rows, np.int32)
        self._num_rows = num_rows
        self.limit = max_length
        self._pad = pad
        self._first = np.arange(num_rows) * max_length  # where each row begins in the buffer laid out flat
        # No length exceeds this bound; it saves looking at the lengths in every step.
        self._longest = 1

    def full(self, rows: Rows) -> npt.NDArray[np.bool_] | None:
        """Returns which of `rows` have no room for another token, bool of shape (m,), or None where none has."""
        if self._longest < self.limit:
            return None
        self._longest = int(self.lengths.max())
        return self.lengths[rows] >= self.limit if self._longest >= self.limit else None

    def say(self, rows: Rows, actions: npt.NDArray[np.integer]) -> None:
        """Puts one token after those of each of `rows`, which must have room for it."""
        if len(rows) == self._num_rows:
            self.tokens.put(self._first + self.lengths, actions)
            np.add(self.lengths, _ONE, out=self.lengths)
        else:
            lengths = self.lengths[rows]
            self.tokens.put(self._first[rows] + lengths, actions)
            lengths += 1
            self.lengths[rows] = lengths
        self._longest += 1

    def show(self, rows: Rows, reply: Reply | None) -> None:
        """Replaces the observations of `rows` by `bos` and as much of the reply as fits; None is the empty reply."""
        if reply is None:
            width, said, counts = 0, None, np.zeros(len(rows), np.int32)
        else:
            width, said, counts = reply.tokens.shape[1], self._padded(reply), reply.counts
            if width >= self.limit:
                width = self.limit - 1
                said, counts = said[:, :width], np.minimum(counts, width)
        columns = 1 + width
        # Columns past the longest observation hold nothing but padding already.
        dirty = min(max(self._longest, columns), self.limit)
        if len(rows) == self._num_rows:
            if said is not None:
                self.tokens[:, 1:columns] = said
            if dirty > columns:
                self.tokens[:, columns:dirty] = self._pad
            np.add(counts, _ONE, out=self.lengths, casting="same_kind")
            self._longest = columns
        else:
            if said is None or dirty > columns:
                block = np.empty((len(rows), dirty - 1), np.int32)
                block[:, width:] = self._pad
                if said is not None:
                    block[:, :width] = said
            else:
                block = said
            self.tokens[rows, 1:dirty] = block
            self.lengths[rows] = counts + _ONE
            self._longest = dirty

    def extend(self, rows: Rows, reply: Reply) -> None:
        """Puts as much of the reply as fits after the tokens of each of `rows`."""
        answered = np.flatnonzero(reply.counts)
        if not len(answered):
            return
        if len(answered) < len(rows):
            rows = rows[answered]
            reply = Reply(reply.tokens[answered], reply.counts[answered], reply.padded)
        lengths = self.lengths[rows]
        width = reply.tokens.shape[1]
        said = self._padded(reply)
        columns = lengths[:, None] + np.arange(width)
        places = self._first[rows][:, None] + columns
        longest = int(lengths.max()) + width
        if longest <= self.limit:
            # What is written past a row's count is padding, over padding.
            self.tokens.put(places, said)
            self.lengths[rows] = lengths + reply.counts
            self._longest = max(self._longest, longest)
        else:
            fits = columns < self.limit
            self.tokens.put(places[fits], said[fits])
            self.lengths[rows] = np.minimum(lengths + reply.counts, self.limit)
            self._longest = self.limit

    def say_row(self, row: int, action: int) -> int:
        """Puts one token after those of one row, which must have room for it, and returns how many it then has."""
        length = self.lengths.item(row)
        self.tokens[row, length] = action
        length += 1
        self.lengths[row] = length
        if length > self._longest:
            self._longest = length
        return length

    def show_row(self, row: int, reply: Sequence[int] | npt.NDArray[np.integer]) -> int:
        """Replaces one row's observation by `bos` and as much of the reply as fits, and returns its length."""
        before, length = self.lengths.item(row), 1 + len(reply)
        if length > self.limit:
            length = self.limit
            reply = reply[: length - 1]
        if length > 1:
            self.tokens[row, 1:length] = reply
        if before > length:
            self.tokens[row, length:before] = self._pad
        self.lengths[row] = length
        if length > self._longest:
            self._longest = length
        return length

    def extend_row(self, row: int, reply: Sequence[int] | npt.NDArray[np.integer]) -> int:
        """Puts as much of the reply as fits after one row's tokens, and returns how many it then has."""
        before = self.lengths.item(row)
        length = min(before + len(reply), self.limit)
        self.tokens[row, before:length] = reply[: length - before]
        self.lengths[row] = length
        if length > self._longest:
            self._longest = length
        return length

    def put(self, row: int, tokens: list[int]) -> None:
        """Replaces all of one row's observation, `bos` included."""
        self.tokens[row] = self._pad
        self.tokens[row, : len(tokens)] = tokens
        self.lengths[row] = len(tokens)
        self._longest = max(self._longest, len(tokens))

    def copy_rows(self, sources: Rows, targets: Rows) -> None:
        """Replaces the observations of `targets` by those of `sources`, which may repeat and be in any order."""
        # Columns past the longest observation hold nothing but padding already.
        self.tokens[targets, : self._longest] = self.tokens[sources, : self._longest]
        self.lengths[targets] = self.lengths[sources]

    def _padded(self, reply: Reply) -> npt.NDArray[np.int32]:
        """Returns the reply's tokens with padding past the counts."""
        if reply.padded:
            return reply.tokens
        return np.where(np.arange(reply.tokens.shape[1]) < reply.counts[:, None], reply.tokens, self._pad)
