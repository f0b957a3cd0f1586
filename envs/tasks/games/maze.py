"""A maze that is seen from above or from inside: planning with, and without, knowing where one is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...drawing import Cell, Picture
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..diagnostics import not_negative

DOUBLE_T = (
    "1111111111111",
    "1000001000001",
    "1110111110111",
    "1110111110111",
    "1110111110111",
    "1110000000111",
    "1111110111111",
    "1111110111111",
    "1111110111111",
    "1111111111111",
)
"""The double-T maze of LMRL-Gym: 0 is free, 1 is wall."""

_MOVES = ("up", "down", "left", "right")
_STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))
_WALL, _FREE, _GOAL, _UNKNOWN = "#4a4a4a", "#ffffff", "#bfe8c3", "#d9d9d9"
_YOU = Cell("@", "#ffe27a", "#1b4f9c")
_MOST_STATES = 200_000


class Maze(FiniteTask):
    """Find the way to the goal, by one's position or only by the walls around.

    ## Description
    The double-T maze of LMRL-Gym has 26 free cells and its goal at (8, 6), row and column counted from 0. Every token
    moves one cell. With `observed="full"` the position is shown at every turn: a Markov task, whose optimum is the
    shortest way. With `observed="partial"` only the walls around the agent's cell are shown, and cells look alike, so
    the agent must infer from all it has seen and said where it is, and at times move in order to find out. It isolates
    planning over many steps, in the partly observed form together with memory and localisation. Mirrors the Maze tasks
    of LMRL-Gym.

    ## Action space
    Tokens `up`, `down`, `left`, `right`.

    ## Observation space
    Fully observed: `[<bos>, row, column]`, one token each (`r8`, `c6`), in context "turn". Partly observed: `[<bos>]`,
    then the walls around, then for every move the move and the walls around the new cell, in context "episode"; the
    walls are one token that names the blocked sides, such as `walls-UD` above and below.

    ## Rewards
    By default −1 for a step, 0 for the step that reaches the goal, −4 for an illegal move, into a wall, which leaves
    the position.
    A player that knows the shortest ways, of length d, gets the mean of −(d − 1) over the starts.

    ## Starting state
    Every free cell but the goal, with equal chances.

    ## Episode end
    Terminated at the goal or after 100 moves. The clock is not shown.

    ## Information
    The legal tokens are the moves that meet no wall.

    ## Arguments
    * `observed="full"`: `"full"` (the position is shown) or `"partial"` (the walls around are).
    * `max_moves=100`: moves in an episode.
    * `layout=None`: another maze, a list of equally long strings of `0` (free) and `1` (wall); None is the double T.
    * `goal=(8, 6)`: row and column of the goal, which must be reachable from every free cell.
    * `step_cost=1.0`, `wall_cost=4.0`: what a step costs that does not reach the goal, and a move into a wall, at least
      0 each.

    ## References
    Abdulhai et al., "LMRL Gym: Benchmarks for Multi-Turn Reinforcement Learning with Language Models", 2023.

    ## Version history
    * v0: first release.
    """

    name = "Maze"
    family = "games"
    isolates = "planning; in the partial form memory, too"
    mirrors = "Maze of LMRL-Gym"

    def __init__(
        self,
        observed: str = "full",
        max_moves: int = 100,
        layout: Sequence[str] | None = None,
        goal: Sequence[int] = (8, 6),
        step_cost: float = 1.0,
        wall_cost: float = 4.0,
    ) -> None:
        if observed not in ("full", "partial"):
            raise TokenGymError(f"observed={observed!r}: expected 'full' or 'partial'.")
        self.observed = observed
        self.max_moves = positive_int("max_moves", max_moves)
        self.step_cost, self.wall_cost = not_negative("step_cost", step_cost), not_negative("wall_cost", wall_cost)
        self.layout = _checked(DOUBLE_T if layout is None else layout)
        height, width = len(self.layout), len(self.layout[0])
        free = [(row, column) for row in range(height) for column in range(width) if self._is_free(row, column)]
        self.goal = _checked_goal(goal, free)
        self.distances = self._distances()
        lost = [cell for cell in free if cell not in self.distances]
        if lost:
            raise TokenGymError(
                f"layout: the goal {self.goal} cannot be reached from {lost[0]}: open a way or wall it up."
            )
        self.starts = [cell for cell in free if cell != self.goal]
        if not self.starts:
            raise TokenGymError("layout has no free cell but the goal: an episode needs somewhere to start.")
        if len(free) * self.max_moves > _MOST_STATES:
            raise TokenGymError(
                f"{len(free)} free cells and max_moves={max_moves} make more than {_MOST_STATES} states: take a "
                "smaller maze or fewer moves."
            )
        if observed == "full":
            self.context = "turn"
            shown = [f"r{row}" for row in range(height)] + [f"c{column}" for column in range(width)]
        else:
            sides = [name[0].upper() for name in _MOVES]
            shown = ["walls-" + "".join(s for bit, s in enumerate(sides) if walls >> bit & 1) for walls in range(16)]
        self.vocabulary = Vocabulary.of(_MOVES, shown)

    def _is_free(self, row: int, column: int) -> bool:
        inside = 0 <= row < len(self.layout) and 0 <= column < len(self.layout[0])
        return inside and self.layout[row][column] == "0"

    def _ways(self, cell: tuple[int, int]) -> dict[int, tuple[int, int]]:
        """Return the moves that meet no wall, and where they lead."""
        after = {move: (cell[0] + down, cell[1] + right) for move, (down, right) in enumerate(_STEPS)}
        return {move: following for move, following in after.items() if self._is_free(*following)}

    def _distances(self) -> dict[tuple[int, int], int]:
        """Return the steps to the goal from each cell that it can be reached from."""
        distances, frontier = {self.goal: 0}, [self.goal]
        for cell in frontier:
            for neighbour in self._ways(cell).values():
                if neighbour not in distances:
                    distances[neighbour] = distances[cell] + 1
                    frontier.append(neighbour)
        return distances

    def initial(self) -> Iterable[Initial]:
        """Return every start; a state is (moves made, cell)."""
        return [Initial(1 / len(self.starts), (0, cell), self._shown(cell)) for cell in self.starts]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Move, unless there is a wall."""
        made, cell = state
        after = self._ways(cell).get(action)
        if after is None:
            reward = 0.0 - self.wall_cost
        else:
            cell, reward = after, 0.0 if after == self.goal else 0.0 - self.step_cost
        over = cell == self.goal or made + 1 == self.max_moves
        return [Transition(1.0, None if over else (made + 1, cell), reward, self._shown(cell))]

    def legal(self, state: Any) -> Iterable[int] | None:
        """Return the moves that meet no wall."""
        return list(self._ways(state[1]))

    def expert_action(self, state: Any) -> int | None:
        """Return the first step of a shortest way: it knows the position, also where the agent does not see it."""
        ways = self._ways(state[1])
        return min(ways, key=lambda move: self.distances[ways[move]])

    def _shown(self, cell: tuple[int, int]) -> tuple[int, ...]:
        first = len(_MOVES)
        if self.observed == "full":
            return first + cell[0], first + len(self.layout) + cell[1]
        ways = self._ways(cell)
        return (first + sum(1 << move for move in range(len(_MOVES)) if move not in ways),)

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draw the maze with the agent in it, or what the agent sees around its cell."""
        first = len(_MOVES)
        if self.observed == "full":
            row, column = int(tokens[1]) - first, int(tokens[2]) - first - len(self.layout)
            cells = [[Cell("", _FREE if field == "0" else _WALL) for field in line] for line in self.layout]
            cells[self.goal[0]][self.goal[1]] = Cell("G", _GOAL)
            cells[row][column] = _YOU
            where = f"row {row}, column {column}"
            caption = f"at the goal, {where}" if (row, column) == self.goal else where
            return Picture(tuple(tuple(line) for line in cells), caption)
        walls = int(tokens[-1]) - first
        cells = [[Cell("", _UNKNOWN)] * 3 for _ in range(3)]
        for bit, (down, right) in enumerate(_STEPS):
            cells[1 + down][1 + right] = Cell("", _WALL if walls >> bit & 1 else _FREE)
        cells[1][1] = _YOU
        return Picture(tuple(tuple(line) for line in cells), f"{(len(tokens) - 2) // 2} moves made")


def _checked(layout: Sequence[str]) -> tuple[str, ...]:
    """Return a layout as strings, or raise `TokenGymError` if it is none."""
    lines = list(layout) if isinstance(layout, (list, tuple)) else []
    strings = all(isinstance(line, str) and not set(line) - {"0", "1"} for line in lines)
    if not lines or not strings or not lines[0] or len({len(line) for line in lines}) > 1:
        raise TokenGymError(
            f"layout={layout!r}: give a list of equally long strings of '0' (free) and '1' (wall), such as "
            "['000', '010']."
        )
    return tuple(lines)


def _checked_goal(goal: Sequence[int], free: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the goal as a cell, or raise `TokenGymError` if it is not a free one."""
    for cell in free:
        if isinstance(goal, (list, tuple)) and list(goal) == list(cell):
            return cell
    raise TokenGymError(f"goal={goal!r}: give the row and the column, counted from 0, of a free cell of the maze.")
