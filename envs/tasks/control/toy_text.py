"""FrozenLake and Taxi: Gymnasium's tables of transitions, token by token and solved exactly."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.envs.toy_text.frozen_lake import MAPS, FrozenLakeEnv
from gymnasium.envs.toy_text.taxi import TaxiEnv

from ...checking import TokenGymError, finite_number, flag, positive_int, unknown_name
from ...drawing import Cell, Picture
from ...finite import ClockedTask, Initial, Transition
from ...vocabulary import Vocabulary

_EXPERT_DISCOUNT = 0.99
_EXPERT_PRECISION = 1e-9


class TransitionTable(ClockedTask):
    """An environment that publishes its transitions as Gymnasium's toy texts do, under a clock.

    A subclass makes the environment, names the tokens, and says what is shown of a position.

    Attributes:
        table: For each position and each action the outcomes (probability, next position, reward, ended), Gymnasium's
            `P`. A position is the environment's observation, an integer.
        start_probabilities: The probability of each position at the start, float64 (number of positions,).
    """

    family = "control"
    context = "turn"
    table: Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]
    start_probabilities: npt.NDArray[np.float64]

    @abstractmethod
    def shown(self, position: int) -> tuple[int, ...]:
        """Returns the tokens that show a position."""

    def starts(self) -> Iterable[Initial]:
        """Returns the environment's starting positions."""
        found = np.flatnonzero(self.start_probabilities).tolist()
        return [Initial(float(self.start_probabilities[place]), place, self.shown(place)) for place in found]

    def outcomes(self, position: Any, action: int) -> Iterable[Transition]:
        """Returns the environment's own outcomes, those that are alike included."""
        return [
            Transition(probability, None if ended else int(following), float(reward), self.shown(int(following)))
            for probability, following, reward, ended in self.table[position][action]
        ]

    def expert_in(self, position: Any) -> int:
        """Returns the best action for a player without a clock, by value iteration with a discount of .99."""
        return int(self._expert[position])

    @functools.cached_property
    def _expert(self) -> npt.NDArray[np.int64]:
        num_actions = self.vocabulary.num_actions
        entries = [
            (position * num_actions + action, probability, following, reward, not ended)
            for position, actions in self.table.items()
            for action, outcomes in actions.items()
            for probability, following, reward, ended in outcomes
        ]
        pair, probability, following, reward, goes_on = map(np.array, zip(*entries, strict=True))
        values = np.zeros(len(self.table))
        while True:
            gains = probability * (reward + _EXPERT_DISCOUNT * goes_on * values[following])
            action_values = np.bincount(pair, gains).reshape(-1, num_actions)
            before, values = values, action_values.max(axis=1)
            if np.abs(values - before).max() < _EXPERT_PRECISION:
                # Values that differ by rounding alone are equal, so that the first of equal actions is chosen.
                return (action_values > values[:, None] - 1e3 * _EXPERT_PRECISION).argmax(axis=1)


class FrozenLake(TransitionTable):
    """Cross a frozen lake whose ice sends the walker astray.

    ## Description
    A walker starts in one corner of a lake and wants to reach the other without falling into a hole. The ice is
    slippery: a step goes where it was meant to with probability 1/3, and to either side of it with 1/3 each. It
    isolates planning under chance with a reward that comes only at the end. The transitions are the very table of
    Gymnasium's `FrozenLake-v1`, so the exact scores are that environment's. Mirrors the textbook example of a Markov
    decision process. On
    `FrozenLake-deterministic` every step goes where it was meant to; `FrozenLake-8x8` is the larger lake.

    ## Action space
    Tokens `left`, `down`, `right`, `up`. A step off the map stays where it is.

    ## Observation space
    `[<bos>, row, column]` in context "turn": `row0`, `row1`, … from the top, `column0`, `column1`, … from the left. The
    map is not shown.

    ## Rewards
    1 for the step that reaches the goal, else 0.

    ## Starting state
    The corner (0, 0), where the map has its `S`.

    ## Episode end
    Terminated at the goal, in a hole, or after `num_steps` tokens. Gymnasium cuts the episode at the same step, by
    truncation; here the limit is a rule of the game, and the optimum that `solve` gives knows the clock.

    ## Information
    No keys of its own.

    ## Arguments
    * `map_name="4x4"`: `"4x4"` or `"8x8"`, Gymnasium's maps.
    * `desc=None`: a map of your own, a list of equally long strings of `S` start, `F` frozen, `H` hole and `G` goal.
    * `is_slippery=True`: whether the ice sends the walker astray.
    * `success_rate=1/3`: the probability that a step goes where it was meant to, where the ice is slippery.
    * `num_steps=None`: tokens after which an episode ends; by default, as in Gymnasium, 100 up to 16 cells, else
      200.

    ## References
    Towers et al., "Gymnasium: A Standard Interface for Reinforcement Learning Environments", 2024.

    ## Version history
    * v0: first release.
    """

    name = "FrozenLake"
    isolates = "planning under chance"
    mirrors = "Gymnasium's FrozenLake"

    def __init__(
        self,
        map_name: str = "4x4",
        desc: Sequence[str] | None = None,
        is_slippery: bool = True,
        success_rate: float = 1 / 3,
        num_steps: int | None = None,
    ) -> None:
        if desc is None and (not isinstance(map_name, str) or map_name not in MAPS):
            raise unknown_name("map_name", map_name, MAPS)
        self.desc = list(MAPS[map_name]) if desc is None else _checked_map(desc)
        if not 0 < finite_number("success_rate", success_rate) <= 1:
            raise TokenGymError(f"success_rate={success_rate}: give a probability above 0 and up to 1")
        # An argument that older versions of Gymnasium lack is passed only where it differs from what they do.
        chance: dict[str, Any] = {} if success_rate == 1 / 3 else {"success_rate": success_rate}
        lake = FrozenLakeEnv(desc=self.desc, is_slippery=flag("is_slippery", is_slippery), **chance)
        self.table, self.start_probabilities = lake.P, lake.initial_state_distrib
        self.num_rows, self.num_columns = len(self.desc), len(self.desc[0])
        limit = 100 if self.num_rows * self.num_columns <= 16 else 200
        self.num_steps = limit if num_steps is None else positive_int("num_steps", num_steps)
        rows = [f"row{row}" for row in range(self.num_rows)]
        columns = [f"column{column}" for column in range(self.num_columns)]
        self.vocabulary = Vocabulary.of(["left", "down", "right", "up"], [*rows, *columns])

    def shown(self, position: int) -> tuple[int, int]:
        """Returns the tokens of row and column."""
        row, column = divmod(position, self.num_columns)
        return 4 + row, 4 + self.num_rows + column

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns the lake: holes dark, the goal green, the walker as `@`."""
        at = int(tokens[1]) - 4, int(tokens[2]) - 4 - self.num_rows
        fills = {"S": "#dfe9f5", "F": "#dfe9f5", "H": "#33475b", "G": "#8fce7e"}
        rows = tuple(
            tuple(
                Cell("@" if (row, column) == at else "" if letter == "F" else letter, fills[letter], _ink(letter))
                for column, letter in enumerate(line)
            )
            for row, line in enumerate(self.desc)
        )
        letter = self.desc[at[0]][at[1]]
        return Picture(rows, {"H": "fell into a hole", "G": "reached the goal"}.get(letter, "@ walker, H hole, G goal"))


class Taxi(TransitionTable):
    """Fetch a passenger and bring them where they want to go.

    ## Description
    A taxi drives about a 5×5 town with walls. A passenger waits at one of the four stands R, G, Y and B and wants to go
    to another. It isolates a task of two parts, fetch and bring, that need the same skill of finding the way. The
    transitions are the very table of Gymnasium's `Taxi`, so the exact scores are that environment's. Mirrors
    Dietterich's example for hierarchical reinforcement learning. On `Taxi-rainy` drives go astray.

    ## Action space
    Tokens `south`, `north`, `east`, `west`, `pickup`, `dropoff`. The action mask is Gymnasium's: it forbids driving
    into a wall, picking up where nobody waits and dropping off where there is no stand or nobody in the taxi.

    ## Observation space
    `[<bos>, row, column, passenger, destination]` in context "turn": `row0` … `row4`, `column0` … `column4`, one of
    `at-R`, `at-G`, `at-Y`, `at-B`, `in-taxi`, and one of `to-R`, `to-G`, `to-Y`, `to-B`. The map is not shown.

    ## Rewards
    −1 for every token; instead of it −10 for a pickup or dropoff that is not possible, +20 for the dropoff at the
    destination.

    ## Starting state
    Taxi, passenger and destination anywhere, the destination not where the passenger is: 300 states, equally likely.

    ## Episode end
    Terminated at the dropoff at the destination, or after `num_steps` tokens. Gymnasium cuts the episode at the same
    step, by truncation; here the limit is a rule of the game.

    ## Information
    No keys of its own.

    ## Arguments
    * `is_rainy=False`: whether a drive goes astray, to the left or the right, with probability .1 each.
    * `num_steps=200`: tokens after which an episode ends.

    ## References
    Dietterich, "Hierarchical Reinforcement Learning with the MAXQ Value Function Decomposition", 2000.

    ## Version history
    * v0: first release.
    """

    name = "Taxi"
    isolates = "one skill used twice"
    mirrors = "Gymnasium's Taxi"

    def __init__(self, is_rainy: bool = False, num_steps: int = 200) -> None:
        self.num_steps = positive_int("num_steps", num_steps)
        # An argument that older versions of Gymnasium lack is passed only where it is needed.
        weather: dict[str, Any] = {"is_rainy": True} if flag("is_rainy", is_rainy) else {}
        self._taxi = TaxiEnv(**weather)
        self.table, self.start_probabilities = self._taxi.P, self._taxi.initial_state_distrib
        shown = [f"row{row}" for row in range(5)] + [f"column{column}" for column in range(5)]
        shown += [f"at-{stand}" for stand in "RGYB"] + ["in-taxi"] + [f"to-{stand}" for stand in "RGYB"]
        self.vocabulary = Vocabulary.of(["south", "north", "east", "west", "pickup", "dropoff"], shown)

    def legal_in(self, position: Any) -> Iterable[int]:
        """Returns the actions that Gymnasium's mask allows."""
        return np.flatnonzero(self._taxi.action_mask(position)).tolist()

    def shown(self, position: int) -> tuple[int, int, int, int]:
        """Returns the tokens of row, column, passenger and destination."""
        row, column, passenger, destination = self._taxi.decode(position)
        return 6 + row, 11 + column, 16 + passenger, 21 + destination

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture:
        """Returns the town with its walls: the taxi yellow, or green with a passenger in it, their destination pink."""
        row, column, passenger, destination = (
            int(token) - first for token, first in zip(tokens[1:5], (6, 11, 16, 21), strict=True)
        )
        stands = {place: "RGYB"[index] for index, place in enumerate(self._taxi.locs)}
        waits = None if passenger == 4 else self._taxi.locs[passenger]
        fields = []
        for y in range(5):
            # Between two streets the map has ":", or "|" for a wall.
            line = self._taxi.desc[1 + y].tobytes().decode()[1:10]
            fields.append([])
            for x, letter in enumerate(line):
                place = (y, x // 2) if x % 2 == 0 else None
                fill = "#40464d" if letter == "|" else "#eeeeee"
                text = "" if place is None else stands.get(place, "") + ("p" if place == waits else "")
                if place == (row, column):
                    fill = "#7ccf7c" if passenger == 4 else "#f2d35c"
                    text = f"@{text}"
                elif place == self._taxi.locs[destination]:
                    fill = "#f3b6cf"
                fields[-1].append(Cell(text, fill))
        where = "in it" if passenger == 4 else f"p at {'RGYB'[passenger]}"
        delivered = passenger == destination
        caption = "delivered" if delivered else f"@ taxi; passenger {where}, wants to {'RGYB'[destination]}"
        return Picture(tuple(map(tuple, fields)), caption)


def _checked_map(desc: Sequence[str]) -> list[str]:
    """Returns a map of a user's, or raises for one that is no lake."""
    rows: list[Any] = list(desc) if isinstance(desc, (list, tuple)) else [desc]
    lines = [line for line in rows if isinstance(line, str)]
    if not lines or len(lines) < len(rows) or not lines[0] or len({len(line) for line in lines}) > 1:
        raise TokenGymError(f"desc={desc!r}: give equally long strings, one a row, such as ['SF', 'HG']")
    wrong = set("".join(lines)) - set("SFHG")
    if wrong or "S" not in "".join(lines):
        raise TokenGymError(f"desc={desc!r}: a map is made of S, F, H and G, and has at least one S")
    if len(lines) * len(lines[0]) < 2:
        raise TokenGymError(f"desc={desc!r}: a map has at least two places, such as ['SG']")
    return lines


def _ink(letter: str) -> str:
    return "#ffffff" if letter == "H" else "#1a1a1a"
