"""Addition: the sums, the orders of digits, the rewards and their closed forms."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.reasoning.addition import Addition


def read(task: Addition, problem) -> tuple[int, int, int]:
    """The two numbers and the answer of a problem, from the names of its tokens."""
    first, second = "".join(task.vocabulary.names(problem.prompt)).removesuffix("=").split("+")
    assert len(first) == len(second) == task.digits
    digits = "".join(task.vocabulary.names(problem.answer))
    return int(first), int(second), int(digits if task.order == "most_first" else digits[::-1])


@pytest.mark.parametrize("order", ["most_first", "least_first"])
def test_all_pairs_of_two_digits_are_asked_once_and_their_answers_are_their_sums(order):
    task = Addition(order=order)
    triples = [read(task, problem) for problem in task.problems]
    assert all(first + second == total for first, second, total in triples)
    assert {(first, second) for first, second, _ in triples} == {(a, b) for a in range(100) for b in range(100)}
    assert len(triples) == 100**2


@pytest.mark.parametrize("digits", [3, 6])
def test_longer_numbers_are_drawn_and_add_up(digits):
    task = Addition(digits=digits, num_prompts=300)
    triples = {read(task, problem) for problem in task.problems}
    assert len(triples) == 300 and all(first + second == total for first, second, total in triples)
    assert max(first for first, _, _ in triples) > 10 ** (digits - 1) * 9


def test_without_carry_no_two_digits_exceed_nine():
    task = Addition(carry=False)
    triples = {read(task, problem)[:2] for problem in task.problems}
    pairs = {(a, b) for a in range(100) for b in range(100) if a % 10 + b % 10 < 10 and a // 10 + b // 10 < 10}
    assert triples == pairs and len(pairs) == 55**2
    assert all(problem.answer[0] == 0 for problem in task.problems)


@pytest.mark.parametrize("order", ["most_first", "least_first"])
@pytest.mark.parametrize(("reward", "random"), [("outcome", 1e-3), ("fraction", 0.1), ("process", 0.1)])
def test_random_and_optimal_returns_equal_their_closed_forms(order, reward, random):
    task = Addition(order=order, reward=reward)
    solution = solve(task)
    assert solution.random_return == pytest.approx(random, abs=1e-9) == task.random_return
    assert solution.optimal_return == pytest.approx(1.0, abs=1e-9) == task.optimal_return
    assert solution.optimal_variance == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("reward", "expected"),
    [("outcome", [0, 0, 0]), ("fraction", [0, 0, 2 / 3]), ("process", [0, 1 / 3, 1 / 3])],
)
def test_a_wrong_first_digit_costs_what_the_reward_says(reward, expected):
    task = Addition(reward=reward)
    engine = Engine(task, 1)
    engine.reset(None, [7])
    shown = task.render_tokens(engine.tokens[0, : engine.lengths[0]]).replace(" ", "")
    first, second = map(int, shown.removesuffix("=").split("+"))
    digits = [int(digit) for digit in f"{first + second:03d}"]
    digits[0] = (digits[0] + 5) % 10
    results = [engine.step(None, [digit]) for digit in digits]
    assert [float(result.rewards[0]) for result in results] == pytest.approx(expected)
    assert [bool(result.terminated[0]) for result in results] == [False, False, True]


@pytest.mark.parametrize("arguments", [{}, {"order": "least_first", "reward": "process"}, {"digits": 4}])
def test_the_expert_writes_the_sum(arguments):
    task = Addition(**arguments)
    engine = Engine(task, 200)
    engine.reset(None, np.arange(200, dtype=np.uint64))
    total = np.zeros(200)
    while not engine.over.all():
        total += engine.step(None, engine.expert()).rewards
    assert total == pytest.approx(np.ones(200))


def test_the_two_sides_of_a_split_share_no_prompt():
    train, held_out = (set(Addition(split=split, held_out=0.25).problems) for split in ("train", "held_out"))
    assert len(train) == 7500 and len(held_out) == 2500 and not train & held_out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"digits": 0}, "digits=0"),
        ({"digits": 7}, "digits=7"),
        ({"order": "reversed"}, "order 'reversed'"),
        ({"reward": "dense"}, "reward 'dense'"),
        ({"num_prompts": 10_001}, "there are 10000 different prompts"),
        ({"digits": 1, "held_out": 0.999}, "split='train' holds no prompt"),
        ({"split": "validation"}, "split 'validation'"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Addition(**arguments)
