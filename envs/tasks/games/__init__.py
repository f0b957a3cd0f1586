"""Games of one and two players."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

if TYPE_CHECKING:
    from .full_wordle import Wordle
    from .haggle import Haggle
    from .haggle_chat import HaggleChat
    from .mastermind import Mastermind
    from .maze import Maze
    from .nim import Nim
    from .tictactoe import TicTacToe
    from .twenty_questions import TwentyQuestions
    from .two_player import TwoPlayerTask, exploitability
    from .wordle import WordleMini

__all__ = [
    "Haggle",
    "HaggleChat",
    "Mastermind",
    "Maze",
    "Nim",
    "TicTacToe",
    "TwentyQuestions",
    "TwoPlayerTask",
    "Wordle",
    "WordleMini",
    "exploitability",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Haggle": "haggle",
        "HaggleChat": "haggle_chat",
        "Mastermind": "mastermind",
        "Maze": "maze",
        "Nim": "nim",
        "TicTacToe": "tictactoe",
        "TwentyQuestions": "twenty_questions",
        "TwoPlayerTask": "two_player",
        "Wordle": "full_wordle",
        "WordleMini": "wordle",
        "exploitability": "two_player",
    },
)
