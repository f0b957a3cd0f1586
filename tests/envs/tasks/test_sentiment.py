"""Sentiment: the scores of the gold lexicon, and a grammar whose probabilities are exact."""

import itertools

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.text.review_grammar import NEGATIVE, POSITIVE, VOCABULARY, ReviewGrammar
from tokengym.envs.tasks.text.sentiment import Sentiment

EXACT = {"rel": 0, "abs": 1e-9}


def ids(text: str) -> list[int]:
    return [VOCABULARY.index(word) for word in text.split()]


def every_review(grammar: ReviewGrammar) -> np.ndarray:
    """All reviews of a short grammar, by following every word that has a chance."""
    texts = np.empty((1, 0), dtype=np.int64)
    for said in range(grammar.length):
        text, word = np.nonzero(grammar.next_word(texts, np.full(len(texts), said)) > 0)
        texts = np.column_stack([texts[text], word])
    return texts


def test_there_are_about_sixty_words_with_as_many_good_as_bad_ones():
    assert len(VOCABULARY) == len(set(VOCABULARY)) == 62
    assert len(POSITIVE) == len(NEGATIVE) == 13 and not POSITIVE & NEGATIVE


@pytest.mark.parametrize("length", [4, 8, 16])
def test_scores_are_a_half_at_random_and_one_at_best(length):
    solution = solve(Sentiment(length))
    assert solution.random_return == pytest.approx(0.5, **EXACT)
    assert solution.optimal_return == pytest.approx(1.0, **EXACT)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("the food was great but everyone hated the bed .", 1 / 2),
        ("great great great dirty i i i i i i", 3 / 4),
        ("the the the the the the the the the the", 1 / 2),
        ("we disliked it . this room was awful . .", 0.0),
        ("very . superb and and and and and and and", 1.0),
    ],
)
def test_a_text_pays_its_share_of_positive_opinions_with_the_last_word(text, score):
    task = Sentiment(length=10)
    engine = Engine(task, 1)
    engine.reset(None, np.zeros(1, dtype=np.uint64))
    rewards = [engine.step(None, np.array([word])).rewards[0] for word in ids(text)]
    assert rewards[:-1] == [0.0] * 9 and engine.over.all()
    assert rewards[-1] == pytest.approx(score, **EXACT)
    assert task.grammar.scores(np.array([ids(text)]))[0] == pytest.approx(score, **EXACT)
    assert task.render_tokens(engine.tokens[0]) == text


def test_the_expert_is_optimal():
    engine = Engine(Sentiment(), 1)
    engine.reset(None, np.zeros(1, dtype=np.uint64))
    while not engine.over.all():
        result = engine.step(None, engine.expert())
    assert result.rewards[0] == 1.0


def test_reviews_have_the_probabilities_of_their_rules():
    four, five = ReviewGrammar(4), ReviewGrammar(5)
    assert np.exp(four.log_probability(np.array([ids("we loved it .")])))[0] == pytest.approx(1 / 18, **EXACT)
    # Five words: a judgement (.75 · .6 · .7) or an opinion on a thing (.25 · .6 · .8), nothing else.
    judgement, opinion = 0.315 / 0.435, 0.12 / 0.435
    texts = np.array([ids("the food was great ."), ids("we hated the food ."), ids("the food was great great")])
    expected = [judgement / (4 * 14 * 4 * 20), opinion / (3 * 6 * 4 * 14), 0.0]
    assert np.exp(five.log_probability(texts)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("length", [4, 5, 6])
def test_the_probabilities_of_all_reviews_sum_to_one(length):
    grammar = ReviewGrammar(length)
    texts = every_review(grammar)
    assert len(np.unique(texts, axis=0)) == len(texts)
    assert {row[-1] for row in texts} == {VOCABULARY.index(".")}
    assert np.exp(grammar.log_probability(texts)).sum() == pytest.approx(1.0, **EXACT)


def test_next_words_multiply_to_the_probability_of_the_review():
    grammar = ReviewGrammar(16)
    reviews = grammar.sample(50, seed=3)
    total = np.zeros(50)
    for said in range(16):
        words = grammar.next_word(reviews.tokens, np.full(50, said))
        assert words.sum(axis=1) == pytest.approx(np.ones(50), **EXACT)
        total += np.log(words[np.arange(50), reviews.tokens[:, said]])
    assert total == pytest.approx(grammar.log_probability(reviews.tokens), rel=1e-12)


def test_a_corpus_is_drawn_with_the_grammar_s_probabilities():
    grammar = ReviewGrammar(4)
    texts = every_review(grammar)
    assert len(texts) == 18
    reviews = grammar.sample(20_000, seed=0)
    share = np.array([(reviews.tokens == text).all(axis=1).mean() for text in texts])
    assert share.sum() == pytest.approx(1.0, **EXACT)
    assert np.abs(share - 1 / 18).max() < 4 * (1 / 18 * 17 / 18 / 20_000) ** 0.5
    agrees = (reviews.scores == reviews.labels).mean()
    assert abs(agrees - 0.8) < 4 * (0.16 / 20_000) ** 0.5


def test_the_mood_shows_in_four_of_five_opinions():
    reviews = Sentiment().corpus(5_000, seed=1)
    for mood, mean in ((True, 0.8), (False, 0.2)):
        scores = reviews.scores[reviews.labels == mood]
        assert abs(scores.mean() - mean) < 4 * scores.std() / len(scores) ** 0.5
    assert abs(reviews.labels.mean() - 0.5) < 4 * 0.5 / 5_000**0.5


def test_a_corpus_is_that_of_its_seed():
    first, again, other = (Sentiment().corpus(20, seed=seed) for seed in (5, 5, 6))
    assert (first.tokens == again.tokens).all() and (first.labels == again.labels).all()
    assert (first.tokens != other.tokens).any()
    assert first.tokens.dtype == np.int32 and first.labels.dtype == bool


def test_a_shorter_corpus_of_a_seed_reads_as_reviews_do():
    task = Sentiment()
    for row in task.corpus(100, seed=2).tokens:
        clauses = task.vocabulary.render(row.tolist()).replace(" but ", " . ").replace(" while ", " . ").split(" . ")
        for clause in clauses:
            words = clause.removesuffix(" .").split()
            assert words[0] in ("the", "our", "this", "their", "we", "everyone", "i") and len(words) >= 3
    assert (np.isfinite(task.grammar.log_probability(task.corpus(100, seed=2).tokens))).all()


@pytest.mark.parametrize("length", [4, 5])
def test_who_writes_like_the_grammar_earns_a_half(length):
    task = Sentiment(length)
    assert evaluate_policy(task, task.grammar_policy).expected_return == pytest.approx(0.5, **EXACT)


def test_the_grammar_without_its_bad_words_costs_one_bit():
    """In four words there is one opinion, good or bad with equal chances: to say only good ones is log 2 away."""
    task = Sentiment(4)
    good = np.array([word not in NEGATIVE for word in VOCABULARY])

    def praise(tokens, lengths):
        words = task.grammar_policy(tokens, lengths) * good
        return words / words.sum(axis=1, keepdims=True)

    praising = evaluate_policy(task, praise, reference=task.grammar_policy)
    assert praising.expected_return == pytest.approx(1.0, **EXACT)
    assert praising.kl_regularised(0.2) == pytest.approx(1 - 0.2 * np.log(2), **EXACT)


def test_after_what_no_review_begins_with_every_word_is_equally_likely():
    task = Sentiment()
    tokens = np.array([[task.vocabulary.bos, *ids("great great")], [task.vocabulary.bos, *ids("the food")]])
    words = task.grammar_policy(tokens, np.array([3, 3]))
    assert (words[0] == 1 / 62).all()
    assert sorted(np.flatnonzero(words[1])) == sorted(ids("was seemed felt looked"))


def test_lengths_without_a_review_and_other_slips_are_refused():
    for length, wrong in itertools.product((0, 3, 33, 2.5), (Sentiment,)):
        with pytest.raises(TokenGymError, match=f"length={length}"):
            wrong(length)
    with pytest.raises(TokenGymError, match="length=3"):
        ReviewGrammar(3)
    with pytest.raises(TokenGymError, match="count=0"):
        Sentiment().corpus(0, seed=0)
