"""All texts of up to T words over V of them, numbered, and how likely random play is to write each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Texts:
    """The texts over V words, numbered by length first and then as numbers in base V, the first word the leading digit.

    Attributes:
        num_words: How many words there are (V).
        length: The most words of a text (T).
        can_stop: Whether a text may end early, by a token of its own that comes after the words; else all texts have
            T words.
    """

    num_words: int
    length: int
    can_stop: bool

    @property
    def num_actions(self) -> int:
        """Tokens that can be said: the words, and where a text may end early its end."""
        return self.num_words + self.can_stop

    @property
    def shortest(self) -> int:
        """The fewest words of a text."""
        return 0 if self.can_stop else self.length

    def first(self, length: int) -> int:
        """Returns the number of the first text of this length."""
        return sum(self.num_words**shorter for shorter in range(self.shortest, length))

    @property
    def count(self) -> int:
        """The number of texts (N)."""
        return self.first(self.length + 1)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int32]:
        """How many words each text has, int32 (N,)."""
        sizes = np.arange(self.shortest, self.length + 1)
        return np.repeat(sizes, self.num_words**sizes).astype(np.int32)

    @cached_property
    def tokens(self) -> npt.NDArray[np.int32]:
        """The words of each text, int32 (N, T), 0 past its length."""
        tokens = np.zeros((self.count, self.length), np.int32)
        for length in range(self.shortest, self.length + 1):
            rows = slice(self.first(length), self.first(length + 1))
            numbers = np.arange(self.num_words**length)
            for place in range(length):
                tokens[rows, place] = numbers // self.num_words ** (length - 1 - place) % self.num_words
        return tokens

    @cached_property
    def log_random(self) -> Array:
        """Log-probability of each text where every token is as likely as any other, float64 (N,)."""
        said = self.lengths + (self.lengths < self.length)  # the end is a token, too
        return -said * np.log(self.num_actions)

    def draw(self, count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Returns the numbers of texts drawn with every token as likely as any other, int64 (count,)."""
        said = random.integers(self.num_actions, size=(count, self.length))
        ended = said == self.num_words
        lengths = np.where(ended.any(axis=1), ended.argmax(axis=1), self.length)
        numbers = np.zeros(count, np.int64)
        for place in range(self.length):
            going_on = place < lengths
            numbers[going_on] = numbers[going_on] * self.num_words + said[going_on, place]
        starts = np.array([self.first(length) for length in range(self.shortest, self.length + 1)])
        return starts[lengths - self.shortest] + numbers

    def pairs(self, count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Returns the numbers of two texts each, drawn as by `draw`, which differ: int64 (2, count)."""
        kept = np.empty((2, 0), np.int64)
        while kept.shape[1] < count:
            drawn = self.draw(2 * count, random).reshape(2, count)
            kept = np.concatenate([kept, drawn[:, drawn[0] != drawn[1]]], axis=1)
        return kept[:, :count]
