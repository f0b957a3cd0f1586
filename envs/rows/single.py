"""One row of an engine, a token at a time in plain Python numbers: for whoever steps a single environment.

NumPy takes as long for an array of one number as for one of fifty. What is changed here are the engine's own arrays, so
that both ways can be mixed, and everything else that an engine does goes on from there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from ..columns import row_columns
from ..random import CounterRandom
from ..task import Reply, State, Task
from .buffer import TokenBuffer
from .results import RowResult, StepResult


class SingleRows(ABC):
    """The part of an engine that begins and steps one row; see `Engine` for the attributes."""

    task: Task
    num_rows: int
    over: npt.NDArray[np.bool_]
    _buffer: TokenBuffer
    _state: State
    _random: CounterRandom
    _num_over: int
    _num_actions: int
    _replaces: bool
    _turns_of_one: bool

    @abstractmethod
    def reset(self, rows: npt.ArrayLike | None, starts: npt.ArrayLike) -> None:
        """Begins an episode in each of `rows`; see `Engine.reset`."""

    @abstractmethod
    def step(self, rows: npt.ArrayLike | None, actions: npt.ArrayLike) -> StepResult:
        """Says one token in each of `rows`; see `Engine.step`."""

    def reset_row(self, row: int, start: int) -> None:
        """Begins an episode in one row: `reset([row], [start])`, several times faster.

        Args:
            row: The row.
            start: The episode's start, an integer in 0 … 2^64 − 1.
        """
        if not (type(row) is int and 0 <= row < self.num_rows and type(start) is int and 0 <= start < 1 << 64):
            self.reset([row], [start])  # says what is wrong, or takes what is no plain integer
            return
        self._random.seed_row(row, start)
        try:
            prompt = self.task.start_row(self._state, row, self._random)
            if len(prompt) > self.task.max_length - 2:
                told = Reply(np.array([prompt]), np.array([len(prompt)]))
                self._check_prompts(told, np.array([start], np.uint64))
        except BaseException:
            if not self.over.item(row):
                self.over[row] = True
                self._num_over += 1
            raise
        self._buffer.show_row(row, prompt)
        if self._num_over and self.over.item(row):
            self.over[row] = False
            self._num_over -= 1

    def step_row(self, row: int, action: int) -> RowResult:
        """Says one token in one row: `step([row], [action])`, several times faster.

        Args:
            row: The row, whose episode must be under way.
            action: A token id in 0 … A − 1.
        """
        if (
            not (type(row) is int and 0 <= row < self.num_rows)
            or not (type(action) is int and 0 <= action < self._num_actions)
            or (self._num_over and self.over.item(row))
        ):
            return only_row(self.step([row], [action]))  # says what is wrong, or takes what is no plain integer
        buffer = self._buffer
        length = buffer.say_row(row, action)
        reward, terminated, turn_ended, reply, token_rewards, truncated, columns = self.task.advance_row(
            self._state, row, action, self._random
        )
        if self._replaces:
            if turn_ended or self._turns_of_one:
                length = buffer.show_row(row, reply)
        elif len(reply):
            length = buffer.extend_row(row, reply)
        truncated = not terminated and (truncated or length >= buffer.limit)
        if terminated or truncated:
            self.over[row] = True
            self._num_over += 1
        return RowResult(reward, terminated, truncated, turn_ended, token_rewards, columns)

    @abstractmethod
    def _check_prompts(self, reply: Reply, starts: npt.NDArray[np.uint64]) -> None:
        """Raises if a prompt leaves no room for a token of the agent's."""


def only_row(result: StepResult) -> RowResult:
    """Returns the result of a single row in plain Python values."""
    credited = result.token_rewards
    return RowResult(
        float(result.rewards[0]),
        bool(result.terminated[0]),
        bool(result.truncated[0]),
        bool(result.turn_ended[0]),
        credited[0] if credited else None,
        None if result.columns is None else row_columns(result.columns, 0),
    )
