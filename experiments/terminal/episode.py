"""One episode as people follow it: who said what, what it paid, and the way back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ...agents import Act
from ...algorithms.collecting import Observer, Step, play
from ...envs import Engine, Picture, Task
from ...envs.checking import visible
from ..scripted import Script


@dataclass
class Exchange:
    """One turn of the agent's and what the task said to it.

    Attributes:
        said: The agent's tokens; none in the first exchange, which is the task's opening.
        shown: The task's tokens.
        reward: Sum of the turn's rewards.
    """

    said: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    reward: float = 0.0


class Episode(Observer):
    """An engine of one row, with a record of what happens when it is played: an observer of `play`.

    Args:
        task: The task.

    Attributes:
        task: The task.
        engine: The engine, of one row.
        exchanges: The opening and the turns so far.
        actions: The tokens said so far.
        total: Sum of the rewards so far.
        reward: The reward of what was said last.
        turn_over: Whether that ended the turn.
        ended: How the episode ended: `""` while it is under way, `"terminated"` or `"truncated"`.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.engine = Engine(task, 1)
        self.exchanges: list[Exchange] = []
        self.actions: list[int] = []
        self.total = self.reward = 0.0
        self.ended: Literal["", "terminated", "truncated"] = ""
        self.turn_over = True
        self._start: Any = 0
        self._before = 0

    @property
    def tokens(self) -> np.ndarray:
        """The observation, bos and padding included, int32 of shape (1, L)."""
        return self.engine.tokens

    @property
    def lengths(self) -> np.ndarray:
        """Its length, int32 of shape (1,)."""
        return self.engine.lengths

    def begin(self, start: Any) -> None:
        """Begin the episode of a start, an integer as `derive_start` gives it."""
        starts = np.array([start], np.uint64)
        self.engine.reset(None, starts)
        self.began(np.zeros(1, np.intp), starts)

    def began(self, rows: np.ndarray, starts: np.ndarray) -> None:
        """Note the opening; see `Observer.began`."""
        self._start = int(starts[0])
        self.exchanges = [Exchange(shown=self._shown(1))]
        self.actions, self.total, self.reward, self.ended, self.turn_over = [], 0.0, 0.0, "", True

    def replay(self) -> Episode:
        """Return another episode at the beginning of this one: the same tokens will get the same answers."""
        again = Episode(self.task)
        again.begin(self._start)
        return again

    def say(self, token: int) -> tuple[float, bool]:
        """Say one token, and return its reward and whether it ended the turn."""
        target = len(self.actions) + 1
        play(self.engine, Script([token]), None, [self], until=lambda: len(self.actions) >= target)
        return self.reward, self.turn_over

    def chose(self, rows: np.ndarray, act: Act) -> None:
        """Note where what is said will stand; see `Observer.chose`."""
        # Only now: whoever acts may have taken something back before.
        self._before = int(self.lengths[0])

    def stepped(self, step: Step) -> None:
        """Note what was said and answered; see `Observer.stepped`."""
        result, said = step.result, step.act.tokens[0, : step.said[0]].tolist()
        if self.turn_over:
            self.exchanges.append(Exchange())
        now = self.exchanges[-1]
        self.reward, self.turn_over = float(result.rewards[0]), bool(result.turn_ended[0])
        now.said += said
        now.reward += self.reward
        self.total += self.reward
        self.actions += said
        if self.task.context == "episode":
            now.shown = self._shown(self._before + len(said))
        elif self.turn_over:
            now.shown = self._shown(1)
        if step.over[0]:
            self.ended = "terminated" if result.terminated[0] else "truncated"

    def legal(self) -> np.ndarray:
        """Return the ids of the tokens that may be said next, int64 of shape (n,)."""
        return np.flatnonzero(self.engine.action_mask()[0])

    def text(self, ids: list[int]) -> str:
        """Return tokens as the task writes them, control characters written out."""
        return visible(self.task.render_tokens(np.array(ids, np.int32))) if ids else ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The vocabulary's names as a terminal may show them, each in one line."""
        return tuple(visible(name, one_line=True) for name in self.task.vocabulary.tokens)

    def picture(self) -> Picture | None:
        """Return the board or grid where the task has one, its texts as a terminal may show them."""
        picture = self.engine.picture(0)
        if picture is None:
            return None
        cells = (tuple(replace(cell, text=visible(cell.text, one_line=True)) for cell in row) for row in picture.cells)
        return Picture(tuple(cells), visible(picture.caption, one_line=True))

    def legend(self) -> list[str]:
        """Return what the observation's tokens stand for, and while the episode lasts what is to be said next."""
        lines = [visible(line) for line in self.task.legend(self.tokens[0, : int(self.lengths[0])])]
        return lines[:1] if self.ended else lines

    def get_state(self) -> dict[str, Any]:
        """Return a copy of everything, from which `set_state` goes on.

        Raises:
            TokenGymError: If the task cannot save its state.
        """
        exchanges = [Exchange(list(one.said), list(one.shown), one.reward) for one in self.exchanges]
        return {
            "engine": self.engine.get_state(0),
            "record": (exchanges, list(self.actions), self.total, self.ended, self.turn_over),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go back to what `get_state` returned; a state serves once."""
        self.engine.set_state(0, state["engine"])
        self.exchanges, self.actions, self.total, self.ended, self.turn_over = state["record"]

    def _shown(self, first: int) -> list[int]:
        return self.tokens[0, first : int(self.lengths[0])].tolist()
