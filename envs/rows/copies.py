"""Rows of an engine copied to rows and saved: branches of episodes that are under way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError
from ..outcomes import Rows, State
from ..random import CounterRandom
from ..saved_state import check_row
from ..task import Task
from .arguments import read_fork, read_row, read_streams
from .buffer import TokenBuffer


class CopiedRows(ABC):
    """The part of an engine that copies and saves rows; see `Engine` for the attributes."""

    task: Task
    num_rows: int
    over: npt.NDArray[np.bool_]
    _buffer: TokenBuffer
    _state: State
    _random: CounterRandom
    _num_over: int

    @property
    @abstractmethod
    def tokens(self) -> npt.NDArray[np.int32]:
        """The observations; see `Engine.tokens`."""

    @property
    @abstractmethod
    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens in each observation; see `Engine.lengths`."""

    def fork(self, sources: npt.ArrayLike, targets: npt.ArrayLike, starts: npt.ArrayLike | None = None) -> None:
        """Copies episodes under way to other rows, with all that belongs to them, in one call.

        Without `starts` each target meets what its source will meet: for the same tokens the same draws. With `starts`
        only what has happened is the same, hidden draws included, and all further draws are fresh: the mean over many
        branches is then one over chance as well as over actions.

        Args:
            sources: The rows to copy, shape (m,), which may repeat, or one for all targets; their episodes must be
                under way.
            targets: The rows that become copies, shape (m,), without repetitions, whatever was under way there. A row
                that is copied can be a target itself only where it is its own source: it then stays, and where there
                are `starts` goes on with other draws.
            starts: None, or the beginnings of the targets' random streams, integers in 0 … 2^64 − 1: shape (m,), or
                one for all. They are no starts of episodes: equal ones do not bring the same numbers.

        Raises:
            TokenGymError: If the task cannot copy its rows, or an argument is wrong.
        """
        if not self.task.can_save_state:
            raise TokenGymError(
                f"task {self.task.name} cannot save its state (can_save_state is False), so that its rows cannot be "
                "forked: reset the targets with the sources' starts, and append what was said"
            )
        where, to, order = read_fork(sources, targets, self.num_rows)
        streams = None if starts is None else read_streams("starts", starts, len(to))
        self._check_under_way(where)
        if not len(to):
            return
        if streams is not None and order is not None:
            streams = streams[order]
        moved = where != to
        try:
            if moved.any():
                copied, new = where[moved], to[moved]
                self._buffer.copy_rows(copied, new)
                self._random.copy_rows(copied, new)
                self.task.fork(self._state, copied, new)
            if streams is not None:
                self._branch(to, streams)
            self.over[to] = False
        except BaseException:
            # Whatever was under way in these rows is gone.
            self.over[to] = True
            raise
        finally:
            self._num_over = int(np.count_nonzero(self.over))

    def get_state(self, row: int) -> dict[str, Any]:
        """Returns a copy of all that one row is made of, from which `set_state` continues the episode.

        Raises:
            TokenGymError: If the task cannot save its state.
        """
        row = self._savable(row)
        return {
            "name": self.task.name,
            "spec": None if self.task.spec is None else dict(self.task.spec),
            "task": self.task.save(self._state, row),
            "tokens": self.tokens[row, : self.lengths[row]].tolist(),
            "over": bool(self.over[row]),
            "random": self._random.get_row(row),
        }

    def set_state(self, row: int, state: dict[str, Any]) -> None:
        """Puts one row, of this or of another engine of the same task, to what `get_state` returned.

        Raises:
            TokenGymError: If the task cannot save its state, or this is no state of it; the row is then as it was.
        """
        row = self._savable(row)
        check_row(self.task, self._state, state)
        before = self.task.save(self._state, row)
        try:
            self.task.restore(self._state, row, state["task"])
        except Exception as error:
            self.task.restore(self._state, row, before)
            raise TokenGymError(
                f"task {self.task.name} cannot go on from this state: {type(error).__name__}: {error}; give what "
                "get_state returned"
            ) from error
        self._buffer.put(row, state["tokens"])
        self.over[row] = state["over"]
        self._num_over = int(np.count_nonzero(self.over))
        self._random.set_row(row, state["random"])

    def _branch(self, rows: Rows, streams: npt.NDArray[np.uint64]) -> None:
        """Lets all further draws of `rows` come from fresh streams."""
        self._random.branch_rows(rows, streams)
        self.task.reseed(self._state, rows, self._random)

    def _savable(self, row: int) -> int:
        """Returns the row's number; raises if the task cannot save its state, or the row does not exist."""
        if not self.task.can_save_state:
            raise TokenGymError(f"task {self.task.name} cannot save its state (can_save_state is False)")
        return read_row(row, self.num_rows)

    @abstractmethod
    def _check_under_way(self, rows: Rows) -> None:
        """Raises if one of the rows has no episode under way."""
