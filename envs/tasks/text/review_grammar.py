"""A small probabilistic grammar of reviews: a corpus of any size, and the exact probability of every text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...checking import TokenGymError, positive_int

WORDS: dict[str, tuple[str, ...]] = {
    "determiner": ("the", "our", "this", "their"),
    "noun": tuple("food service room staff view price location breakfast bed shower bar garden music coffee".split()),
    "copula": ("was", "seemed", "felt", "looked"),
    "intensifier": ("very", "really", "quite", "so", "rather", "truly"),
    "good": tuple("great lovely excellent charming clean superb wonderful perfect pleasant splendid".split()),
    "bad": tuple("awful dirty terrible poor noisy dreadful horrible shabby unpleasant dismal".split()),
    "person": ("we", "everyone", "i"),
    "praises": ("loved", "enjoyed", "praised"),
    "blames": ("hated", "regretted", "disliked"),
    "it": ("it",),
    "and": ("and",),
    "but": ("but", "while"),
    ".": (".",),
}
"""The words by class. A class of the lexicon is `good`, `praises` (positive) or `bad`, `blames` (negative)."""

VOCABULARY: tuple[str, ...] = tuple(word for words in WORDS.values() for word in words)
POSITIVE: frozenset[str] = frozenset(WORDS["good"] + WORDS["praises"])
NEGATIVE: frozenset[str] = frozenset(WORDS["bad"] + WORDS["blames"])

_OPINIONS = {"adjective": ("good", "bad"), "opinion": ("praises", "blames")}
# From a place in the grammar, by a class of words, with a probability, to the next place. A review is a sequence of
# clauses; it can end only after a full stop. No two rules of a place share a word, so a text has one derivation.
_RULES: dict[str, tuple[tuple[str, float, str], ...]] = {
    "review": (("determiner", 0.75, "subject"), ("person", 0.25, "verb")),
    "subject": (("noun", 1.0, "copula"),),
    "copula": (("copula", 1.0, "judgement"),),
    "judgement": (("intensifier", 0.4, "adjective"), ("adjective", 0.6, "judged")),
    "adjective": (("adjective", 1.0, "judged"),),
    "judged": (("and", 0.15, "judgement"), ("but", 0.15, "review"), (".", 0.7, "end")),
    "verb": (("opinion", 1.0, "object"),),
    "object": (("it", 0.4, "said"), ("determiner", 0.6, "thing")),
    "thing": (("noun", 1.0, "said"),),
    "said": (("but", 0.2, "review"), (".", 0.8, "end")),
}
_RULES["end"] = _RULES["review"]
_PLACES = tuple(_RULES)
_AGREEMENT = 0.8
_NEGATIVE_MOOD, _POSITIVE_MOOD = 0, 1


@dataclass(frozen=True)
class Reviews:
    """A corpus of reviews.

    Attributes:
        tokens: Word ids, int32 of shape (m, T), without a begin token.
        labels: The writer's mood, bool of shape (m,): True for a positive review. Its words agree with it mostly, not
            always, so labels are what a reward model would be given, and the lexicon is the gold standard.
        scores: The share of the opinion words that are positive, float64 of shape (m,): the environment's reward.
    """

    tokens: npt.NDArray[np.int32]
    labels: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]


class ReviewGrammar:
    """The distribution of reviews of exactly `length` words.

    A review has a mood, positive or negative with equal chances; every adjective and every opinion verb agrees with it
    with probability .8. Texts of other lengths are conditioned away exactly, by the probability of ending in time.

    Args:
        length: words in a review (T), full stops included; at least 4, the shortest review there is.

    Raises:
        TokenGymError: no review has this length.
    """

    def __init__(self, length: int) -> None:
        """See the class."""
        self.length = positive_int("length", length)
        if length < 4:
            raise TokenGymError(f"length={length}: the shortest review has 4 words; give at least 4.")
        places, ids = {place: row for row, place in enumerate(_PLACES)}, {w: i for i, w in enumerate(VOCABULARY)}
        shape = (len(_PLACES), len(VOCABULARY))
        self._next = np.full(shape, -1)  # the place that a word leads to, −1 where the grammar does not allow it
        emission = np.zeros((2, *shape))
        for place, rules in _RULES.items():
            for word_class, chance, following in rules:
                good, bad = _OPINIONS.get(word_class, (word_class, None))
                for mood in (_NEGATIVE_MOOD, _POSITIVE_MOOD):
                    share = 1.0 if bad is None else _AGREEMENT if mood == _POSITIVE_MOOD else 1 - _AGREEMENT
                    for words, part in ((WORDS[good], share), (WORDS[bad] if bad else (), 1 - share)):
                        columns = [ids[word] for word in words]
                        self._next[places[place], columns] = places[following]
                        emission[mood, places[place], columns] += chance * part / max(1, len(words))
        self._start = places["review"]
        # ending[k, place]: probability that the review ends exactly k words on. The mood does not matter to it.
        ending = np.zeros((length + 1, len(_PLACES)))
        ending[0, places["end"]] = 1.0
        for left in range(1, length + 1):
            ending[left] = (emission[0] * np.where(self._next >= 0, ending[left - 1][self._next], 0.0)).sum(axis=1)
        # chances[t, mood, place, word]: probability of the word after t words, given that the review ends in time.
        self._chances = np.zeros((length, *emission.shape))
        for said in range(length):
            now, after = ending[length - said], np.where(self._next >= 0, ending[length - said - 1][self._next], 0.0)
            ratio = np.divide(after, now[:, None], out=np.zeros(shape), where=now[:, None] > 0)
            self._chances[said] = emission * ratio
        self._positive = np.array([word in POSITIVE for word in VOCABULARY])
        self._negative = np.array([word in NEGATIVE for word in VOCABULARY])

    def sample(self, count: int, seed: int) -> Reviews:
        """Draw `count` reviews; the same seed gives the same ones."""
        positive_int("count", count)
        rng = np.random.default_rng(seed)
        labels = rng.random(count) < 0.5
        tokens = np.empty((count, self.length), np.int32)
        place = np.full(count, self._start)
        for said in range(self.length):
            cumulative = self._chances[said, labels.astype(int), place].cumsum(axis=1)
            drawn = rng.random((count, 1)) * cumulative[:, -1:]
            # The first word whose cumulative chance is above the draw: words without a chance are never that.
            tokens[:, said] = (cumulative > drawn).argmax(axis=1)
            place = self._next[place, tokens[:, said]]
        return Reviews(tokens, labels, self.scores(tokens))

    def scores(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the share of the opinion words that are positive in texts (m, T), .5 where there are none: (m,)."""
        positive, negative = self._positive[tokens].sum(axis=1), self._negative[tokens].sum(axis=1)
        return np.where(positive + negative > 0, positive / np.maximum(1, positive + negative), 0.5)

    def log_probability(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the log-probability of whole reviews, tokens (m, T) without a begin token: (m,), −inf off grammar."""
        by_mood, _ = self._read(np.asarray(tokens), np.full(len(tokens), self.length))
        with np.errstate(divide="ignore"):
            return np.log(by_mood.mean(axis=1))

    def next_word(self, tokens: npt.NDArray[np.integer], counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the probabilities of the next word after beginnings of reviews.

        Args:
            tokens: Word ids of shape (m, at least the largest count), without a begin token.
            counts: How many words each beginning has, shape (m,), less than T.

        Returns:
            float64 of shape (m, V). Uniform after what no review begins with.
        """
        counts = np.asarray(counts).reshape(-1)
        by_mood, place = self._read(np.asarray(tokens), counts)
        total = by_mood.sum(axis=1, keepdims=True)
        known = total[:, 0] > 0
        mood = by_mood / np.where(total > 0, total, 1.0)
        words = np.einsum("mc,mcv->mv", mood, self._chances[counts[:, None], np.arange(2), place[:, None]])
        return np.where(known[:, None], words, 1 / len(VOCABULARY))

    def _read(self, tokens: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of beginnings under each mood (m, 2), and the place in the grammar after them (m,)."""
        by_mood, place = np.ones((len(tokens), 2)), np.full(len(tokens), self._start)
        for said in range(int(counts.max(initial=0))):
            reading = np.flatnonzero((said < counts) & (by_mood[:, 0] > 0))
            word = tokens[reading, said]
            by_mood[reading] *= self._chances[said, :, place[reading], word]
            place[reading] = self._next[place[reading], word]
        return by_mood, place
