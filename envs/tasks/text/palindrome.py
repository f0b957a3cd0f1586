"""Texts that read the same backwards."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary

_MOST_HALVES = 100_000


class Palindrome(FiniteTask):
    """Write a text that reads the same backwards.

    ## Description
    L letters; an exact palindrome pays 1, everything else nothing. The first half is free and the second must repeat it
    in reverse, so the right letter lies at another distance in every place: the task isolates attention to what the
    agent itself wrote, learned from a reward at the end only. There are V^⌈L/2⌉ palindromes, and a learner that finds
    one of them may never look for another. Mirrors rhyme, closing tags and other forms that refer back.

    ## Action space
    `num_tokens` letters.

    ## Observation space
    `[<bos>]`, then the text so far.

    ## Rewards
    With the last letter: 1 for a palindrome, else 0. Random V^−⌊L/2⌋, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after L letters, also where the text can no longer be a palindrome.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_tokens=4`: letters (V), 2 … 26.
    * `length=6`: letters in a text (L), at least 2. V^⌊L/2⌋ may be at most 100,000.

    ## References
    Delétang et al., "Neural Networks and the Chomsky Hierarchy", ICLR 2023 (reversing a string).

    ## Version history
    * v0: first release.
    """

    name = "Palindrome"
    family = "text"
    isolates = "attention to one's own words"
    mirrors = "rhyme and closing tags"
    optimal_return = 1.0

    def __init__(self, num_tokens: int = 4, length: int = 6) -> None:
        self.num_tokens, self.length = positive_int("num_tokens", num_tokens), positive_int("length", length)
        if not 2 <= num_tokens <= 26:
            raise TokenGymError(f"num_tokens={num_tokens}: expected 2 to 26 letters.")
        if length < 2:
            raise TokenGymError(f"length={length}: a single letter is always a palindrome; give at least 2.")
        # By logarithm: the power itself may be astronomically large.
        if (length // 2) * np.log(num_tokens) > np.log(_MOST_HALVES):
            raise TokenGymError(
                f"num_tokens={num_tokens}, length={length} make more than {_MOST_HALVES} halves: take a shorter text "
                "or fewer letters."
            )
        self.turn_tokens = length
        self.vocabulary = dataclasses.replace(Vocabulary.of(list(string.ascii_lowercase[:num_tokens])), separator="")
        self.random_return = float(num_tokens) ** -(length // 2)

    def initial(self) -> Iterable[Initial]:
        """Return the empty text; a state is (letters said, the letters to be matched, the next one last).

        Once a letter was not matched, the second entry is None.
        """
        return [Initial(1.0, (0, ()))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Remember a letter of the first half, or match one; pay for a palindrome with the last."""
        said, waiting = state
        if said < self.length // 2:
            waiting = (*waiting, action)
        elif said >= (self.length + 1) // 2 and waiting is not None:
            waiting = waiting[:-1] if waiting[-1] == action else None
        if said + 1 == self.length:
            return [Transition(1.0, None, float(waiting is not None))]
        return [Transition(1.0, (said + 1, waiting))]

    def expert_action(self, state: Any) -> int | None:
        """Return the letter to be matched; in the first half and in the middle, the letters in turn."""
        said, waiting = state
        if said >= (self.length + 1) // 2 and waiting:
            return waiting[-1]
        return said % self.num_tokens
