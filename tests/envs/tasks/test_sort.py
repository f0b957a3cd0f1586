"""Sort: what is shown, what is right, and the closed forms."""

import itertools

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.reasoning.sort import Sort


def test_all_prompts_are_asked_once_and_answers_are_sorted():
    task = Sort(length=3, num_letters=4)
    assert {problem.prompt for problem in task.problems} == {
        (*letters, 4) for letters in itertools.product(range(4), repeat=3)
    }
    assert all(problem.answer == tuple(sorted(problem.prompt[:-1])) for problem in task.problems)
    assert task.vocabulary.names(task.problems[-1].prompt) == ["d", "d", "d", ":"]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"length": 8, "num_prompts": 300}, {"length": 16, "num_letters": 26, "num_prompts": 20}],
)
@pytest.mark.parametrize("reward", ["outcome", "fraction", "process"])
def test_random_and_optimal_returns_equal_their_closed_forms(arguments, reward):
    task = Sort(reward=reward, **arguments)
    solution = solve(task)
    letters = task.num_letters
    expected = letters**-task.length if reward == "outcome" else 1 / letters
    assert solution.random_return == pytest.approx(expected, rel=1e-9) and task.random_return == pytest.approx(expected)
    assert solution.optimal_return == pytest.approx(1, abs=1e-9)


def test_a_player_that_repeats_the_prompt_is_paid_for_the_letters_that_are_in_place_already():
    """Evaluated over all histories, against a count over the prompts."""
    task = Sort(length=3, num_letters=3, reward="fraction")

    def repeat(tokens, lengths):
        said = lengths - 5
        return np.eye(3)[tokens[np.arange(len(tokens)), 1 + said]]

    in_place = [np.mean(np.array(prompt) == sorted(prompt)) for prompt in itertools.product(range(3), repeat=3)]
    assert evaluate_policy(task, repeat).expected_return == pytest.approx(np.mean(in_place), abs=1e-12)
    outcome = Sort(length=3, num_letters=3)
    assert evaluate_policy(outcome, repeat).expected_return == pytest.approx(10 / 27, abs=1e-12)


def test_the_expert_sorts():
    task = Sort(length=8, num_prompts=100, reward="process")
    engine = Engine(task, 100)
    engine.reset(None, np.arange(100, dtype=np.uint64))
    total = np.zeros(100)
    while not engine.over.all():
        total += engine.step(None, engine.expert()).rewards
    assert total == pytest.approx(np.ones(100))
    said = engine.tokens[:, 10:18]
    np.testing.assert_array_equal(said, np.sort(engine.tokens[:, 1:9], axis=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 17}, "length=17"),
        ({"length": 0}, "length=0"),
        ({"num_letters": 1}, "num_letters=1"),
        ({"num_letters": 27}, "num_letters=27"),
        ({"reward": "exact"}, "reward 'exact'"),
        ({"num_prompts": 5000}, "there are 4096"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Sort(**arguments)
