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
from ..instance import instance_random
from ..proxies import fitted, labelled
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

    With `num_labels` that score is the gold reward, which a labeller knows and the agent is not paid: pairs of reviews
    of the grammar are compared, a reward model that is linear in how often each word occurs is fitted to the labels,
    and with each word is paid what it adds to the model's score of the text. The sum has mean 0 and variance 1 over
    reviews of the grammar.

    ## Starting state
    Always the same.

    ## Episode end
    Terminated after T words.

    ## Information
    No keys of its own; with `num_labels` the columns `proxy`, what is paid for a word before any transform, and, with
    the last word, `gold`.

    ## Arguments
    * `length=16`: words in a review (T), 4 … 32.
    * `num_labels=None`: comparisons that a reward model is fitted to; None where the gold reward itself is paid.
    * `flips=0.0`: probability that a label is turned over, 0 … .5.
    * `temperature=0.1`: of the labeller: the first of two reviews is preferred with probability
      σ((gold₁ − gold₂)/temperature); 0 for labels without noise.
    * `instance_seed=0`: draws the reviews that are compared and the labels.

    With `num_labels` the array `word_rewards` holds what each word is paid. `grammar_policy(tokens, lengths)` is the
    grammar's own next-word distribution at observations, the best that supervised tuning can reach, and
    `grammar.log_probability` tells how likely a review is.

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

    def __init__(
        self,
        length: int = 16,
        num_labels: int | None = None,
        flips: float = 0.0,
        temperature: float = 0.1,
        instance_seed: int = 0,
    ) -> None:
        self.length = positive_int("length", length)
        if not 4 <= length <= _LONGEST:
            raise TokenGymError(f"length={length}: expected 4 to {_LONGEST} words, as a review of the grammar has.")
        self.turn_tokens = length
        self.vocabulary = Vocabulary.of(VOCABULARY)
        # What a word adds to (positive words, negative words).
        self._adds = [(int(word in POSITIVE), int(word in NEGATIVE)) for word in VOCABULARY]
        self.word_rewards: npt.NDArray[np.float64] | None = None
        if num_labels is not None:
            positive_int("num_labels", num_labels)
            self.word_rewards = self._learned(num_labels, flips, temperature, instance_seed)
            self.columns = {"gold": "sum", "proxy": "sum"}
            self.random_return = float(length * self.word_rewards.mean())
            self.optimal_return = float(length * self.word_rewards.max())
        elif (flips, temperature, instance_seed) != (0.0, 0.1, 0):
            raise TokenGymError(
                f"flips={flips}, temperature={temperature} and instance_seed={instance_seed} do nothing without "
                "labels: give num_labels=1000, say, for a learned reward."
            )

    def _learned(
        self, num_labels: int, flips: float, temperature: float, instance_seed: int
    ) -> npt.NDArray[np.float64]:
        """Return what a reward model fitted to comparisons of reviews pays for each word, (V,)."""
        random = instance_random(instance_seed)
        review_seed, label_seed, model_seed = random.integers(2**31, size=3).tolist()
        reviews = self.corpus(2 * num_labels, review_seed)
        first, second = np.arange(2 * num_labels).reshape(2, num_labels)
        labeller = {"flips": flips, "temperature": temperature}
        lengths = np.full(2 * num_labels + len(VOCABULARY), self.length)
        better, worse = labelled(first, second, reviews.scores, lengths, labeller, label_seed)
        # The model is linear, so its score of a text of one word alone, T times, is T times what the word adds.
        alone = np.repeat(np.arange(len(VOCABULARY)), self.length).reshape(-1, self.length)
        texts = np.concatenate([reviews.tokens, alone])
        settings = {"num_tokens": len(VOCABULARY), "features": "counts", "hidden": 0, "seed": model_seed}
        (scores,) = fitted(texts, lengths, better, worse, settings)
        known = scores[: 2 * num_labels]
        deviation = known.std() or 1.0
        return (scores[2 * num_labels :] - known.mean()) / (deviation * self.length)

    def initial(self) -> Iterable[Initial]:
        """Return the empty text; a state is (words said, positive ones, negative ones)."""
        return [Initial(1.0, (0, 0, 0))]

    def transitions(self, state: Any, action: int) -> Iterable[Transition]:
        """Count an opinion; pay the positive share with the last word, or what a reward model makes of each."""
        said, positive, negative = state
        good, bad = self._adds[action]
        said, positive, negative = said + 1, positive + good, negative + bad
        over, opinions = said == self.length, positive + negative
        following = None if over else (said, positive, negative)
        gold = positive / opinions if opinions else 0.5
        if self.word_rewards is None:
            return [Transition(1.0, following, gold if over else 0.0)]
        proxy = float(self.word_rewards[action])
        return [Transition(1.0, following, proxy, columns={"proxy": proxy} | ({"gold": gold} if over else {}))]

    def expert_action(self, state: Any) -> int | None:
        """Return a positive word, or the word that is paid most."""
        return self._adds.index((1, 0)) if self.word_rewards is None else int(self.word_rewards.argmax())

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
