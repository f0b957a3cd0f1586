"""Noughts and crosses against a random, a perfect or a learnt opponent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...drawing import Cell, Picture
from ...vocabulary import Vocabulary
from .two_player import TwoPlayerTask

_LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
_EMPTY, _MINE, _THEIRS = ".xo"
_TURNED = str.maketrans(_MINE + _THEIRS, _THEIRS + _MINE)
_FILLS = {_MINE: "#dbe9ff", _THEIRS: "#ffe3d6", _EMPTY: "#ffffff"}
_INKS = {_MINE: "#1b4f9c", _THEIRS: "#b5451b", _EMPTY: "#b0b0b0"}


# The 5,478 boards of the game are asked for these over and over while an opponent is folded in.
@cache
def _empty_fields(board: str) -> tuple[int, ...]:
    return tuple(field for field, mark in enumerate(board) if mark == _EMPTY)


@cache
def _lost(board: str) -> bool:
    return any(board[a] == board[b] == board[c] == _THEIRS for a, b, c in _LINES)


class TicTacToe(TwoPlayerTask):
    """Get three in a row on a board of nine, and do not let the other player.

    ## Description
    The agent is X and starts; the opponent is O. They mark empty fields of a 3×3 board in turns, and the first with
    three marks in a row, a column or a diagonal wins. The opponent plays at random, perfectly, or as a frozen copy of
    an agent does, and its move belongs to the transition, so the best return against any of them is known exactly. It
    isolates planning against somebody who plans too: what wins against a random player loses against a good one.
    Mirrors the board games of self-play research in the smallest size.

    With perfect play on both sides the game is a draw, from either side.

    ## Action space
    Tokens `1` … `9`: the field to mark, numbered row by row from the top left.

    ## Observation space
    `[<bos>, nine fields]` in context "turn", row by row: `.` (empty), `x` (the agent's) or `o` (the opponent's). The
    agent's marks are `x` also where it moves second, so that one policy can play both sides, and a frozen copy that
    plays the opponent is shown its own marks as `x`.

    ## Rewards
    With the last token: 1 for a win, 0 for a draw, −1 for a loss. An illegal move, on a field that is not empty,
    ends the game and costs `illegal_cost`, as much as a loss by default.

    ## Starting state
    The empty board. With `side="second"` the opponent has made its first move; with `side="both"` either, with equal
    chances.

    ## Episode end
    Terminated by three in a row, a full board or an illegal move; after five tokens at the latest.

    ## Information
    The legal tokens are the empty fields.

    ## Arguments
    * `opponent="random"`: `"random"` (a uniformly random empty field), `"optimal"` (minimax; uniform among equally good
      moves), `{"checkpoint": "folder"}` (the agent of a saved algorithm), `"module:callable"`,
      `{"entry_point": "module:callable", "kwargs": {...}}`, or a policy: from tokens, lengths and masks to
      probabilities.
    * `side="first"`: `"first"`, `"second"`, or `"both"` (drawn for each episode, as self-play needs it).
    * `illegal_cost=1.0`: what an illegal move costs, at least 0.

    ## References
    Michie, "Experiments on the Mechanization of Game-Learning", The Computer Journal, 1963.

    ## Version history
    * v0: first release.
    """

    name = "TicTacToe"
    isolates = "planning against an opponent"
    mirrors = "board games and self-play"

    def __init__(self, opponent: Any = "random", side: str = "first", illegal_cost: float = 1.0) -> None:
        super().__init__(opponent, side, illegal_cost)
        self.vocabulary = Vocabulary.of([str(field) for field in range(1, 10)], [".", "x", "o"])
        self._marks = dict(zip(".xo", self.vocabulary.encode(".xo"), strict=True))

    def first_position(self) -> str:
        """Return the empty board; a position is nine fields, `.` (empty), `x` (the mover's) or `o` (the other's)."""
        return _EMPTY * 9

    def moves(self, position: str) -> Sequence[int]:
        """Return the empty fields."""
        return _empty_fields(position)

    def play(self, position: str, move: int) -> str:
        """Mark a field and turn the board over to the other player."""
        return self.turned(position[:move] + _MINE + position[move + 1 :])

    def turned(self, position: str) -> str:
        """Return the board with mine and theirs exchanged."""
        return position.translate(_TURNED)

    def outcome(self, position: str) -> float | None:
        """Return −1 where the other player has three in a row, 0 where the board is full."""
        if _lost(position):
            return -1.0
        return None if _EMPTY in position else 0.0

    def shown(self, position: str) -> tuple[int, ...]:
        """Return the nine fields as tokens."""
        return tuple(map(self._marks.__getitem__, position))

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Draw the board; empty fields show their number, and a full line stands out."""
        board = "".join(self.vocabulary.names(tokens[1:10].tolist()))
        line: set[int] = set()
        caption = "X to move" if state is not None else "a draw"
        for fields in _LINES:
            marks = {board[field] for field in fields}
            if len(marks) == 1 and _EMPTY not in marks:
                line, caption = set(fields), "X has won" if _MINE in marks else "O has won"
        if state is None and not line and _EMPTY in board:
            caption = "an illegal move: X has lost"

        def cell(field: int) -> Cell:
            mark = board[field]
            text = str(field + 1) if mark == _EMPTY else mark.upper()
            return Cell(text, "#ffe27a" if field in line else _FILLS[mark], _INKS[mark])

        return Picture(tuple(tuple(cell(3 * row + column) for column in range(3)) for row in range(3)), caption)
