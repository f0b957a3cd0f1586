"""Simulated bodies for a batch of rows: real-valued states, observations quantised into tokens, one token a step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..checking import TokenGymError, finite_number, positive_int
from ..drawing import Cell, Picture
from ..random import CounterRandom
from ..saved_state import Limits
from ..task import Outcome, Reply, RowOutcome, Rows, State, Task
from ..vocabulary import Vocabulary
from .quantise import Grid

MOST_BINS = 65_536
"""The most tokens of one value."""

Floats = npt.NDArray[np.float64]


class PhysicsTask(Task):
    """A simulator in numpy: one token is one step of all rows at once.

    A subclass sets `values`, calls `set_up` at the end of its `__init__`, and writes `draw` and `move`. Every observed
    value has an alphabet of its own, so that a small model need not work out which value a token belongs to.

    Attributes:
        values: Names of the k observed values.
        grid: The grid that they are quantised onto.
        max_steps: The time limit, which truncates.
    """

    family = "control"
    context = "turn"
    max_turn_tokens = 1
    deterministic = True
    values: tuple[str, ...]
    single_ways = Task.single_ways | {"move": "move_row", "observe": "observe_row"}

    def set_up(
        self, actions: Sequence[str], low: Sequence[float], high: Sequence[float], bins: int, max_steps: int
    ) -> None:
        """Names the tokens.

        Args:
            actions: Names of the agent's tokens.
            low: Lower bounds of the observed values; what lies outside is clipped.
            high: Upper bounds.
            bins: Tokens of each value, at least 2.
            max_steps: The time limit.
        """
        positive_int("bins", bins, MOST_BINS)
        self.grid = Grid(np.array(low, np.float64), np.array(high, np.float64), bins)
        self.max_steps = self.max_episode_tokens = positive_int("max_steps", max_steps)
        names = [f"{value}{index}" for value in self.values for index in range(bins)]
        self.vocabulary = Vocabulary.of(actions, names)
        self.max_length = 1 + len(self.values) + 1
        self._first = len(actions) + bins * np.arange(len(self.values))
        self._first_ids: list[int] = self._first.tolist()

    @abstractmethod
    def draw(self, rows: Rows, random: CounterRandom) -> Floats:
        """Returns physical states to start from, float64 (m, d)."""

    @abstractmethod
    def move(self, physics: Floats, actions: npt.NDArray[np.integer]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Returns the physical states (m, d) one step later, the rewards (m,) and whether the episodes ended (m,)."""

    def observe(self, physics: Floats) -> Floats:
        """Returns what is observed of physical states (m, d), float64 (m, k); by default the states themselves."""
        return physics

    def move_row(self, physics: list[float], action: int) -> tuple[Sequence[float], float, bool]:
        """Returns what `move` does for one row, in plain numbers; by default through it."""
        after, rewards, terminated = self.move(np.array([physics]), np.array([action]))
        return after[0].tolist(), float(rewards[0]), bool(terminated[0])

    def observe_row(self, physics: Sequence[float]) -> Sequence[float]:
        """Returns what `observe` does for one row, in plain numbers; by default through it."""
        if type(self).observe is PhysicsTask.observe:
            return physics
        return self.observe(np.array([physics]))[0].tolist()

    def control(self, seen: Floats) -> npt.NDArray[np.integer] | None:
        """Returns a good controller's tokens (m,) from dequantised observations (m, k), or None (the default)."""
        return None

    def make_state(self, num_rows: int) -> State:
        """Returns the physical states, float64 (n, d), and the steps taken."""
        width = self.draw(np.arange(1), CounterRandom(1)).shape[1]
        return {"physics": np.zeros((num_rows, width)), "steps": np.zeros(num_rows, np.int64)}

    def state_limits(self, over: bool) -> Limits:
        """Returns how many steps an episode has."""
        return {"steps": (0, self.max_steps - (not over))}

    def start(self, state: State, rows: Rows, random: CounterRandom) -> Reply:
        """Draws the starting states; see `Task.start`."""
        physics = self.draw(rows, random)
        state["physics"][rows] = physics
        state["steps"][rows] = 0
        return self._show(physics)

    def advance(self, state: State, rows: Rows, actions: npt.NDArray[np.integer], random: CounterRandom) -> Outcome:
        """Moves each row's body by one step; see `Task.advance`."""
        physics, rewards, terminated = self.move(state["physics"][rows], actions)
        steps = state["steps"][rows] + 1
        state["physics"][rows] = physics
        state["steps"][rows] = steps
        turn_ended = np.ones(len(rows), np.bool_)
        return Outcome(rewards, terminated, turn_ended, self._show(physics), truncated=steps >= self.max_steps)

    def advance_row(self, state: State, row: int, action: int, random: CounterRandom) -> RowOutcome:
        """Moves one row's body by one step, as `advance` does."""
        bodies, steps = state["physics"], state["steps"]
        physics, reward, terminated = self.move_row(bodies[row].tolist(), action)
        taken = steps.item(row) + 1
        bodies[row], steps[row] = physics, taken
        seen = np.array(self.observe_row(physics), np.float32).tolist()
        places = self.grid.encode_row(seen)
        shown = [first + place for first, place in zip(self._first_ids, places, strict=True)]
        return RowOutcome(reward, terminated, True, shown, truncated=taken >= self.max_steps)

    def expert(self, state: State, rows: Rows) -> npt.NDArray[np.integer] | None:
        """Returns the tokens of a controller that sees what the agent sees."""
        seen = self.observe(state["physics"][rows]).astype(np.float32)
        return self.control(self.grid.decode(self.grid.encode(seen)))

    def read_observations(self, tokens: npt.NDArray[np.integer]) -> Floats:
        """Gives the numbers (m, k) that observation tokens (m, k), without `bos`, stand for."""
        return self.grid.decode(np.asarray(tokens) - self._first)

    def _show(self, physics: Floats) -> Reply:
        # Gymnasium shows float32, so that is what is quantised.
        seen = self.observe(physics).astype(np.float32)
        tokens = (self.grid.encode(seen) + self._first).astype(np.int32)
        return Reply(tokens, np.full(len(tokens), len(self.values), np.int32), padded=True)


def checked_bounds(bounds: Sequence[float], values: Sequence[str]) -> tuple[float, ...]:
    """Returns the largest magnitudes of the observed values, or raises `TokenGymError` where one is wrong."""
    given = list(bounds) if isinstance(bounds, (list, tuple)) else []
    if len(given) != len(values) or not all(finite_number("bounds", bound) > 0 for bound in given):
        raise TokenGymError(
            f"bounds={bounds!r}: give {len(values)} numbers above 0, one for each of {', '.join(values)}"
        )
    return tuple(map(float, given))


class Sketch:
    """A picture that is drawn with lines on squared paper: x to the right, y up, in fields.

    Attributes:
        cells: The fields, row by row from the top.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells = [[Cell(fill="#f7f7f5")] * width for _ in range(height)]

    def line(self, start: tuple[float, float], end: tuple[float, float], fill: str) -> None:
        """Fills the fields that a straight line passes through."""
        steps = 4 * (self.width + self.height)
        for x, y in zip(np.linspace(start[0], end[0], steps), np.linspace(start[1], end[1], steps), strict=True):
            self.put(x, y, Cell(fill=fill))

    def put(self, x: float, y: float, cell: Cell) -> None:
        """Fills the field of a point; a point off the paper is put on its edge."""
        column = min(max(math.floor(x), 0), self.width - 1)
        row = min(max(math.floor(y), 0), self.height - 1)
        self.cells[self.height - 1 - row][column] = cell

    def picture(self, caption: str) -> Picture:
        """Returns the sketch with a line below it."""
        return Picture(tuple(map(tuple, self.cells)), caption)


def captioned(names: Iterable[str], numbers: Iterable[float], units: Iterable[str]) -> str:
    """Returns names and numbers with what follows each, such as its unit, in one line."""
    told = zip(names, numbers, units, strict=True)
    return "  ".join(f"{name} {number:+.2f}{unit}" for name, number, unit in told)
