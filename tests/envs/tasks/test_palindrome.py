"""Palindrome: the closed form, all short texts, and the refused sizes."""

import itertools

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.text.palindrome import Palindrome

EXACT = {"rel": 0, "abs": 1e-9}


@pytest.mark.parametrize(("num_tokens", "length"), [(4, 6), (4, 8), (2, 2), (3, 7), (26, 3), (5, 5)])
def test_scores_are_the_closed_forms(num_tokens, length):
    task = Palindrome(num_tokens, length)
    solution = solve(task)
    assert solution.random_return == pytest.approx(num_tokens ** -(length // 2), **EXACT)
    assert solution.optimal_return == pytest.approx(1.0, **EXACT)
    assert task.random_return == pytest.approx(solution.random_return, **EXACT)


@pytest.mark.parametrize(("num_tokens", "length"), [(2, 6), (3, 5), (3, 2)])
def test_exactly_the_texts_that_read_the_same_backwards_pay(num_tokens, length):
    texts = np.array(list(itertools.product(range(num_tokens), repeat=length)))
    engine = Engine(Palindrome(num_tokens, length), len(texts))
    engine.reset(None, np.zeros(len(texts), dtype=np.uint64))
    rewards = np.array([engine.step(None, column).rewards for column in texts.T])
    assert not rewards[:-1].any() and engine.over.all()
    assert (rewards[-1] == (texts == texts[:, ::-1]).all(axis=1)).all()


@pytest.mark.parametrize("length", [2, 3, 6, 9])
def test_the_expert_writes_a_palindrome_of_more_than_one_letter(length):
    task = Palindrome(length=length)
    engine = Engine(task, 1)
    engine.reset(None, np.zeros(1, dtype=np.uint64))
    while not engine.over.all():
        result = engine.step(None, engine.expert())
    assert result.rewards[0] == 1.0
    text = task.render_tokens(engine.tokens[0, : engine.lengths[0]])
    assert text == text[::-1] and len(text) == length
    assert len(set(text)) == min(4, (length + 1) // 2)


def test_a_letter_that_can_no_longer_help_is_worth_nothing():
    task = Palindrome(2, 4)
    q = solve(task).q_values(np.array([[task.vocabulary.bos, 0, 1, 0]]), np.array([4]))[0]
    assert q.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "wrong", [{"num_tokens": 1}, {"num_tokens": 27}, {"length": 1}, {"length": 60}, {"length": 10**9}]
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(TokenGymError, match=next(iter(wrong))):
        Palindrome(**wrong)
