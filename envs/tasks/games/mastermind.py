"""Mastermind: break a hidden code of colours by logic."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...drawing import Cell, Picture
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from .guessing import blind_return

COLOURS = {
    "red": "#d64541",
    "green": "#3a9d5d",
    "blue": "#3b6fb6",
    "yellow": "#e8c547",
    "white": "#f2f2f2",
    "black": "#333333",
    "orange": "#e58e39",
    "purple": "#8e5ba6",
}
"""The names of the pegs and how they are drawn."""

_MOST_STATES = 300_000


def mark_code(guess: Sequence[int], code: Sequence[int]) -> tuple[int, int]:
    """Return how many pegs of a guess are right in colour and place, and how many in colour only."""
    right = sum(peg == said for peg, said in zip(code, guess, strict=True))
    return right, sum((Counter(guess) & Counter(code)).values()) - right


class Mastermind(FiniteTask):
    """Break a hidden code of coloured pegs, with two numbers of feedback after each guess.

    ## Description
    The code is three pegs in three colours, repeats allowed: 27 codes. A guess is three tokens, a colour each. Feedback
    counts the pegs that are right in colour and place (`+2`), then those that are right in colour but stand elsewhere
    (`~1`); it does not say which. It isolates deduction: each answer has to be combined with all those before. Mirrors
    the board game of 1970, whose 6 colours and 4 pegs Knuth broke in at most five guesses.

    ## Action space
    `num_colours` tokens: `red`, `green`, `blue`, ….

    ## Observation space
    `[<bos>]`, then for every guess its pegs and its two counts `+n` and `~n`: the whole game.

    ## Rewards
    −1 with the last peg of each wrong guess, 0 for the right one. An agent that says uniform tokens gets
    −Σ_{i ≤ guesses} (1 − 1/codes)^i (attribute `random_return`).

    ## Starting state
    A code, uniform over all and hidden, drawn anew in each episode.

    ## Episode end
    Terminated by the right guess or after `num_guesses` guesses.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_colours=3`: colours, from 2 to 8.
    * `num_pegs=3`: pegs in a code.
    * `num_guesses=5`: guesses in an episode.

    ## References
    Donald E. Knuth, "The Computer as Master Mind", Journal of Recreational Mathematics 9, 1976.

    ## Version history
    * v0: first release.
    """

    name = "Mastermind"
    family = "games"
    isolates = "deduction from several answers"
    mirrors = "the board game Mastermind"

    def __init__(self, num_colours: int = 3, num_pegs: int = 3, num_guesses: int = 5) -> None:
        self.num_colours, self.num_pegs = positive_int("num_colours", num_colours), positive_int("num_pegs", num_pegs)
        self.num_guesses = positive_int("num_guesses", num_guesses)
        if not 2 <= self.num_colours <= len(COLOURS):
            raise TokenGymError(f"num_colours={num_colours}: give 2 … {len(COLOURS)}.")
        prefixes = sum(self.num_colours**said for said in range(min(self.num_pegs, 20)))
        if self.num_colours ** min(self.num_pegs, 20) * prefixes * self.num_guesses > _MOST_STATES:
            raise TokenGymError(
                f"num_colours={num_colours}, num_pegs={num_pegs}, num_guesses={num_guesses} make more than "
                f"{_MOST_STATES} states: take fewer of one of them."
            )
        self.turn_tokens = self.num_pegs
        self.colours = list(COLOURS)[: self.num_colours]
        counts = range(self.num_pegs + 1)
        self.vocabulary = Vocabulary.of(self.colours, [*(f"+{n}" for n in counts), *(f"~{n}" for n in counts)])
        self.codes = list(itertools.product(range(self.num_colours), repeat=self.num_pegs))
        self.random_return = blind_return(len(self.codes), self.num_guesses)
        # Compiling asks for the marks of a guess and a code once in every turn.
        self._marks: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, ...]] = {}

    def initial(self) -> Iterable[Initial]:
        """Return every code, equally likely and hidden; a state is (code, guesses made, pegs of this guess)."""
        return [Initial(1 / len(self.codes), (code, 0, ())) for code in self.codes]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Set a peg; with the last one of a guess compare it with the code."""
        code, guesses, pegs = state
        pegs = (*pegs, action)
        if len(pegs) < self.num_pegs:
            return [Transition(1.0, (code, guesses, pegs))]
        if (pegs, code) not in self._marks:
            right, elsewhere = mark_code(pegs, code)
            self._marks[pegs, code] = tuple(self.vocabulary.encode([f"+{right}", f"~{elsewhere}"]))
        marks = self._marks[pegs, code]
        if pegs == code:
            return [Transition(1.0, None, 0.0, marks)]
        following = None if guesses + 1 == self.num_guesses else (code, guesses + 1, ())
        return [Transition(1.0, following, -1.0, marks)]

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Return one line a guess: its pegs in their colours, then the two counts."""
        names = self.vocabulary.names(tokens[1:].tolist())
        lines, width = [], self.num_pegs + 2
        for guess in range(self.num_guesses):
            said = names[guess * width : (guess + 1) * width]
            cells = [Cell("", COLOURS[name]) if name in COLOURS else Cell(name) for name in said]
            lines.append((*cells, *(Cell("·", "#e4e4e4") for _ in range(width - len(said)))))
        over = "" if state is not None else "; broken" if self._broken(names) else "; not broken"
        return Picture(tuple(lines), f"+ right place, ~ right colour{over}")

    def _broken(self, names: list[str]) -> bool:
        return names[-2:-1] == [f"+{self.num_pegs}"]
