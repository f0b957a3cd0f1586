"""Texts that must contain certain words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from ..instance import instance_random

_MOST_STATES = 100_000
_WORDS = (
    "river stone cloud maple lantern harbor velvet copper meadow thunder pepper willow anchor marble canyon feather "
    "garden silver winter falcon ember coral saddle orchard"
).split()


class KeywordCover(FiniteTask):
    """Write a text of T words that uses all the required ones.

    ## Description
    Of V words k are required; which ones, the agent has to find out. The text pays the fraction of the required words
    that it uses, in any order and however often. It isolates a reward for a set: the worth of a word depends on what
    was already said, and the reward for a good word comes only at the end. Mirrors constrained generation
    (lexically constrained decoding, CommonGen).

    ## Action space
    `num_words` words.

    ## Observation space
    `[<bos>]`, then the text so far. The required words are not shown: they belong to the instance.

    ## Rewards
    With the last word: the fraction of the required words used. Random 1 − (1 − 1/V)^T, optimal 1.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after `length` words.

    ## Information
    No keys of its own.

    ## Arguments
    * `num_words=16`: words that can be said (V).
    * `length=8`: words in a text (T).
    * `num_keywords=3`: required words (k), at most V and at most T.
    * `instance_seed=0`: chooses the required words.

    ## References
    Lin et al., "CommonGen: A Constrained Text Generation Challenge", 2020.

    ## Version history
    * v0: first release.
    """

    name = "KeywordCover"
    family = "text"
    isolates = "a reward for a set of words"
    mirrors = "CommonGen"

    def __init__(self, num_words: int = 16, length: int = 8, num_keywords: int = 3, instance_seed: int = 0) -> None:
        self.num_words, self.length = positive_int("num_words", num_words), positive_int("length", length)
        self.num_keywords = positive_int("num_keywords", num_keywords)
        if num_keywords > min(num_words, length):
            raise TokenGymError(
                f"num_keywords={num_keywords}: expected at most num_words={num_words} and at most length={length}, "
                "so that a text can use them all."
            )
        if num_keywords > 16 or length * 2**num_keywords * num_words > 16 * _MOST_STATES:
            raise TokenGymError(
                f"num_words={num_words}, length={length}, num_keywords={num_keywords} are too many to compile: take "
                "fewer keywords or a shorter text."
            )
        self.turn_tokens = length
        names = [*_WORDS[:num_words], *(f"word{index}" for index in range(len(_WORDS), num_words))]
        self.vocabulary = Vocabulary.of(names)
        chosen = instance_random(instance_seed).choice(num_words, size=num_keywords, replace=False)
        self.keywords: tuple[int, ...] = tuple(sorted(chosen.tolist()))

    def initial(self) -> Iterable[Initial]:
        """Return the empty text; a state is (words said, the set of required words used as a bit mask)."""
        return [Initial(1.0, (0, 0))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Mark a required word as used; pay the fraction with the last word."""
        said, used = state
        if action in self.keywords:
            used |= 1 << self.keywords.index(action)
        if said + 1 == self.length:
            return [Transition(1.0, None, used.bit_count() / self.num_keywords)]
        return [Transition(1.0, (said + 1, used))]

    def expert_action(self, state: Any) -> int | None:
        """Return the first required word that was not used yet, or any word when all were."""
        unused = (word for index, word in enumerate(self.keywords) if not state[1] >> index & 1)
        return next(unused, 0)
