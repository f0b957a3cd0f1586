"""Rewards that are paid later."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, TooManyStatesError, positive_int
from ..finite import FiniteTask, Initial, Transition
from ..random import CounterRandom
from ..task import Outcome, Reply, Rows, State, Task
from .base import FiniteTransform, Transform

_MOST_STATES = 50_000


class RewardDelay(Transform):
    """Pays every reward some tokens later, or all of them with the episode's last token; the return stays what it was.

    What is outstanding is paid with the last token, also where a full context or a time limit inside cuts the episode.
    (A limit outside of this transform, or a learner's own, cuts what is outstanding off.) What the inner task credits
    to tokens one by one is not handed on: it would undo the delay.
    """

    def __init__(self, task: Task, tokens: int | None = None) -> None:
        """Puts the delay around `task`.

        Args:
            task: The task inside.
            tokens: How many tokens later a reward is paid (k), at least 1; None for with the episode's last token.
        """
        super().__init__(task)
        self.tokens = _tokens(tokens)
        most = task.max_episode_tokens if self.tokens is None else min(self.tokens + 1, task.max_episode_tokens)
        low, high = task.reward_range
        self.reward_range = min(0.0, low * most), max(0.0, high * most)

    @cached_property
    def random_return(self) -> float | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The inner task's, solved where it is finite: rewards are not seen, so no player's return changes."""
        return self._returns[0]

    @cached_property
    def optimal_return(self) -> float | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The inner task's, as `random_return`."""
        return self._returns[1]

    @cached_property
    def _returns(self) -> tuple[float | None, float | None]:
        inner = self.task
        known = inner.random_return, inner.optimal_return
        if None not in known or not inner.finite:
            return known
        from ..exact import solve

        try:
            solution = solve(cast(FiniteTask, inner))
        except TokenGymError:
            return known
        return solution.random_return, solution.optimal_return

    def own_arrays(self, num_rows: int) -> State:
        """Returns what is outstanding, in a ring of k places or as one sum, and where each row stands."""
        return {
            "pending": np.zeros((num_rows, self.tokens or 1)),
            "said": np.zeros(num_rows, np.int64),
            "length": np.zeros(num_rows, np.int64),
        }

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins the inner task's episodes, with nothing outstanding."""
        reply = super().start(state, rows, random)
        self.own(state, "length")[rows] = 1 + reply.counts
        return reply

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, keeps its reward back and pays what has fallen due."""
        outcome = super().advance(state, rows, actions, random)
        pending, said = self.own(state, "pending"), self.own(state, "said")
        if self.tokens is None:
            pending[rows, 0] += outcome.rewards
            paid = np.zeros(len(rows))
        else:
            place = said[rows] % self.tokens
            paid = pending[rows, place]
            pending[rows, place] = outcome.rewards
            said[rows] += 1
        over = outcome.terminated | self._full(state, rows, outcome)
        if outcome.truncated is not None:
            over |= outcome.truncated
        ended = rows[over]
        paid[over] += pending[ended].sum(axis=1)
        pending[ended] = 0.0
        return outcome._replace(rewards=paid, token_rewards=None)

    def _full(self, state: State, rows: Rows, outcome: Outcome) -> npt.NDArray[np.bool_]:
        """Follows the observations' lengths, and returns which rows' context the engine will find full."""
        shown = np.zeros(len(rows), np.int64) if outcome.reply is None else outcome.reply.counts
        lengths = self.own(state, "length")[rows] + 1
        if self.context == "turn":
            lengths = np.where(outcome.turn_ended, 1 + shown, lengths)
        else:
            lengths += shown
        self.own(state, "length")[rows] = lengths
        return lengths >= self.max_length


class FiniteRewardDelay(FiniteTransform):
    """`RewardDelay` of a finite task, which stays one: what is outstanding joins the state.

    The outstanding rewards are a tuple of (reward, variance of its noise), the oldest first.
    """

    def __init__(self, task: FiniteTask, tokens: int | None = None) -> None:
        """Puts the delay around `task`; the arguments are those of `RewardDelay`."""
        super().__init__(task)
        self.tokens = _tokens(tokens)
        self.credit_weights = None
        self.return_factor = 1.0

    def inner(self, state: Any) -> Any:
        """Returns the inner state of (inner state, outstanding)."""
        return state[0]

    def initial(self) -> Iterable[Initial]:
        """Returns the inner task's ways to start, with nothing outstanding."""
        nothing = ((0.0, 0.0),) * (self.tokens or 1)
        return [entry._replace(state=(entry.state, nothing)) for entry in super().initial()]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes, paid later."""
        inner, pending = state
        for outcome in self.outcomes_of(inner, action):
            earned = outcome.reward, outcome.noise**2
            if outcome.state is None:
                paid = _sum((*pending, earned))
                following = None
            elif self.tokens is None:
                paid, following = (0.0, 0.0), (outcome.state, (_sum((*pending, earned)),))
            else:
                paid, following = pending[0], (outcome.state, (*pending[1:], _sum((earned,))))
            yield outcome._replace(state=following, reward=paid[0], noise=math.sqrt(paid[1]))


def reward_delay(task: Task, tokens: int | None = None) -> Task:
    """Pays rewards later. What is finite stays finite where few different amounts can be outstanding.

    With many, as in a task whose every token pays another amount, the states would be too many to compile; the task is
    then no longer finite, but its random and optimal return are still those of the task inside.
    """
    if isinstance(task, FiniteTask):
        delayed = FiniteRewardDelay(task, tokens)
        delayed.max_states = min(task.max_states, _MOST_STATES)
        try:
            delayed.arrays  # noqa: B018 (compiled here, and kept for its use)
            return delayed
        except TooManyStatesError:
            pass
    return RewardDelay(task, tokens)


def _sum(parts: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Returns the sum of (reward, variance) pairs, rounded, so that sums in another order meet in one state."""
    rewards, variances = zip(*parts, strict=True)
    return round(math.fsum(rewards), 12), round(math.fsum(variances), 12)


def _tokens(tokens: Any) -> int | None:
    return None if tokens is None else positive_int("reward_delay: tokens", tokens)
