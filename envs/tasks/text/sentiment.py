"""Reviews, to be made positive: the smallest task for supervised tuning, a reward model and reinforcement learning."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int
from ...finite import FiniteTask, Initial, Transition
from ...vocabulary import Vocabulary
from .review_grammar import NEGATIVE, POSITIVE, VOCABULARY, ReviewGrammar, Reviews

_LONGEST = 32


class Sentiment(FiniteTask):
    """Write a review whose opinions are positive.

    ## Description
    A text of T words is scored by a gold lexicon: the share of its opinion words that are positive. The score does not
    ask for grammar; that is what a reference model is for, tuned on reviews from a small probabilistic grammar, so the
    task isolates the trade between reward and staying close to a language. `corpus(count, seed)` draws such reviews,
    with the writer's mood as a label: train a language model on the texts, a reward model on the labels, and then a
    player with both. Mirrors sentiment-controlled generation on film reviews, the first task of learning from human
    feedback.

    ## Action space
    62 words: 13 positive ones, 13 negative ones, and what reviews are made of (`.` is a word).

    ## Observation space
    `[<bos>]`, then the text so far.

    ## Rewards
    With the last word: positive words / (positive + negative words), and .5 where there are neither. Random .5, optimal
    1; reviews of the grammar have .5 on average, those of a positive mood .8.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after T words.

    ## Information
    No keys of its own.

    ## Arguments
    * `length=16`: words in a review (T), 4 … 32.

    `grammar_policy(tokens, lengths)` is the grammar's own next-word distribution at observations, the best that
    supervised tuning can reach, and `grammar.log_probability` tells how likely a review is.

    ## References
    Ziegler et al., "Fine-Tuning Language Models from Human Preferences", 2019; Maas et al., "Learning Word Vectors for
    Sentiment Analysis", ACL 2011.

    ## Version history
    * v0: first release.
    """

    name = "Sentiment"
    family = "text"
    isolates = "reward against a language"
    mirrors = "positive film reviews in RLHF"
    random_return = 0.5
    optimal_return = 1.0

    def __init__(self, length: int = 16) -> None:
        self.length = positive_int("length", length)
        if not 4 <= length <= _LONGEST:
            raise TokenGymError(f"length={length}: expected 4 to {_LONGEST} words, as a review of the grammar has.")
        self.turn_tokens = length
        self.vocabulary = Vocabulary.of(VOCABULARY)
        # What a word adds to (positive words, negative words).
        self._adds = [(int(word in POSITIVE), int(word in NEGATIVE)) for word in VOCABULARY]

    def initial(self) -> Iterable[Initial]:
        """Return the empty text; a state is (words said, positive ones, negative ones)."""
        return [Initial(1.0, (0, 0, 0))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Count an opinion; pay the positive share with the last word."""
        said, positive, negative = state
        good, bad = self._adds[action]
        said, positive, negative = said + 1, positive + good, negative + bad
        if said < self.length:
            return [Transition(1.0, (said, positive, negative))]
        opinions = positive + negative
        return [Transition(1.0, None, positive / opinions if opinions else 0.5)]

    def expert_action(self, state: Any) -> int | None:
        """Return a positive word."""
        return self._adds.index((1, 0))

    @cached_property
    def grammar(self) -> ReviewGrammar:
        """The distribution of reviews of this length."""
        return ReviewGrammar(self.length)

    def corpus(self, count: int, seed: int) -> Reviews:
        """Draw labelled reviews from the grammar.

        Args:
            count: How many (m).
            seed: The same seed gives the same reviews; use different ones for training and held-out texts.

        Returns:
            Word ids (m, T), the writers' moods (m,) and the gold scores (m,).
        """
        return self.grammar.sample(count, seed)

    def grammar_policy(
        self, tokens: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float64]:
        """Return the grammar's next-word probabilities, float64 (m, A), at observations: tokens (m, L), lengths (m,).

        After a beginning that the grammar does not know, every word is equally likely.
        """
        return self.grammar.next_word(np.asarray(tokens)[:, 1:], np.asarray(lengths).reshape(-1) - 1)
