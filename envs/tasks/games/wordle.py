"""Wordle with few letters: a word-guessing dialogue of several turns."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, flag, positive_int
from ...drawing import Cell, Picture
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random
from .guessing import blind_return

_MOST_STATES = 300_000
_FILL = {"+": "#6aaa64", "~": "#d2b13f", ".": "#787c7e"}


def mark_guess(guess: Sequence[int], secret: Sequence[int]) -> list[str]:
    """Return Wordle's feedback on a guess: `+` right place, `~` right letter elsewhere, `.` not in the word.

    A letter is marked `~` at most as often as it is still in the secret, from left to right.
    """
    left = Counter(letter for letter, said in zip(secret, guess, strict=True) if letter != said)
    marks = []
    for letter, said in zip(secret, guess, strict=True):
        if letter == said:
            marks.append("+")
        elif left[said] > 0:
            left[said] -= 1
            marks.append("~")
        else:
            marks.append(".")
    return marks


def draw_guesses(names: Sequence[str], word_length: int, num_guesses: int) -> Picture:
    """Return Wordle's board: a line a guess, each letter on the colour of its mark.

    Args:
        names: The dialogue: the letters of a guess, its marks, and so on; the last guess may be under way.
        word_length: Letters in a word.
        num_guesses: Lines of the board.
    """
    lines = []
    for start in range(0, 2 * word_length * num_guesses, 2 * word_length):
        letters, marks = names[start : start + word_length], names[start + word_length : start + 2 * word_length]
        cells = [Cell("", "#e4e4e4")] * word_length
        for place, letter in enumerate(letters):
            cells[place] = Cell(letter.upper(), _FILL[marks[place]], "#ffffff") if marks else Cell(letter.upper())
        lines.append(tuple(cells))
    return Picture(tuple(lines), "green: right place; yellow: elsewhere; grey: not in the word")


class WordleMini(FiniteTask):
    """Guess a hidden word letter by letter, with feedback after each guess.

    ## Description
    The secret is one of 24 three-letter words over six letters. A guess is three letters, one token each; any three
    letters may be guessed. Feedback follows: for each letter `+` (right place), `~` (in the word, elsewhere) or `.`
    (not in the word; letters that occur twice are marked as in Wordle). It isolates asking for information over several
    turns: the best first guesses are those that split the words well. Mirrors the Wordle task of LMRL-Gym in a size
    that can be solved exactly.

    ## Action space
    `num_letters` tokens `a`, `b`, ….

    ## Observation space
    `[<bos>]`, then for every guess its letters and its marks: the whole dialogue.

    ## Rewards
    −1 with the last letter of each wrong guess, 0 for the right one. A player that draws its guesses uniformly from the
    words gets −Σ_{i ≤ guesses} (1 − 1/words)^i (attribute `random_words_return`).

    ## Starting state
    A secret, uniform over the words and hidden, drawn anew in each episode.

    ## Episode end
    Terminated by the right guess or after `num_guesses` guesses.

    ## Information
    With `words_only` the legal tokens are the letters that continue some word of the list.

    ## Arguments
    * `num_letters=6`, `word_length=3`, `num_words=24`, `num_guesses=4`: sizes.
    * `words_only=False`: let the action mask allow prefixes of words only.
    * `instance_seed=0`: chooses the words.

    ## References
    Abdulhai et al., "LMRL Gym: Benchmarks for Multi-Turn Reinforcement Learning with Language Models", 2023; Snell et
    al., "Offline RL for Natural Language Generation with Implicit Language Q Learning", ICLR 2023.

    ## Version history
    * v0: first release.
    """

    name = "WordleMini"
    family = "games"
    isolates = "asking for information over several turns"
    mirrors = "LMRL-Gym Wordle"

    def __init__(
        self,
        num_letters: int = 6,
        word_length: int = 3,
        num_words: int = 24,
        num_guesses: int = 4,
        words_only: bool = False,
        instance_seed: int = 0,
    ) -> None:
        self.num_letters, self.word_length = (
            positive_int("num_letters", num_letters),
            positive_int("word_length", word_length),
        )
        self.num_words, self.num_guesses = (
            positive_int("num_words", num_words),
            positive_int("num_guesses", num_guesses),
        )
        if num_letters > 26:
            raise TokenGymError(f"num_letters={num_letters}: the alphabet has 26.")
        if word_length > 8 or num_words * num_guesses * num_letters ** (word_length - 1) > _MOST_STATES:
            raise TokenGymError(
                f"num_letters={num_letters}, word_length={word_length}, num_words={num_words}, "
                f"num_guesses={num_guesses} are too many states to compile: take shorter words or fewer letters."
            )
        if num_words > num_letters**word_length:
            raise TokenGymError(
                f"num_words={num_words}: {num_letters} letters make only {num_letters**word_length} words of length "
                f"{word_length}."
            )
        self.words_only = flag("words_only", words_only)
        self.turn_tokens = word_length
        self.vocabulary = Vocabulary.of([chr(ord("a") + letter) for letter in range(num_letters)], ["+", "~", "."])
        texts = list(itertools.product(range(num_letters), repeat=word_length))
        chosen = instance_random(instance_seed).choice(len(texts), size=num_words, replace=False)
        self.words: list[tuple[int, ...]] = [texts[index] for index in sorted(chosen)]
        self._continuations: dict[tuple[int, ...], set[int]] = {}
        for word in self.words:
            for length in range(word_length):
                self._continuations.setdefault(word[:length], set()).add(word[length])
        # Compiling asks for the marks of a guess and a secret once in every turn.
        self._marks: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, ...]] = {}

    @property
    def random_words_return(self) -> float:
        """Expected return of guessing words of the list uniformly at random, repeats allowed."""
        return blind_return(self.num_words, self.num_guesses)

    def initial(self) -> Iterable[Initial]:
        """Return every secret, equally likely and hidden; a state is (secret, guesses made, letters of this guess)."""
        return [Initial(1 / self.num_words, (word, 0, ())) for word in self.words]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Add a letter; with the last one of a guess compare it with the secret."""
        secret, guesses, letters = state
        letters = (*letters, action)
        if len(letters) < self.word_length:
            return [Transition(1.0, (secret, guesses, letters))]
        if (letters, secret) not in self._marks:
            self._marks[letters, secret] = tuple(self.vocabulary.encode(mark_guess(letters, secret)))
        marks = self._marks[letters, secret]
        if letters == secret:
            return [Transition(1.0, None, 0.0, marks)]
        following = None if guesses + 1 == self.num_guesses else (secret, guesses + 1, ())
        return [Transition(1.0, following, -1.0, marks)]

    def legal(self, state: Any) -> Iterable[int] | None:
        """Return the letters that continue some word, where the task is restricted to words.

        After letters that begin no word (said against the mask) every letter is legal.
        """
        return self._continuations.get(state[2]) if self.words_only else None

    def picture_of(self, state: Any, tokens: npt.NDArray[np.integer]) -> Picture | None:
        """Return Wordle's board."""
        return draw_guesses(self.vocabulary.names(tokens[1:].tolist()), self.word_length, self.num_guesses)
