"""Tasks with finitely many states, declared once and compiled to arrays.

The same arrays drive the batched environment, whose step is a gather, and the exact solver: scores cannot drift from
the environment.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..checking.errors import positive_int
from ..drawing.picture import Picture
from ..random import CounterRandom
from ..saved_state import Limits
from ..task import Outcome, Reply, Rows, State, Task
from .credit import share_reward

Shown: TypeAlias = "str | tuple[int | str, ...]"
"""What a task says: a tuple of token ids or names, or a single name."""


class Initial(NamedTuple):
    """A way for an episode to start: with this probability, in this state, showing these tokens after `bos`."""

    probability: float
    state: Hashable
    shown: Shown = ()


class Transition(NamedTuple):
    """An outcome of saying a token in a state.

    Attributes:
        probability: Probability of this outcome.
        state: The next state (hashable), or None where the episode ends.
        reward: Expected reward.
        shown: The tokens that the task says next, by id or name. Only a token that ends a turn may have any.
        noise: Standard deviation of a normal noise added to the reward.
    """

    probability: float
    state: Hashable | None
    reward: float = 0.0
    shown: Shown = ()
    noise: float = 0.0


@dataclass(frozen=True)
class FiniteArrays:
    """A finite task as arrays, for S states, A actions, at most K outcomes of an action and I ways to start.

    Attributes:
        next: Next state, int32 of shape (S, A, K); the value S stands for the end.
        probability: Probability of the outcome, float64 of shape (S, A, K); 0 where there are fewer than K.
        reward: Expected reward of the outcome, float64 of shape (S, A, K).
        noise: Standard deviation of the reward's noise, float64 of shape (S, A, K).
        reply: What is shown: index into `reply_tokens`, int32 of shape (S, A, K). Index 0 is the empty reply.
        reply_tokens: The different replies, int32 of shape (R, Lr), padded.
        reply_counts: Their lengths, int32 of shape (R,).
        initial_state: States that episodes start in, int32 of shape (I,).
        initial_probability: Their probabilities, float64 of shape (I,).
        initial_reply: What is shown at the start: index into `reply_tokens`, int32 of shape (I,).
        legal: Which tokens may be said, bool of shape (S, A), or None where all may everywhere.
        states: The author's state objects, in the order of their indices.
    """

    next: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float64]
    reward: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    reply: npt.NDArray[np.int32]
    reply_tokens: npt.NDArray[np.int32]
    reply_counts: npt.NDArray[np.int32]
    initial_state: npt.NDArray[np.int32]
    initial_probability: npt.NDArray[np.float64]
    initial_reply: npt.NDArray[np.int32]
    legal: npt.NDArray[np.bool_] | None
    states: list[Any] = field(repr=False)

    @property
    def num_states(self) -> int:
        """The number of states (S), the end not counted."""
        return self.next.shape[0]

    @property
    def num_actions(self) -> int:
        """The number of actions (A)."""
        return self.next.shape[1]

    @property
    def outcomes(self) -> int:
        """The largest number of outcomes of an action (K)."""
        return self.next.shape[2]


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
        from .compiler import compile_task

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
        from .compiler import longest_episode

        return longest_episode(self)

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
    def _tables(self) -> _Tables:
        return _Tables.of(self.arrays)

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
        return Outcome(rewards, terminated, turn_ended, reply, credited)

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


@dataclass(frozen=True)
class _Tables:
    """`FiniteArrays` laid out for stepping: flat, with what is constant left out."""

    num_actions: np.ndarray  # numbers that meet arrays are arrays, too: numpy takes them in half the time
    end: np.ndarray
    outcomes: int
    next: npt.NDArray[np.int64]  # (S·A·K,)
    reward: npt.NDArray[np.float64]  # (S·A·K,)
    noise: npt.NDArray[np.float64] | None  # (S·A·K,)
    cumulative: npt.NDArray[np.float64] | None  # (S·A, K)
    reply: npt.NDArray[np.int64] | None  # (S·A·K,)
    reply_tokens: npt.NDArray[np.int32]
    reply_counts: npt.NDArray[np.int32]
    initial_cumulative: npt.NDArray[np.float64]
    legal: npt.NDArray[np.bool_] | None  # (S + 1, A)

    @classmethod
    def of(cls, arrays: FiniteArrays) -> _Tables:
        cumulative = None
        if arrays.outcomes > 1:
            cumulative = _thresholds(arrays.probability.reshape(-1, arrays.outcomes))
        initial_cumulative = _thresholds(arrays.initial_probability[None])[0]
        legal = None
        if arrays.legal is not None:
            legal = np.concatenate([arrays.legal, np.ones((1, arrays.num_actions), np.bool_)])
        return cls(
            num_actions=np.array(arrays.num_actions),
            end=np.array(arrays.num_states),
            outcomes=arrays.outcomes,
            next=arrays.next.ravel().astype(np.int64),
            reward=arrays.reward.ravel(),
            noise=arrays.noise.ravel() if arrays.noise.any() else None,
            cumulative=cumulative,
            reply=arrays.reply.ravel().astype(np.int64) if arrays.reply.any() else None,
            reply_tokens=arrays.reply_tokens,
            reply_counts=arrays.reply_counts,
            initial_cumulative=initial_cumulative,
            legal=legal,
        )


def _thresholds(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns, for rows of probabilities (m, K), what a uniform draw must reach to pass each outcome, (m, K).

    An outcome of probability 0 is passed by whatever reaches it, and nothing passes the last one of a row that has any:
    so rounding never draws what cannot happen.
    """
    cumulative = probability.cumsum(axis=1)
    last = probability.shape[1] - 1 - (probability[:, ::-1] > 0).argmax(axis=1)
    cumulative[np.arange(probability.shape[1]) >= last[:, None]] = 2.0
    return cumulative
