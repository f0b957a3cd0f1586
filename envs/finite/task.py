"""Tasks with finitely many states, declared once and compiled to arrays.

The same arrays drive the batched environment, whose step is a gather, and the exact solver: scores cannot drift from
the environment.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import positive_int
from ..columns import CheckedColumns
from ..drawing import Picture
from ..random import CounterRandom
from ..saved_state import Limits
from ..task import Outcome, Reply, RowOutcome, Rows, State, Task
from .arrays import FiniteArrays, FiniteTables
from .compiler import compile_task, longest_episode
from .credit import share_reward
from .declaration import Initial, Transition


class FiniteTask(Task):
    """A task that is a finite decision process over hidden states, of which the agent sees only the shown tokens.

    A subclass sets `vocabulary` (and, where it differs, `context` and `turn_tokens`) and writes `initial` and
    `transitions`. Everything else is worked out: lengths, the reward range, whether it is deterministic. Where the
    states can be visited in a circle, `max_episode_tokens` (and in context `"episode"` also `max_length`) cannot be
    worked out and must be set.

    A transition must be given for every state and every action, also for those that `legal` forbids: masks are an
    option of the learner's.

    Attributes:
        turn_tokens: Length of every turn. Only the last token of a turn may lead to shown tokens.
        max_states: The most states that are compiled; a task with more of them is refused.
        credit_weights: Where the reward of a turn's last token is to be credited to all the turn's tokens: how much of
            it each of the agent's tokens gets, at least 0, shape (A,). None for no credit.
    """

    finite = True
    turn_tokens: int = 1
    max_states: int = 1_000_000
    credit_weights: npt.NDArray[np.float64] | None = None

    @abstractmethod
    def initial(self) -> Iterable[Initial]:
        """Returns the ways for an episode to start; their probabilities sum to 1."""

    @abstractmethod
    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the outcomes of saying token `action` in `state`; their probabilities sum to 1."""

    def legal(self, state: Any) -> Iterable[int] | None:
        """Returns the tokens that may be said in `state`, or None for all (the default)."""
        return None

    def expert_action(self, state: Any) -> int | None:
        """Returns a good token to say in `state`, or None where the task knows none (the default)."""
        return None

    @cached_property
    def arrays(self) -> FiniteArrays:
        """The task as arrays, compiled at the first use."""
        return compile_task(self)

    def recompile(self) -> None:
        """Forgets the arrays: they are compiled anew at the next use. For a task whose transitions have changed.

        To be called between episodes, since states may be numbered anew. The sizes of the observations and of the
        episodes stay what they were, because engines have made room for them.
        """
        for name in ("arrays", "_tables", "_expert_actions", "reward_range", "deterministic", "has_action_mask"):
            vars(self).pop(name, None)

    @cached_property
    def max_turn_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The length of every turn."""
        return positive_int(f"task {self.name}: turn_tokens", self.turn_tokens)

    @cached_property
    def max_episode_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The longest episode, over all ways that it can go."""
        return self._longest[0]

    @cached_property
    def max_length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The longest observation, over all ways that an episode can go."""
        if self.context == "turn":
            return 1 + int(self.arrays.reply_counts.max()) + self.max_turn_tokens
        return self._longest[1]

    @cached_property
    def _longest(self) -> tuple[int, int]:
        return longest_episode(self.name, self.arrays)

    @cached_property
    def reward_range(self) -> tuple[float, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Lowest and highest reward of a token; infinite where there is noise."""
        possible = self.arrays.probability > 0
        if (self.arrays.noise[possible] > 0).any():
            return -np.inf, np.inf
        rewards = self.arrays.reward[possible]
        return float(rewards.min()), float(rewards.max())

    @cached_property
    def deterministic(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether every action has one outcome."""
        return self.arrays.outcomes == 1

    @cached_property
    def has_action_mask(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether `legal` forbids any token in any state."""
        return self.arrays.legal is not None

    @cached_property
    def _tables(self) -> FiniteTables:
        return FiniteTables.of(self.arrays)

    def make_state(self, num_rows: int) -> State:
        """Returns the index of each row's state, and how far its turn is and what of it is to be credited."""
        state = {
            "state": np.full(num_rows, self.arrays.num_states, np.int64),
            "turn_position": np.zeros(num_rows, np.int64),
        }
        if self.credit_weights is not None:
            paid, weights = np.zeros((2, num_rows, self.max_turn_tokens))
            state |= {"turn_paid": paid, "turn_weights": weights}
        return state

    def state_limits(self, over: bool) -> Limits:
        """Returns the states that there are, the end only for a row without an episode under way."""
        return {
            "state": (0, self.arrays.num_states - (not over)),
            "turn_position": (0, self.max_turn_tokens - 1),
        }

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Draws an initial state for each of `rows`; see `Task.start`."""
        arrays = self.arrays
        if len(arrays.initial_state) == 1:
            chosen = np.zeros(len(rows), np.intp)
        else:
            chosen = self._tables.initial_cumulative.searchsorted(random.uniform(rows, 1)[:, 0], side="right")
        state["state"][rows] = arrays.initial_state.take(chosen)
        if self.turn_tokens > 1:
            state["turn_position"][rows] = 0
        reply = arrays.initial_reply.take(chosen)
        return Reply(arrays.reply_tokens.take(reply, axis=0), arrays.reply_counts.take(reply), True)

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Looks up what the tokens lead to; see `Task.advance`."""
        tables = self._tables
        current = state["state"]
        everything = len(rows) == len(current)
        index = (current if everything else current[rows]) * tables.num_actions
        index += actions
        if tables.cumulative is not None:
            drawn = random.uniform(rows, 1)
            index *= tables.outcomes
            # The last threshold is above 1, so that rounding never picks an outcome past the last.
            index += (drawn >= tables.cumulative.take(index // tables.outcomes, axis=0)).sum(axis=1)
        following = tables.next.take(index)
        rewards = tables.reward.take(index)
        if tables.noise is not None:
            rewards += tables.noise.take(index) * random.normal(rows, 1)[:, 0]
        if everything:
            current[:] = following
        else:
            current[rows] = following
        terminated = following == tables.end
        counts = None
        if self.turn_tokens == 1:
            turn_ended = np.empty(len(rows), np.bool_)
            turn_ended.fill(True)
        else:
            counts = state["turn_position"][rows] + 1
            turn_ended = counts == self.turn_tokens
            turn_ended |= terminated
            state["turn_position"][rows] = np.where(turn_ended, 0, counts)
        reply = None
        if tables.reply is not None:
            said = tables.reply.take(index)
            reply = Reply(tables.reply_tokens.take(said, axis=0), tables.reply_counts.take(said), True)
        credited = None
        if self.credit_weights is not None:
            paid, weights = state["turn_paid"], state["turn_weights"]
            sizes = np.ones(len(rows), np.int64) if counts is None else counts
            paid[rows, sizes - 1], weights[rows, sizes - 1] = rewards, self.credit_weights[actions]
            ended = np.flatnonzero(turn_ended)
            if len(ended):
                credited = share_reward(paid[rows[ended]], weights[rows[ended]], sizes[ended])
        columns = None
        if tables.columns is not None and (not tables.columns_at_ends or np.count_nonzero(terminated)):
            columns = CheckedColumns((name, values.take(index)) for name, values in tables.columns.items())
        return Outcome(rewards, terminated, turn_ended, reply, credited, None, columns)

    def start_row(self, state: State, row: int, random: CounterRandom) -> npt.NDArray[np.int32]:
        """Draws an initial state for one row, the one that `start` would draw."""
        tables = self._tables
        chosen = 0
        if len(tables.initial_state) > 1:
            chosen = bisect_right(tables.initial_thresholds, random.uniform_row(row))
        state["state"][row] = tables.initial_state.item(chosen)
        if self.turn_tokens > 1:
            state["turn_position"][row] = 0
        return tables.said(tables.initial_reply.item(chosen))

    def advance_row(self, state: State, row: int, action: int, random: CounterRandom) -> RowOutcome:
        """Looks up what one row's token leads to, as `advance` does."""
        tables = self._tables
        states = state["state"]
        index = states.item(row) * tables.width + action
        if tables.cumulative is not None:
            thresholds = tables.cumulative[index].tolist()
            index = index * tables.outcomes + bisect_right(thresholds, random.uniform_row(row))
        reward = tables.reward.item(index)
        if tables.noise is not None:
            reward += tables.noise.item(index) * random.normal_row(row)
        states[row] = following = tables.next.item(index)
        terminated = following == tables.num_states
        size, turn_ended = 1, True
        if self.turn_tokens > 1:
            positions = state["turn_position"]
            size = positions.item(row) + 1
            turn_ended = terminated or size == self.turn_tokens
            positions[row] = 0 if turn_ended else size
        reply = () if tables.reply is None else tables.said(tables.reply.item(index))
        credited = None
        if self.credit_weights is not None:
            paid, weights = state["turn_paid"][row], state["turn_weights"][row]
            paid[size - 1], weights[size - 1] = reward, self.credit_weights[action]
            if turn_ended:
                credited = share_reward(paid[None], weights[None], np.array([size]))[0]
        columns = None
        if tables.columns is not None:
            told = {name: values.item(index) for name, values in tables.columns.items()}
            columns = {name: value for name, value in told.items() if value == value} or None  # NaN equals nothing
        return RowOutcome(reward, terminated, turn_ended, reply, credited, False, columns)

    def action_mask(self, state: State, rows: Rows) -> npt.NDArray[np.bool_]:
        """Returns what `legal` allows in each row's state, shape (m, A); after the end, everything."""
        legal = self._tables.legal
        if legal is None:
            return super().action_mask(state, rows)
        return legal[state["state"][rows]]

    @cached_property
    def _expert_actions(self) -> npt.NDArray[np.int64] | None:
        actions = [self.expert_action(state) for state in self.arrays.states]
        # The entry past the last state stands for the end.
        return None if None in actions else np.array([*actions, 0], np.int64)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns `expert_action` of each row's state, shape (m,), or None where some state has none."""
        return None if self._expert_actions is None else self._expert_actions[state["state"][rows]]

    def state_of(self, state: State, row: int) -> Any:
        """Returns the author's state object that one row is in, or None after the end."""
        index = int(state["state"][row])
        return self.arrays.states[index] if index < self.arrays.num_states else None

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Returns the board or grid of a state for people, or None where there is nothing to draw (the default).

        Args:
            state: The author's state object, or None after the end, where only the tokens tell what happened.
            tokens: The observation, `bos` included, shape (length,).
        """
        return None

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Returns `picture_of` the row's state."""
        return self.picture_of(self.state_of(state, row), tokens)
