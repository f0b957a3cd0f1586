"""Dyck: the Catalan numbers, the shaping trap, and how many words a player knows."""

import itertools

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.registration import make_task
from tokengym.envs.tasks.text.brackets import Dyck, catalan

EXACT = {"rel": 0, "abs": 1e-9}


def is_balanced(word) -> bool:
    """Decide by striking out neighbouring pairs."""
    text = "".join("()"[token] for token in word)
    while "()" in text:
        text = text.replace("()", "")
    return not text


def observations(task, words) -> np.ndarray:
    return np.array([[task.vocabulary.bos, *word] for word in words])


def test_catalan_numbers_count_the_balanced_words():
    assert [catalan(n) for n in range(9)] == [1, 1, 2, 5, 14, 42, 132, 429, 1430]


@pytest.mark.parametrize("num_pairs", [1, 2, 4, 8, 20])
@pytest.mark.parametrize("bonus", [0.0, 0.03, 0.5])
def test_scores_are_the_closed_forms(num_pairs, bonus):
    task = Dyck(num_pairs, bonus)
    solution = solve(task)
    assert solution.random_return == pytest.approx(catalan(num_pairs) / 4**num_pairs + bonus * num_pairs, **EXACT)
    assert solution.optimal_return == pytest.approx(max(1, bonus * num_pairs) + bonus * num_pairs, **EXACT)
    assert (task.random_return, task.optimal_return) == pytest.approx(
        (solution.random_return, solution.optimal_return), **EXACT
    )


def test_every_word_pays_what_the_rule_says():
    task = Dyck(num_pairs=3, bonus=0.2)
    words = list(itertools.product(range(2), repeat=6))
    engine = Engine(task, len(words))
    engine.reset(None, np.zeros(len(words), dtype=np.uint64))
    returns = np.zeros(len(words))
    for column in np.array(words).T:
        result = engine.step(None, column)
        returns += result.rewards
    assert result.terminated.all()
    assert returns == pytest.approx([is_balanced(word) + 0.2 * word.count(0) for word in words], **EXACT)
    assert (task.balanced(engine.tokens) == [is_balanced(word) for word in words]).all()
    assert task.diversity(engine.tokens) == task.num_words == 5


@pytest.mark.parametrize("num_pairs", [2, 4, 10])
def test_a_bonus_above_one_in_n_makes_the_optimum_unbalanced(num_pairs):
    for bonus, stays_balanced in ((0.99 / num_pairs, True), (1.01 / num_pairs, False)):
        task = Dyck(num_pairs, bonus)
        policy, said = solve(task).policy(), []
        for _ in range(2 * num_pairs):
            said.append(int(policy(np.array([[task.vocabulary.bos, *said]]), np.array([1 + len(said)]))[0].argmax()))
        assert is_balanced(said) is stays_balanced
        if not stays_balanced:
            assert said == [0] * (2 * num_pairs)


@pytest.mark.parametrize("arguments", [{}, {"bonus": 0.1}, {"bonus": 0.25}, {"bonus": 0.3}, {"bonus": 2.0}])
def test_the_expert_is_optimal_from_every_state(arguments):
    task = Dyck(**arguments)
    solution = solve(task)
    for said in range(8):
        words = np.array(list(itertools.product(range(2), repeat=said)), dtype=np.int64)
        engine = Engine(task, len(words))
        engine.reset(None, np.zeros(len(words), dtype=np.uint64))
        for column in words.T:
            engine.step(None, column)
        expert = engine.expert()
        assert expert is not None
        q = solution.q_values(engine.tokens, engine.lengths)
        assert q[np.arange(len(words)), expert] == pytest.approx(q.max(axis=1), **EXACT)


def test_diversity_counts_different_balanced_words_and_ignores_padding():
    task = Dyck(num_pairs=2)
    words = [(0, 1, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (1, 0, 1, 0), (0, 0, 0, 0)]
    tokens = observations(task, words)
    padded = np.pad(tokens, ((0, 0), (0, 3)), constant_values=task.vocabulary.pad)
    assert task.balanced(padded).tolist() == [True, True, True, False, False]
    assert task.diversity(tokens) == task.diversity(padded) == 2
    assert task.diversity(tokens[:0]) == 0


def test_diversity_refuses_episodes_that_are_not_finished():
    task = Dyck(num_pairs=2)
    with pytest.raises(TokenGymError, match=r"shape \(1, 3\).*at least 5"):
        task.diversity([[task.vocabulary.bos, 0, 1]])
    with pytest.raises(TokenGymError, match=r"tokens\[1\].*not a finished episode"):
        task.diversity([[task.vocabulary.bos, 0, 1, 0, 1], [task.vocabulary.bos, 0, 1, task.vocabulary.pad, 3]])


def test_words_are_read_without_spaces():
    task = Dyck(num_pairs=2)
    assert task.render_tokens(np.array([task.vocabulary.bos, 0, 0, 1, 1])) == "(())"


def test_the_trap_is_registered_with_a_bonus_that_misleads():
    task = make_task("Dyck-trap")
    assert isinstance(task, Dyck) and task.bonus > 1 / task.num_pairs
    assert task.optimal_return == 2 * task.bonus * task.num_pairs


@pytest.mark.parametrize("wrong", [{"num_pairs": 0}, {"num_pairs": 10**6}, {"bonus": -0.1}, {"bonus": float("inf")}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(TokenGymError, match=next(iter(wrong))):
        Dyck(**wrong)
