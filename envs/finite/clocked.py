"""Finite tasks whose states recur and whose episodes end after a number of steps.

The clock is part of the state, so that a grid of a few hundred positions becomes a hundred thousand states. They are
not walked one by one: the positions are compiled once, and the clock is put around their arrays.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError
from .task import FiniteArrays, FiniteTask, Initial, Transition


class ClockedTask(FiniteTask):
    """A finite task that is declared without its clock: what happens in a position does not depend on the time.

    A subclass sets `num_steps` and writes `starts` and `outcomes`, as `initial` and `transitions` of a `FiniteTask`,
    on positions: hashable objects of its own that may be visited again. The task's states are pairs
    `(tokens said, position)`; the token that makes them `num_steps` ends the episode and still shows where it led.

    Attributes:
        num_steps: Tokens after which an episode ends, at least 1.
    """

    num_steps: int

    @abstractmethod
    def starts(self) -> Iterable[Initial]:
        """Returns the ways for an episode to start, with positions for states; their probabilities sum to 1."""

    @abstractmethod
    def outcomes(self, position: Any, action: int) -> Iterable[Transition]:
        """Returns the outcomes of saying token `action` in `position`; their probabilities sum to 1."""

    def legal_in(self, position: Any) -> Iterable[int] | None:
        """Returns the tokens that may be said in `position`, or None for all (the default)."""
        return None

    def expert_in(self, position: Any) -> int | None:
        """Returns a good token to say in `position`, or None where the task knows none (the default)."""
        return None

    def initial(self) -> Iterable[Initial]:
        """Returns `starts`, with no token said."""
        return [Initial(probability, (0, position), shown) for probability, position, shown in self.starts()]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the outcomes in the state's position, one token later."""
        said, position = state
        goes_on = said + 1 < self.num_steps
        return [
            outcome._replace(state=None if outcome.state is None or not goes_on else (said + 1, outcome.state))
            for outcome in (Transition(*given) for given in self.outcomes(position, action))
        ]

    def legal(self, state: Any) -> Iterable[int] | None:
        """Returns what is legal in the state's position."""
        return self.legal_in(state[1])

    def expert_action(self, state: Any) -> int | None:
        """Returns the expert's token in the state's position."""
        return self.expert_in(state[1])

    @cached_property
    def arrays(self) -> FiniteArrays:
        """The task as arrays: exactly what compiling `initial` and `transitions` gives, sooner."""
        return _with_clock(_Positions(self).arrays, self)

    @cached_property
    def max_episode_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The longest episode: one token more than were said in the latest state."""
        return self.arrays.states[-1][0] + 1


class _Positions(FiniteTask):
    """The positions of a clocked task without the clock, for compiling only: its episodes need not end."""

    def __init__(self, task: ClockedTask) -> None:
        self.task = task
        self.name, self.vocabulary, self.turn_tokens = task.name, task.vocabulary, task.turn_tokens
        self.max_states = task.max_states

    def initial(self) -> Iterable[Initial]:
        return self.task.starts()

    def transitions(self, state: Hashable, action: int) -> Iterable[Transition]:
        return self.task.outcomes(state, action)

    def legal(self, state: Hashable) -> Iterable[int] | None:
        return self.task.legal_in(state)


def _with_clock(positions: FiniteArrays, task: ClockedTask) -> FiniteArrays:
    """Returns the arrays of the states (tokens said, position), in the order in which a walk finds them."""
    end = positions.num_states
    goes_on = (positions.probability > 0) & (positions.next < end)
    now = _first_seen(positions.initial_state)
    index = np.full(end + 1, -1, np.int64)
    index[now] = np.arange(len(now))
    initial_state = index[positions.initial_state].astype(np.int32)
    levels: list[npt.NDArray[np.int64]] = []
    following: list[npt.NDArray[np.int64]] = []
    count = 0
    while len(now):
        levels.append(now)
        count += len(now)
        if count > task.max_states:
            raise TokenGymError(
                f"task {task.name} has more than {task.max_states} states within {len(levels)} of "
                f"{task.num_steps} steps: make it smaller, or raise its max_states"
            )
        leads_to = np.where(goes_on[now], positions.next[now], end)
        if len(levels) == task.num_steps:
            leads_to[...] = end
        after = _first_seen(leads_to[leads_to < end])
        index[:] = -1
        index[after] = count + np.arange(len(after))
        following.append(index[leads_to])
        now = after

    where = np.concatenate(levels)
    after_all = np.concatenate(following).astype(np.int32)
    after_all[after_all < 0] = len(where)
    legal = None if positions.legal is None else positions.legal[where]
    return FiniteArrays(
        next=after_all,
        probability=positions.probability[where],
        reward=positions.reward[where],
        noise=positions.noise[where],
        reply=positions.reply[where],
        reply_tokens=positions.reply_tokens,
        reply_counts=positions.reply_counts,
        initial_state=initial_state,
        initial_probability=positions.initial_probability,
        initial_reply=positions.initial_reply,
        legal=None if legal is None or legal.all() else legal,
        columns={name: values[where] for name, values in positions.columns.items()},
        states=[(said, positions.states[position]) for said, level in enumerate(levels) for position in level.tolist()],
    )


def _first_seen(values: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Returns the different values in the order of their first appearance."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)].astype(np.int64)
