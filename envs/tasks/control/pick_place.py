"""PickPlace: a gripper on a grid that carries an object to its goal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, finite_number, positive_int
from ...drawing import Cell, Picture
from ...finite import ClockedTask, Initial, Transition
from ...vocabulary import Vocabulary

_MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_ACTIONS = (*_MOVES, "grasp", "release")
_GRASP, _RELEASE = _ACTIONS.index("grasp"), _ACTIONS.index("release")
_MOST_POSITIONS = 25_000
_HELD = -1
_FLOOR, _GOAL, _OBJECT, _BOTH = "#f4f1ea", "#b7dfb0", "#f2b37a", "#e0c552"


class PickPlace(ClockedTask):
    """Carry an object to its goal, and let go of it there.

    ## Description
    A gripper starts in the corner (0, 0) of a 4×4 grid; an object and a goal lie on two different cells. The gripper
    has to reach the object, grasp it, carry it to the goal and release it: four phases in a row, of which only the last
    one pays. It isolates a long horizon made of sub-goals, in a Markov state that is shown anew at every turn. Mirrors
    the pick-and-place tasks of manipulation benchmarks, such as `FetchPickAndPlace`, without their physics.
    `PickPlace-3` has a 3×3 grid.

    ## Action space
    Tokens `up`, `down`, `left`, `right`, `grasp`, `release`. A move off the grid, a grasp where no object lies and a
    release with an empty hand do nothing; the action mask forbids them. What is released away from the goal stays
    there and can be grasped again.

    ## Observation space
    `[<bos>, hand, object, goal, holding]` in context "turn": three cells such as `hand0,0`, `object2,3`, `goal1,1` (row
    from the top, column from the left), then `empty` or `holding`. What is held lies where the hand is.

    ## Rewards
    −.01 for every token, and +1 for the release on the goal.

    The shortest way takes the distance to the object, the distance to the goal and two tokens. On an n×n grid its mean
    is (n − 1) + 2n/3 + 2, so the optimum is 1 − .01·(5n/3 + 1): .92333 for n = 4, with `num_steps` of at least 4n − 2.

    ## Starting state
    The hand in the corner (0, 0), empty; the object and the goal on any two different cells, all pairs equally likely.
    Either may lie in the corner.

    ## Episode end
    Terminated at the release on the goal, or after 24 tokens.

    ## Information
    No keys of its own.

    ## Arguments
    * `size=4`: rows and columns of the grid, at least 2.
    * `num_steps=24`: tokens after which an episode ends.
    * `step_cost=0.01`: what every token costs.

    ## References
    Plappert et al., "Multi-Goal Reinforcement Learning: Challenging Robotics Environments and Request for Research",
    2018.

    ## Version history
    * v0: first release.
    """

    name = "PickPlace"
    family = "control"
    context = "turn"
    isolates = "sub-goals in a row"
    mirrors = "Fetch pick-and-place"

    def __init__(self, size: int = 4, num_steps: int = 24, step_cost: float = 0.01) -> None:
        self.size, self.num_steps = positive_int("size", size), positive_int("num_steps", num_steps)
        if size < 2:
            raise TokenGymError(f"size={size}: object and goal need two different cells, so a grid of at least 2×2")
        self.step_cost = finite_number("step_cost", step_cost)
        cells = size * size
        if cells * cells * (cells + 1) > _MOST_POSITIONS or cells * cells * (cells + 1) * num_steps > self.max_states:
            raise TokenGymError(
                f"size={size}, num_steps={num_steps} make more than {_MOST_POSITIONS:,} positions or "
                f"{self.max_states:,} states: take a smaller grid or fewer steps"
            )
        places = [f"{row},{column}" for row in range(size) for column in range(size)]
        shown = [f"{what}{place}" for what in ("hand", "object", "goal") for place in places]
        self.vocabulary = Vocabulary.of(_ACTIONS, [*shown, "empty", "holding"])

    def starts(self) -> Iterable[Initial]:
        """Returns every pair of object and goal; a position is (hand, object or −1 where it is held, goal)."""
        cells = self.size**2
        pairs = [(thing, goal) for thing in range(cells) for goal in range(cells) if thing != goal]
        return [Initial(1 / len(pairs), (0, thing, goal), self._shown(0, thing, goal)) for thing, goal in pairs]

    def outcomes(self, position: Any, action: int) -> Iterable[Transition]:
        """Moves, grasps or releases where that is possible."""
        hand, thing, goal = position
        done = False
        if action not in self._possible(position):
            pass
        elif action == _GRASP:
            thing = _HELD
        elif action == _RELEASE:
            thing = hand
            done = hand == goal
        else:
            down, right = _MOVES[_ACTIONS[action]]
            hand += down * self.size + right
        following = None if done else (hand, thing, goal)
        return [Transition(1.0, following, float(done) - self.step_cost, self._shown(hand, thing, goal))]

    def legal_in(self, position: Any) -> Iterable[int]:
        """Returns the tokens that do something; the release on the goal is one of them."""
        return self._possible(position)

    def expert_in(self, position: Any) -> int:
        """Returns a token on a shortest way: down or up first, then right or left."""
        hand, thing, goal = position
        target = goal if thing == _HELD else thing
        if hand == target:
            return _RELEASE if thing == _HELD else _GRASP
        (row, column), (to_row, to_column) = divmod(hand, self.size), divmod(target, self.size)
        if row != to_row:
            return _ACTIONS.index("down" if to_row > row else "up")
        return _ACTIONS.index("right" if to_column > column else "left")

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns the grid: the hand as `( )`, the object as `o`, the goal in green."""
        cells = self.size**2
        hand, thing, goal, holding = (int(token) - len(_ACTIONS) for token in tokens[1:5])
        thing, goal = thing - cells, goal - 2 * cells
        held = holding == 3 * cells + 1
        fields = []
        for cell in range(cells):
            has_object, is_goal = cell == thing, cell == goal
            fill = _BOTH if has_object and is_goal else _OBJECT if has_object else _GOAL if is_goal else _FLOOR
            inside = "o" if has_object else "G" if is_goal else " "
            fields.append(Cell(f"({inside})" if cell == hand else inside.strip(), fill))
        rows = tuple(tuple(fields[start : start + self.size]) for start in range(0, cells, self.size))
        delivered = thing == goal and not held
        what = "delivered" if delivered else "holding the object" if held else "hand empty"
        return Picture(rows, f"{what} · ( ) hand, o object, G goal")

    def _possible(self, position: Any) -> list[int]:
        """Returns the tokens that do something in a position."""
        hand, thing, _ = position
        row, column = divmod(hand, self.size)
        possible = [
            action
            for action, (down, right) in enumerate(_MOVES.values())
            if 0 <= row + down < self.size and 0 <= column + right < self.size
        ]
        if thing == _HELD:
            possible.append(_RELEASE)
        elif thing == hand:
            possible.append(_GRASP)
        return possible

    def _shown(self, hand: int, thing: int, goal: int) -> tuple[int, int, int, int]:
        cells, first = self.size**2, len(_ACTIONS)
        held = thing == _HELD
        place = hand if held else thing
        return first + hand, first + cells + place, first + 2 * cells + goal, first + 3 * cells + held
