"""The batched core: episodes in rows, one token at a time for all of them.

The engine holds the token buffers, the rows' random streams and the task's state. It is addressed by row, never resets
by itself, and knows nothing of Gymnasium: the faces `TokenEnv` and `TokenVectorEnv` are thin layers over it, and a
rollout of an algorithm uses it directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .checking import TokenGymError, positive_int
from .columns import check_columns, put
from .drawing import Picture
from .random import CounterRandom
from .rows import (
    AppendResult,
    CopiedRows,
    SingleRows,
    StepResult,
    TokenBuffer,
    as_array,
    read_row,
    read_rows,
    read_streams,
    read_turns,
    reordered,
)
from .task import Reply, Rows, Task

_MOST_NUMBERS = 2**32
"""Of one engine's observations, all rows together: 16 GiB."""


class Engine(SingleRows, CopiedRows):
    """Runs a task in a batch of rows.

    An episode begins with `reset(rows, starts)`: the *start* is the episode's seed, so rows that are given the same
    start meet the same prompt and, for the same tokens, the same draws. All methods take `rows` as an integer array
    without repetitions, in any order, or None for all rows; results are in the order of `rows`.

    Copies (`copy.deepcopy`, `pickle`) go on as the engine would, and share nothing with it. Where the task cannot save
    its state, an engine can be copied between episodes only.

    Attributes:
        task: The task.
        num_rows: The number of rows (n).
        over: Whether a row has no episode under way: ended, or not begun. Bool of shape (n,), a live buffer.
    """

    def __init__(self, task: Task, num_rows: int) -> None:
        if not isinstance(task, Task):
            raise TokenGymError(f"task={task!r} is no Task: make one, for example with make_task")
        task.check()
        self.task = task
        self.num_rows = positive_int("num_rows", num_rows, most=_MOST_NUMBERS // task.max_length)
        vocabulary = task.vocabulary
        self._buffer = TokenBuffer(num_rows, task.max_length, vocabulary.bos, vocabulary.pad)
        self.over = np.ones(num_rows, np.bool_)
        self._num_over = num_rows
        self._num_actions = vocabulary.num_actions
        self._too_large = np.array(vocabulary.num_actions, np.uint64)
        self._all: Rows = np.arange(num_rows)
        self._replaces = task.context == "turn"
        self._turns_of_one = task.max_turn_tokens == 1
        self._state = task.make_state(num_rows)
        self._random = CounterRandom(num_rows)

    def __repr__(self) -> str:
        """Returns the task and the number of rows."""
        return f"Engine({self.task!r}, num_rows={self.num_rows})"

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """The observations, shape (n, L), padded on the right with `pad`: a live buffer, never to be written."""
        return self._buffer.tokens

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens in each observation, shape (n,): a live buffer, never to be written."""
        return self._buffer.lengths

    def reset(self, rows: npt.ArrayLike | None, starts: npt.ArrayLike, streams: npt.ArrayLike | None = None) -> None:
        """Begins an episode in each of `rows`, whatever was under way there.

        Args:
            rows: The rows, shape (m,), or None for all.
            starts: The episodes' starts, integers in 0 … 2^64 − 1: shape (m,), or one for all.
            streams: None, or what all draws after the start come from, integers as `starts`: rows of a group have one
                start, and streams of their own make them independent of one another where there is chance.

        Raises:
            TokenGymError: If a prompt does not fit the context and leave room for a token, or an argument is wrong.
        """
        where, order = self._rows(rows)
        values = read_streams("starts", starts, len(where))
        later = None if streams is None else read_streams("streams", streams, len(where))
        if not len(where):
            return
        if order is not None:
            values = values[order]
            later = None if later is None else later[order]
        self._random.seed_rows(where, values)
        try:
            reply = self.task.start(self._state, where, self._random)
            self._check_prompts(reply, values)
            if later is not None:
                self._branch(where, later)
        except BaseException:
            # Whatever was under way in these rows is gone, and nothing has begun.
            self.over[where] = True
            self._num_over = int(np.count_nonzero(self.over))
            raise
        self._buffer.show(where, reply)
        if self._num_over:
            self.over[where] = False
            self._num_over = int(np.count_nonzero(self.over))

    def step(self, rows: npt.ArrayLike | None, actions: npt.ArrayLike) -> StepResult:
        """Says one token in each of `rows`. There is no automatic reset.

        In context `"turn"` a row whose turn ended shows its new observation afterwards, also where the episode is
        over. Where the task's reply does not fit the context, as much of it is kept as fits.

        Args:
            rows: The rows, shape (m,), or None for all. Their episodes must be under way.
            actions: Token ids in 0 … A − 1, integers of shape (m,).
        """
        where, order = self._rows(rows)
        said = self._actions(actions, (len(where),))
        if order is not None:
            said = said[order]
        self._check_under_way(where)
        result = self._step(where, said)
        return result if order is None else reordered(result, order)

    def append(
        self,
        rows: npt.ArrayLike | None,
        tokens: npt.ArrayLike | Sequence[Sequence[int]],
        counts: npt.ArrayLike | None = None,
    ) -> AppendResult:
        """Says several tokens of one turn in each of `rows`; equal to stepping through them.

        A row stops at the end of its turn or episode: `said` tells how many of its tokens were taken.

        Args:
            rows: The rows, shape (m,), or None for all. Their episodes must be under way.
            tokens: Token ids in 0 … A − 1, integers of shape (m, K), or m lists of any lengths. Ids past a row's count
                are ignored.
            counts: How many tokens each row says, integers of shape (m,), at least 1; None for all that it is given.
        """
        where, order = self._rows(rows)
        m = len(where)
        given, amounts = read_turns(tokens, counts, m)
        width = given.shape[1]
        used = np.arange(width) < amounts[:, None]
        said_tokens = self._actions(np.where(used, given, np.zeros((), given.dtype)), given.shape)
        if order is not None:
            said_tokens, amounts = said_tokens[order], amounts[order]
        self._check_under_way(where)

        per_token = np.zeros((m, width))
        said = np.zeros(m, np.int64)
        terminated, truncated, turn_ended = np.zeros((3, m), np.bool_)
        credited: dict[int, npt.NDArray[np.float64] | None] = {}
        columns: dict[str, npt.NDArray[Any]] = {}
        going = np.arange(m)
        for column in range(width):
            going = going[amounts[going] > column]
            if not len(going):
                break
            result = self._step(where[going], said_tokens[going, column])
            per_token[going, column] = result.rewards
            said[going] += 1
            terminated[going] = result.terminated
            truncated[going] = result.truncated
            turn_ended[going] = result.turn_ended
            if result.token_rewards is not None:
                credited.update(zip(going[result.turn_ended].tolist(), result.token_rewards, strict=True))
            if result.columns is not None:
                put(columns, result.columns, (going, column), (m, width))
            going = going[~(result.turn_ended | result.truncated)]
        token_rewards = [credited.get(row) for row in np.flatnonzero(turn_ended).tolist()] if credited else None
        result = StepResult(per_token.sum(axis=1), terminated, truncated, turn_ended, token_rewards)
        if order is not None:
            result = reordered(result, order)
            back = np.argsort(order)
            per_token, said = per_token[back], said[back]
            columns = {name: values[back] for name, values in columns.items()}
        return AppendResult(*result[:5], per_token, said, columns or None)

    def action_mask(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.bool_]:
        """Returns which tokens each of `rows` may say next: bool of shape (m, A), a fresh array."""
        where, order = self._rows(rows)
        mask = self.task.action_mask(self._state, where)
        return mask if order is None else mask[np.argsort(order)]

    def expert(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.integer] | None:
        """Returns the task's own good next token for each of `rows`, shape (m,), or None where it knows none."""
        where, order = self._rows(rows)
        actions = self.task.expert(self._state, where)
        return actions if order is None or actions is None else actions[np.argsort(order)]

    def picture(self, row: int) -> Picture | None:
        """Returns one row's board or grid for people, or None where its task has nothing to draw."""
        row = read_row(row, self.num_rows)
        return self.task.picture(self._state, row, self.tokens[row, : self.lengths[row]].copy())

    def frame(self, row: int) -> npt.NDArray[np.uint8] | None:
        """Returns one row in pixels, uint8 (height, width, 3), or None where its task has nothing to draw."""
        row = read_row(row, self.num_rows)
        return self.task.frame(self._state, row, self.tokens[row, : self.lengths[row]].copy())

    def __getstate__(self) -> dict[str, Any]:
        attributes = vars(self).copy()
        if not self.task.can_save_state:
            if self._num_over < self.num_rows:
                raise TokenGymError(
                    f"task {self.task.name} cannot save its state (can_save_state is False), so that an engine of it "
                    "cannot be copied while an episode is under way: copy it before reset or after the end"
                )
            del attributes["_state"]
        return attributes

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        vars(self).update(attributes)
        if "_state" not in attributes:
            self._state = self.task.make_state(self.num_rows)

    def _step(self, rows: Rows, actions: npt.NDArray[np.integer]) -> StepResult:
        """Steps checked rows, in increasing order, with checked actions."""
        self._buffer.say(rows, actions)
        rewards, terminated, turn_ended, reply, token_rewards, truncated, columns = self.task.advance(
            self._state, rows, actions, self._random
        )
        if self._replaces:
            if self._turns_of_one or np.count_nonzero(turn_ended) == len(rows):
                self._buffer.show(rows, reply)
            elif turn_ended.any():
                if reply is not None:
                    reply = Reply(reply.tokens[turn_ended], reply.counts[turn_ended], reply.padded)
                self._buffer.show(rows[turn_ended], reply)
        elif reply is not None:
            self._buffer.extend(rows, reply)
        full = self._buffer.full(rows)
        if full is not None:
            truncated = full if truncated is None else truncated | full
        if truncated is None:
            truncated = np.zeros(len(rows), np.bool_)
            over = terminated
        else:
            truncated = truncated & ~terminated
            over = terminated | truncated
        if np.count_nonzero(over):  # several times faster than any() on a small array
            self.over[rows] = over
            self._num_over = int(np.count_nonzero(self.over))
        if columns is not None:
            columns = check_columns(f"task {self.task.name}", columns, len(rows))
        return StepResult(rewards, terminated, truncated, turn_ended, token_rewards, columns)

    def _rows(self, rows: npt.ArrayLike | None) -> tuple[Rows, npt.NDArray[np.intp] | None]:
        """Returns the rows in increasing order, and the order that sorts them where they were not sorted."""
        if rows is None:
            return self._all, None
        return read_rows(rows, self.num_rows)

    def _actions(self, actions: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Returns the actions as int64, after checking their type, shape and range."""
        said = as_array("tokens", actions)
        if said.dtype.kind not in "iu":
            raise TokenGymError(f"tokens must be integers, got {said.dtype}: convert them, for example to np.int64")
        if said.shape != shape:
            raise TokenGymError(f"tokens of shape {said.shape} for rows that need {shape}: give one token for each row")
        if said.dtype != np.int64 or not said.flags.c_contiguous:
            said = np.ascontiguousarray(said, np.int64)
        # Negative ids are huge as unsigned ones, so one comparison finds both kinds of wrong id.
        if np.count_nonzero(said.view(np.uint64) >= self._too_large):
            wrong = said[(said < 0) | (said >= self._num_actions)]
            raise TokenGymError(
                f"token {int(wrong[0])} cannot be said: the agent's tokens are 0 … {self._num_actions - 1}"
            )
        return said

    def _check_prompts(self, reply: Reply, starts: npt.NDArray[np.uint64]) -> None:
        """Raises if a prompt leaves no room for a token of the agent's."""
        room = self.task.max_length - 2
        if reply.tokens.shape[1] <= room:  # no count is larger
            return
        row = int(np.argmax(reply.counts))
        most = int(reply.counts[row])
        if most > room:
            raise TokenGymError(
                f"the prompt of start {int(starts[row])} has {most} tokens, which with bos and at least one token of "
                f"the agent's do not fit a context of {self.task.max_length}: shorten the prompt or raise max_length"
            )

    def _check_under_way(self, rows: Rows) -> None:
        """Raises if one of the rows has no episode under way."""
        if self._num_over and self.over[rows].any():
            row = int(rows[self.over[rows]][0])
            raise TokenGymError(f"row {row} has no episode under way: reset it before its next token")
