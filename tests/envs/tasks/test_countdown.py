"""Countdown: what is right, what is well-formed, and what a random player gets."""

import itertools

import numpy as np
import pytest

from tokengym.envs import evaluate_policy
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.reasoning.countdown import Countdown


def value_of(task: Countdown, text, numbers):
    """The value of a text by a stack of plain integers, or None where it is not well-formed."""
    stack = []
    for token in text:
        if token < task.num_numbers:
            stack.append(numbers[token])
        elif len(stack) < 2:
            return None
        else:
            second, first = stack.pop(), stack.pop()
            stack.append({"+": first + second, "-": first - second, "*": first * second}[task.vocabulary.tokens[token]])
    return stack[0] if len(stack) == 1 else None


def score(task: Countdown, text, problem) -> float:
    value = value_of(task, text, problem.numbers)
    once = sorted(token for token in text if token < task.num_numbers) == list(range(task.num_numbers))
    return 0.0 if value is None else 1.0 if once and value == problem.target else 0.1


def problem_of(task: Countdown, engine: Engine, row: int = 0):
    """The problem that one row shows, read from the names of its tokens."""
    shown = task.render_tokens(engine.tokens[row, : task.max_length - task.turn_tokens])
    numbers, target = shown.removesuffix(" :").split(" = ")
    wanted = tuple(map(int, numbers.split())), int(target.replace(" ", ""))
    return next(problem for problem in task.problems if (problem.numbers, problem.target) == wanted)


@pytest.mark.parametrize("arguments", [{}, {"num_numbers": 2, "num_prompts": None}, {"num_numbers": 4}])
def test_every_text_is_paid_as_a_stack_of_plain_integers_says(arguments):
    task = Countdown(**arguments)
    engine, num_rows, draw = Engine(task, 400), 400, np.random.default_rng(0)
    texts = draw.integers(task.vocabulary.num_actions, size=(num_rows, task.turn_tokens))
    engine.reset(None, np.arange(num_rows, dtype=np.uint64))
    problems = [problem_of(task, engine, row) for row in range(num_rows)]
    # Random texts are seldom right: half of the rows say one that is, or one that is well-formed.
    for row in range(0, num_rows, 4):
        texts[row] = problems[row].right[row % len(problems[row].right)]
        texts[row + 1] = problems[row].right[0]
    result = engine.append(None, texts, np.full(num_rows, task.turn_tokens))
    expected = [score(task, text, problem) for text, problem in zip(texts.tolist(), problems, strict=True)]
    assert result.rewards.tolist() == expected and result.terminated.all()
    assert {0.0, 0.1, 1.0} == set(expected)


def test_the_right_texts_of_a_prompt_are_all_that_score_one():
    task = Countdown()
    for problem in task.problems[::250]:
        everything = itertools.product(range(task.vocabulary.num_actions), repeat=task.turn_tokens)
        assert tuple(text for text in everything if score(task, text, problem) == 1) == problem.right
        assert problem.right


def test_a_prompt_shows_the_numbers_and_the_target_and_an_example_of_a_right_text_is_right():
    task = Countdown(num_prompts=None)
    (problem,) = [problem for problem in task.problems if (problem.numbers, problem.target) == ((3, 7, 2), 23)]
    assert tuple(task.vocabulary.encode("n1 n2 * n3 +".split())) in problem.right
    engine = Engine(task, 2000)
    engine.reset(None, np.arange(2000, dtype=np.uint64))
    row = next(row for row in range(2000) if problem_of(task, engine, row).right != problem.right)
    shown = task.render_tokens(engine.tokens[row, : engine.lengths[row]]).split()
    assert len(shown) == 7 and shown[3] == "=" and shown[6] == ":"


def test_random_and_optimal_returns_equal_their_closed_forms():
    task = Countdown()
    well_formed = [
        text for text in itertools.product(range(6), repeat=5) if value_of(task, text, (1, 1, 1)) is not None
    ]
    assert len(well_formed) == 486
    right = np.mean([len(problem.right) for problem in task.problems])
    solution = solve(task)
    assert solution.random_return == pytest.approx((0.1 * 486 + 0.9 * right) / 6**5, abs=1e-12)
    assert task.random_return == pytest.approx(solution.random_return, abs=1e-12)
    assert solution.optimal_return == pytest.approx(task.optimal_return, abs=1e-9)
    # The mask leaves the well-formed texts; a random player then walks down the tree of their beginnings.
    masked = solve(task, masked=True)
    assert masked.random_return > 0.1 and masked.optimal_return == pytest.approx(1)


def test_the_process_pays_each_token_after_which_the_target_is_in_reach():
    task = Countdown(reward="process", num_numbers=2, num_prompts=None)
    problem = next(problem for problem in task.problems if (problem.numbers, problem.target) == ((7, 2), 5))
    assert problem.right == (tuple(task.vocabulary.encode(["n1", "n2", "-"])),)
    n1, n2, minus, plus = task.vocabulary.encode(["n1", "n2", "-", "+"])
    engine = Engine(task, 1)
    start = next(start for start in range(5000) if begins_with(task, engine, start, problem))
    for text, expected in (((n1, n2, minus), [1, 1, 1]), ((n1, n2, plus), [1, 1, 0]), ((n2, n1, minus), [0, 0, 0])):
        engine.reset(None, [start])
        paid = [float(engine.step(None, [token]).rewards[0]) for token in text]
        assert paid == [part / 3 for part in expected]
    solution = solve(task)
    reach = [len({text[:said] for text in problem.right}) / 5**said for problem in task.problems for said in (1, 2, 3)]
    assert solution.random_return == pytest.approx(sum(reach) / 3 / len(task.problems), abs=1e-12)


def begins_with(task, engine, start, problem):
    engine.reset(None, [start])
    return problem_of(task, engine) == problem


@pytest.mark.parametrize("reward", ["outcome", "process"])
def test_the_expert_is_always_right_and_well_formed_after_a_mistake(reward):
    task = Countdown(reward=reward)
    engine = Engine(task, 300)
    engine.reset(None, np.arange(300, dtype=np.uint64))
    total = np.zeros(300)
    for _ in range(5):
        total += engine.step(None, engine.expert()).rewards
    assert total == pytest.approx(np.ones(300))
    if reward == "outcome":
        engine.reset(None, np.arange(300, dtype=np.uint64))
        engine.step(None, np.zeros(300, np.int64))
        engine.step(None, np.zeros(300, np.int64))  # the first number twice
        for _ in range(3):
            rewards = engine.step(None, engine.expert()).rewards
        assert (rewards == 0.1).all()


def test_the_mask_allows_exactly_the_beginnings_of_well_formed_texts():
    task = Countdown(num_prompts=1)
    texts = [text for text in itertools.product(range(6), repeat=5) if value_of(task, text, (1, 1, 1)) is not None]
    beginnings = {text[:length] for text in texts for length in range(6)}
    engine = Engine(task, 1)
    for beginning in [(), (0,), (0, 1), (0, 3), (0, 0, 0), (2, 1, 3), (2, 1, 4, 0)]:
        engine.reset(None, [0])
        for token in beginning:
            engine.step(None, [token])
        allowed = np.flatnonzero(engine.action_mask()[0]).tolist()
        fits = [token for token in range(6) if (*beginning, token) in beginnings]
        assert allowed == (fits or list(range(6)))


def test_the_two_sides_of_a_split_share_no_prompt_and_make_up_the_instance():
    sides = {
        split: set(Countdown(num_prompts=50, split=split, held_out=0.2).problems)
        for split in ("train", "held_out", "all")
    }
    assert sides["train"] | sides["held_out"] == sides["all"] and not sides["train"] & sides["held_out"]
    assert [len(side) for side in sides.values()] == [40, 10, 50]
    assert Countdown(num_prompts=50, instance_seed=1).problems != Countdown(num_prompts=50).problems


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_numbers": 1}, "num_numbers=1"),
        ({"num_numbers": 5}, "num_numbers=5"),
        ({"num_numbers": 4, "max_number": 12}, "max_number=12"),
        ({"max_target": 1000}, "max_target=1000"),
        ({"num_prompts": 10**6}, "num_prompts=1000000: there are"),
        ({"num_prompts": 0}, "num_prompts"),
        ({"reward": "proces"}, "'process'"),
        ({"split": "test"}, "split"),
        ({"split": "held_out"}, "holds no prompt"),
        ({"held_out": 1.0}, "held_out"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Countdown(**arguments)


def test_what_form_is_worth_can_be_chosen_and_form_and_right_are_reported():
    task = Countdown(num_prompts=20, form_reward=0.5)
    solution = solve(task)
    assert solution.random_return == pytest.approx(task.random_return)
    assert solution.optimal_return == pytest.approx(1)
    found = evaluate_policy(task, lambda tokens, lengths: np.full((len(tokens), 6), 1 / 6)).columns
    assert found["correct"] + 0.5 * (found["well_formed"] - found["correct"]) == pytest.approx(task.random_return)
    for arguments, message in (
        ({"form_reward": 1.5}, "0 … 1"),
        ({"form_reward": 0.2, "reward": "process"}, "no effect"),
    ):
        with pytest.raises(TokenGymError, match=message):
            Countdown(**arguments)
