"""KeywordCover: closed-form scores, and a reward for a set."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.text.keywords import KeywordCover


@pytest.mark.parametrize(("num_words", "length", "num_keywords"), [(16, 8, 3), (4, 4, 4), (30, 5, 1), (64, 16, 6)])
def test_each_keyword_is_found_at_random_as_often_as_the_closed_form_says(num_words, length, num_keywords):
    solution = solve(KeywordCover(num_words, length, num_keywords))
    assert solution.random_return == pytest.approx(1 - (1 - 1 / num_words) ** length, abs=1e-9)
    assert solution.optimal_return == pytest.approx(1, abs=1e-9)


def returns(task: KeywordCover, texts) -> list[float]:
    engine = Engine(task, len(texts))
    engine.reset(None, np.zeros(len(texts), dtype=np.uint64))
    result = engine.append(None, np.array(texts), np.full(len(texts), task.length))
    assert result.terminated.all() and (result.per_token[:, :-1] == 0).all()
    return result.rewards.tolist()


def test_order_and_repetition_do_not_matter():
    task = KeywordCover(length=4, num_keywords=3)
    one, two, three = task.keywords
    other = next(word for word in range(16) if word not in task.keywords)
    texts = [[one, two, three, other], [three, one, other, two], [one, one, one, one], [other, two, other, two]]
    assert returns(task, texts) == pytest.approx([1, 1, 1 / 3, 1 / 3])


def test_a_greedy_player_is_evaluated_exactly_where_the_tree_is_too_large():
    task = KeywordCover()
    policy = solve(task).policy()
    evaluation = evaluate_policy(task, policy)
    assert evaluation.expected_return == pytest.approx(1, abs=1e-12)
    assert len(evaluation.values) == task.length


def test_the_expert_uses_all_keywords():
    task = KeywordCover(instance_seed=4)
    engine = Engine(task, 2)
    engine.reset(None, np.zeros(2, dtype=np.uint64))
    total = sum(engine.step(None, engine.expert()).rewards for _ in range(task.length))
    assert total == pytest.approx([1, 1])


def test_keywords_hang_on_the_instance_seed_and_words_have_names_for_all_sizes():
    assert KeywordCover(instance_seed=1).keywords == KeywordCover(instance_seed=1).keywords
    assert len({KeywordCover(instance_seed=seed).keywords for seed in range(20)}) > 10
    assert len(set(KeywordCover(num_words=100).vocabulary.tokens)) == 102


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_keywords": 0},
        {"num_keywords": 9},
        {"num_keywords": 5, "num_words": 4},
        {"length": -1},
        {"num_keywords": 30, "num_words": 40, "length": 40},
    ],
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(TokenGymError, match=next(iter(sizes))):
        KeywordCover(**sizes)
