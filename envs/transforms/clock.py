"""Time in the observation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, positive_int
from ..drawing import Picture
from ..finite import FiniteTask, Initial, Transition
from ..random import CounterRandom
from ..saved_state import Limits
from ..task import Outcome, Reply, Rows, State, Task
from ..vocabulary import Vocabulary
from .base import FiniteTransform, Transform

_MOST_BASE = 65_536
_MOST_NAMES = 100
"""Up to so many different times each has a token of its own; beyond, times are written in digits."""


class _Face:
    """How times 0 … last are written as tokens, and the vocabulary with these tokens.

    Attributes:
        vocabulary: The task's vocabulary with the clock's tokens after its own, whose ids stay as they were.
        table: The tokens of every time, int32 of shape (last + 1, width).
    """

    def __init__(self, vocabulary: Vocabulary, last: int, base: int | None) -> None:
        if base is not None and positive_int("clock: base", base, _MOST_BASE) < 2:
            raise TokenGymError(f"clock: base={base}: digits need a base of at least 2")
        if base is None:
            base = last + 1 if last < _MOST_NAMES else 10
        base = max(base, 2)
        width = 1
        while base**width <= last:
            width += 1
        self.first = vocabulary.size
        self.vocabulary = replace(vocabulary, tokens=(*vocabulary.tokens, *(f"clock{digit}" for digit in range(base))))
        times = np.arange(last + 1)[:, None]
        self.table = (self.first + times // base ** np.arange(width)[::-1] % base).astype(np.int32)

    @property
    def width(self) -> int:
        """The number of tokens of a time."""
        return self.table.shape[1]

    def without(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Returns an observation's tokens, shape (length,), without the clock's."""
        return tokens[tokens < self.first]

    def render(self, task: Task, tokens: npt.NDArray[np.integer]) -> str:
        """Returns an observation as the task itself renders it, and the time."""
        shown = self.vocabulary.names(tokens[tokens >= self.first].tolist())
        return " ".join([task.render_tokens(self.without(tokens)), *shown]).strip()


class Clock(Transform):
    """Appends the time to what is shown: how many turns are over, in one token or in digits.

    For tasks in context `"turn"` whose best play depends on how much time is left: without a clock a player that sees
    only the newest observation cannot know it. (In context `"episode"` the observation is the memory.)
    """

    def __init__(self, task: Task, base: int | None = None) -> None:
        """Puts the clock around `task`.

        Args:
            task: The task inside, in context `"turn"`.
            base: Write times in digits of this base, most significant first and of one width. By default each time has
                a token of its own, or ten digits where there are more than 100 times.
        """
        super().__init__(task)
        self._face = _Face(task.vocabulary, _last(task), base)
        self.vocabulary = self._face.vocabulary
        self.max_length = task.max_length + self._face.width
        self.return_factor = 1.0

    def own_arrays(self, num_rows: int) -> State:
        """Returns how many turns are over."""
        return {"turns": np.zeros(num_rows, np.int64)}

    def own_limits(self, over: bool) -> Limits:
        """Returns the times that there are."""
        return {"turns": (0, len(self._face.table) - 1)}

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Begins the inner task's episodes, at time 0."""
        reply = super().start(state, rows, random)
        return self._with_time(state, rows, reply, np.ones(len(rows), np.bool_))

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Says one token in the inner task, and shows the time after each turn."""
        outcome = super().advance(state, rows, actions, random)
        turns = self.own(state, "turns")
        turns[rows] = np.minimum(turns[rows] + outcome.turn_ended, len(self._face.table) - 1)
        if not outcome.turn_ended.any():
            return outcome
        return outcome._replace(reply=self._with_time(state, rows, outcome.reply, outcome.turn_ended))

    def _with_time(self, state: State, rows: Rows, reply: Reply | None, where: npt.NDArray[np.bool_]) -> Reply:
        """Returns the reply with the time after it in the rows of a mask, bool of shape (m,)."""
        face, m = self._face, len(rows)
        counts = np.zeros(m, np.int64) if reply is None else np.array(reply.counts, np.int64)
        width = 0 if reply is None else reply.tokens.shape[1]
        tokens = np.full((m, width + face.width), self.vocabulary.pad, np.int32)
        if reply is not None:
            tokens[:, :width] = np.where(np.arange(width) < counts[:, None], reply.tokens, self.vocabulary.pad)
        place = np.flatnonzero(where)
        times = face.table[self.own(state, "turns")[rows[place]]]
        tokens[place[:, None], counts[place, None] + np.arange(face.width)] = times
        counts[place] += face.width
        return Reply(tokens, counts, padded=True)

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Renders as the inner task does, and the time after it."""
        return self._face.render(self.task, tokens)

    def legend(self, tokens: npt.NDArray[np.integer]) -> list[str]:
        """Explains as the inner task does."""
        return super().legend(self._face.without(tokens))

    def picture(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draws as the inner task does."""
        return super().picture(state, row, self._face.without(tokens))

    def frame(self, state: State, row: int, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8] | None:
        """Draws as the inner task does."""
        return super().frame(state, row, self._face.without(tokens))


class FiniteClock(FiniteTransform):
    """`Clock` of a finite task, which stays one: the number of tokens said joins the state.

    What `solve` gives stays the same, since its player remembers; but now a player that sees only the newest
    observation can attain it.
    """

    def __init__(self, task: FiniteTask, base: int | None = None) -> None:
        """Puts the clock around `task`; the arguments are those of `Clock`."""
        super().__init__(task)
        self._face = _Face(task.vocabulary, _last(task), base)
        self.vocabulary = self._face.vocabulary
        self.return_factor = 1.0

    @cached_property
    def max_length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The inner task's, and the time."""
        return self.task.max_length + self._face.width

    def inner(self, state: Any) -> Any:
        """Returns the inner state of (inner state, tokens said)."""
        return state[0]

    def initial(self) -> Iterable[Initial]:
        """Returns the inner task's ways to start, and the time 0."""
        for entry in super().initial():
            yield entry._replace(state=(entry.state, 0), shown=self._shown(entry.shown, 0))

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Returns the inner task's outcomes, and the time where they end a turn."""
        inner, said = state
        said += 1
        turns = -(-said // self.turn_tokens)
        for outcome in self.outcomes_of(inner, action):
            over = outcome.state is None
            shown = self._shown(outcome.shown, turns) if over or said % self.turn_tokens == 0 else outcome.shown
            yield outcome._replace(state=None if over else (outcome.state, said), shown=shown)

    def render_tokens(self, tokens: npt.NDArray[np.integer]) -> str:
        """Renders as the inner task does, and the time after it."""
        return self._face.render(self.task, tokens)

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draws as the inner task does."""
        return super().picture_of(state, self._face.without(tokens))

    def _shown(self, shown: Any, turns: int) -> tuple[int | str, ...]:
        time = self._face.table[min(turns, len(self._face.table) - 1)].tolist()
        return (*((shown,) if isinstance(shown, str) else shown), *time)


def clock(task: Task, base: int | None = None) -> Task:
    """Appends the time to what is shown; what is finite stays finite. See `Clock`."""
    return FiniteClock(task, base) if isinstance(task, FiniteTask) else Clock(task, base)


def _last(task: Task) -> int:
    """Returns the most turns that an episode can have, after checking that a clock makes sense."""
    if task.context != "turn":
        raise TokenGymError(
            f"clock: task {task.name} has context {task.context!r}, in which the observation is the whole episode and "
            "tells the time already: put a clock only around tasks in context 'turn'"
        )
    if isinstance(task, FiniteTask):
        return -(-task.max_episode_tokens // task.turn_tokens)
    return task.max_episode_tokens
