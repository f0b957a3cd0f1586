"""NumberHunt: a small environment of strings, as somebody else might have written it."""

from __future__ import annotations

import random


class NumberHunt:
    """Find a hidden number between 1 and `highest` with few guesses; every answer repeats all that was said.

    It tells its legal texts in the info, as many environments of strings do.

    Args:
        highest: The highest number, at most 9.
        guesses: Guesses before it is over.
    """

    def __init__(self, highest: int = 7, guesses: int = 3) -> None:
        self.highest, self.guesses = highest, guesses

    def reset(self, seed: int | None = None) -> tuple[str, dict[str, list[str]]]:
        """Hides a number."""
        self.hidden = random.Random(seed).randint(1, self.highest)
        self.left = self.guesses
        self.said = f"1-{self.highest}?\n"
        return self.said, self._info()

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, list[str]]]:
        """Compares a guess with the number."""
        self.left -= 1
        guess = int(text) if text.isdecimal() else 0
        found = guess == self.hidden
        self.said += text + ("\nyes\n" if found else "\nhigher\n" if guess < self.hidden else "\nlower\n")
        return self.said, float(found), found or not self.left, False, self._info()

    def _info(self) -> dict[str, list[str]]:
        return {"legal_texts": [str(number) for number in range(1, self.highest + 1)]}
