"""Tasks that answer whole turns of token ids, in arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .checking import TokenGymError, positive_int
from .columns import spread
from .outcomes import Outcome, Reply, RowOutcome, Rows, State, TurnResult
from .random import CounterRandom
from .saved_state import Limits
from .task import Task


class TokenTask(Task):
    """A task that answers whole turns, with token ids in arrays.

    A subclass sets the attributes of `Task`, and writes `begin` and `respond`:

        class Sum(TokenTask):
            vocabulary = Vocabulary.of([*"0123456789"], shown=[f"={total}" for total in range(19)])
            max_turns, max_turn_tokens, max_length = 1, 2, 4
            fields = {"total": np.int64}

            def begin(self, state, rows, random):
                state["total"][rows] = random.integers(rows, 19)[:, 0]
                return 10 + state["total"][rows, None]

            def respond(self, state, rows, turn_tokens, counts, random):
                return TurnResult(None, 1.0 * (turn_tokens.sum(axis=1) == state["total"][rows]))

    Attributes:
        end_of_turn: The token that ends a turn before `max_turn_tokens`, or None where turns have one length.
        max_turns: The most turns of an episode, the last of which ends it as part of the task, or None where `respond`
            alone says when it is over; `max_episode_tokens` must then be set.
        fields: The names and types of numbers that each row has in the state; for arrays of another shape, extend
            `make_state`.
    """

    end_of_turn: int | None = None
    max_turns: int | None = None
    fields: Mapping[str, npt.DTypeLike] = {}

    @abstractmethod
    def begin(self, state: State, rows: Rows, random: CounterRandom) -> Reply | npt.NDArray[np.integer]:
        """Begins an episode in each of `rows` and returns what is shown first, after `bos`.

        Returns:
            A `Reply`, or ids of shape (m, R) of which every row is shown all.
        """

    @cached_property
    def max_episode_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The longest turns, as many as there may be; set it where `max_turns` is not."""
        if self.max_turns is None:
            raise TokenGymError(f"task {self.name}: set max_turns, or max_episode_tokens where a turn limit is no rule")
        return positive_int(f"task {self.name}: max_turns", self.max_turns) * self.max_turn_tokens

    @abstractmethod
    def respond(
        self,
        state: State,
        rows: Rows,
        turn_tokens: npt.NDArray[np.int32],
        counts: npt.NDArray[np.int64],
        random: CounterRandom,
    ) -> TurnResult:
        """Answers the finished turns of `rows`.

        Args:
            state: The state of all rows, to be changed in place.
            rows: The rows whose turn ended, shape (m,).
            turn_tokens: The tokens of each turn, int32 of shape (m, max_turn_tokens), the end-of-turn token included.
                Ids past a row's count are meaningless.
            counts: Tokens in each turn, int64 of shape (m,), at least 1.
            random: The rows' random streams.
        """

    def make_state(self, num_rows: int) -> State:
        """Returns the buffers of the turns under way and the `fields`; subclasses may add arrays of their own."""
        state = {
            "turn_tokens": np.zeros((num_rows, self.max_turn_tokens), np.int32),
            "turn_counts": np.zeros(num_rows, np.int64),
        }
        if self.max_turns is not None:
            state["turns_taken"] = np.zeros(num_rows, np.int64)
        return state | {name: np.zeros(num_rows, dtype) for name, dtype in self.fields.items()}

    def state_limits(self, over: bool) -> Limits:
        """Returns what the buffers of the turns can hold."""
        return turn_limits(self, over, "turns_taken", self.max_turns)

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins an episode in each of `rows`; see `Task.start`."""
        state["turn_counts"][rows] = 0
        if self.max_turns is not None:
            state["turns_taken"][rows] = 0
        return _as_reply(self.begin(state, rows, random))

    def advance_row(self, state: State, row: int, action: int, random: CounterRandom) -> RowOutcome:
        """Says one token in one row; where it ends no turn, without any array."""
        counts = state["turn_counts"]
        count = counts.item(row) + 1
        if count == self.max_turn_tokens or action == self.end_of_turn:
            return super().advance_row(state, row, action, random)
        state["turn_tokens"][row, count - 1] = action
        counts[row] = count
        return RowOutcome(0.0, False, False)

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in each of `rows`, and asks `respond` about those whose turn it ended."""
        counts = state["turn_counts"][rows]
        state["turn_tokens"][rows, counts] = actions
        counts += 1
        state["turn_counts"][rows] = counts
        ended = counts == self.max_turn_tokens
        if self.end_of_turn is not None:
            ended |= actions == self.end_of_turn
        where = np.flatnonzero(ended)
        m = len(rows)
        if not len(where):
            return Outcome(np.zeros(m), np.zeros(m, np.bool_), ended)
        ending = rows[where]
        result = self.respond(state, ending, state["turn_tokens"][ending], counts[where], random)
        state["turn_counts"][ending] = 0
        over = np.zeros(len(where), np.bool_) if result.terminated is None else result.terminated
        if self.max_turns is not None:
            state["turns_taken"][ending] += 1
            over = over | (state["turns_taken"][ending] == self.max_turns)
        said = None if result.reply is None else _as_reply(result.reply)
        if len(where) == m:
            return Outcome(result.rewards, over, ended, said, result.token_rewards, result.truncated, result.columns)
        rewards = np.zeros(m)
        rewards[where] = result.rewards
        terminated = np.zeros(m, np.bool_)
        terminated[where] = over
        truncated = None
        if result.truncated is not None:
            truncated = np.zeros(m, np.bool_)
            truncated[where] = result.truncated
        reply = None
        if said is not None:
            tokens = np.full((m, said.tokens.shape[1]), self.vocabulary.pad, np.int32)
            tokens[where] = said.tokens
            reply_counts = np.zeros(m, np.int64)
            reply_counts[where] = said.counts
            reply = Reply(tokens, reply_counts, said.padded)
        columns = spread(f"task {self.name}", result.columns, where, m)
        return Outcome(rewards, terminated, ended, reply, result.token_rewards, truncated, columns)


def turn_limits(task: Task, over: bool, turns: str, max_turns: int | None) -> Limits:
    """Returns the limits of the buffers of turns under way, and of the number of turns taken under its name."""
    limits = {"turn_tokens": (0, task.vocabulary.num_actions - 1), "turn_counts": (0, task.max_turn_tokens - 1)}
    return limits if max_turns is None else limits | {turns: (0, max_turns if over else max_turns - 1)}


def _as_reply(shown: Reply | npt.NDArray[np.integer]) -> Reply:
    """Returns ids of shape (m, R), of which every row is told all, as a `Reply`; a `Reply` as it is."""
    if isinstance(shown, Reply):
        return shown
    tokens = np.asarray(shown)
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise TokenGymError(
            f"a task says a Reply or integer ids of shape (rows, tokens), got {tokens.dtype} of shape {tokens.shape}"
        )
    return Reply(tokens.astype(np.int32), np.full(len(tokens), tokens.shape[1], np.int64), padded=True)
