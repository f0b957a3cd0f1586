"""Nim: take from one heap at a time; who takes the last one wins."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...drawing import Cell, Picture
from ...vocabulary import Vocabulary
from .two_player import TwoPlayerTask

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MOST_OUTCOMES = 2_000_000


class Nim(TwoPlayerTask):
    """Take the last stick.

    ## Description
    Three heaps hold 3, 4 and 5 sticks. The players take in turns any number of sticks, at least one, from any one heap;
    who takes the last stick of all wins. It isolates a rule that does not follow from likeness: a position is lost for
    the player to move exactly if the bitwise exclusive or of the heaps is 0 (Bouton's theorem), and one stick more or
    less changes everything. The opponent plays at random, perfectly, or as a frozen copy of an agent does. Mirrors
    combinatorial games and self-play research, where Nim is known as hard to learn for networks.

    From (3, 4, 5), whose exclusive or is 2, the first player wins with perfect play.

    ## Action space
    One token for each heap and number: `a1` takes one stick from the first heap, `c5` five from the third; 12 tokens.

    ## Observation space
    `[<bos>, heaps]` in context "turn": the number of sticks in each heap, as one token each.

    ## Rewards
    With the last token: 1 for taking the last stick, −1 if the opponent takes it. An illegal move, more sticks than the
    heap has, ends the game and costs `illegal_cost`, as much as a loss by default.

    ## Starting state
    Full heaps. With `side="second"` the opponent has made its first move; with `side="both"` either, with equal
    chances.

    ## Episode end
    Terminated when all sticks are taken, or by an illegal move.

    ## Information
    The legal tokens are those that name no more sticks than the heap has.

    ## Arguments
    * `heaps=(3, 4, 5)`: sticks in each heap at the start.
    * `opponent="random"`: `"random"` (uniform over the legal moves), `"optimal"` (minimax; uniform among equally good
      moves), `{"checkpoint": "folder"}` (the agent of a saved algorithm), `"module:callable"`,
      `{"entry_point": "module:callable", "kwargs": {...}}`, or a policy: from tokens, lengths and masks to
      probabilities.
    * `side="first"`: `"first"`, `"second"`, or `"both"` (drawn for each episode, as self-play needs it).
    * `illegal_cost=1.0`: what an illegal move costs, at least 0.

    ## References
    Bouton, "Nim, a Game with a Complete Mathematical Theory", Annals of Mathematics, 1901; Zhou and Riis, "Impartial
    Games: A Challenge for Reinforcement Learning", 2022.

    ## Version history
    * v0: first release.
    """

    name = "Nim"
    isolates = "an exact rule, against an opponent"
    mirrors = "impartial games and self-play"

    def __init__(
        self,
        heaps: Sequence[int] = (3, 4, 5),
        opponent: Any = "random",
        side: str = "first",
        illegal_cost: float = 1.0,
    ) -> None:
        super().__init__(opponent, side, illegal_cost)
        if isinstance(heaps, (str, bytes)) or not isinstance(heaps, Sequence) or not heaps:
            raise TokenGymError(f"heaps={heaps!r}: give the number of sticks of each heap, such as [3, 4, 5].")
        self.heaps = tuple(positive_int("heaps", heap) for heap in heaps)
        if len(heaps) > len(_LETTERS):
            raise TokenGymError(f"heaps={heaps!r}: at most {len(_LETTERS)} heaps have a letter.")
        if sum(self.heaps) ** 2 * prod(heap + 1 for heap in self.heaps) > _MOST_OUTCOMES:
            raise TokenGymError(f"heaps={heaps!r} are too many positions to compile: take fewer or smaller heaps.")
        if len(heaps) == 1 and side != "first":
            raise TokenGymError(
                f"heaps={heaps!r} with side={side!r}: the opponent could take everything before the agent's first "
                "move. Give at least two heaps."
            )
        # The move of each token: heap and number of sticks.
        self._takes = [(heap, count) for heap, size in enumerate(self.heaps) for count in range(1, size + 1)]
        self._no_sticks = len(self._takes)
        self.vocabulary = Vocabulary.of(
            [f"{_LETTERS[heap]}{count}" for heap, count in self._takes],
            [str(count) for count in range(max(self.heaps) + 1)],
        )

    def first_position(self) -> tuple[int, ...]:
        """Return the full heaps; a position is the sticks in each."""
        return self.heaps

    def moves(self, position: tuple[int, ...]) -> Sequence[int]:
        """Return the tokens that take no more than there is."""
        return [token for token, (heap, count) in enumerate(self._takes) if count <= position[heap]]

    def play(self, position: tuple[int, ...], move: int) -> tuple[int, ...]:
        """Take the sticks."""
        heap, count = self._takes[move]
        return (*position[:heap], position[heap] - count, *position[heap + 1 :])

    def outcome(self, position: tuple[int, ...]) -> float | None:
        """Return −1 where nothing is left: the other player took the last stick."""
        return None if any(position) else -1.0

    def shown(self, position: tuple[int, ...]) -> tuple[int, ...]:
        """Return the numbers of sticks as tokens."""
        return tuple(self._no_sticks + count for count in position)

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draw a row of sticks for each heap."""
        sticks = [int(token) - self._no_sticks for token in tokens[1 : 1 + len(self.heaps)]]
        rows = []
        for heap, (letter, size) in enumerate(zip(_LETTERS, self.heaps, strict=False)):
            cells = [Cell(letter, "#f2f2f2", "#6b6b6b")]
            for place in range(max(self.heaps)):
                if place < sticks[heap]:
                    cells.append(Cell("|", "#f6d9a8", "#6b3f00"))
                else:
                    cells.append(Cell("", "#ffffff" if place < size else "#f2f2f2"))
            rows.append(tuple(cells))
        caption = "your move: who takes the last stick wins"
        if state is None:
            caption = "an illegal move: the game is lost" if any(sticks) else "the last stick is taken"
        return Picture(tuple(rows), caption)
