"""TwentyQuestions: truthful answers, closed forms, and the optimum against a search over sets of items."""

from functools import cache

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.games.twenty_questions import TwentyQuestions


def test_the_binary_questions_number_the_items():
    task = TwentyQuestions()
    numbers = task.answers[:, :4] @ [1, 2, 4, 8]
    assert numbers.tolist() == list(range(16)) and task.answers.shape == (16, 8)


def test_answers_are_true_and_only_the_right_guess_ends_the_game_free():
    task = TwentyQuestions()
    engine = Engine(task, 16)
    engine.reset(None, np.arange(16, dtype=np.uint64))
    engine._state["state"][:] = task.arrays.initial_state
    for question in range(8):
        assert (engine.step(None, np.full(16, question)).rewards == -1).all()
        said = np.array(task.vocabulary.names(engine.tokens[np.arange(16), engine.lengths - 1].tolist()))
        np.testing.assert_array_equal(said == "yes", task.answers[:, question])
    wrong = engine.step(None, 8 + (np.arange(16) + 1) % 16)
    assert (wrong.rewards == -1).all() and not wrong.terminated.any()
    right = engine.step(None, 8 + np.arange(16))
    assert (right.rewards == 0).all() and right.terminated.all()


def test_the_last_turn_ends_the_game():
    task = TwentyQuestions(num_turns=2)
    engine = Engine(task, 1)
    engine.reset(None, 0)
    results = [engine.step(None, [0]) for _ in range(2)]
    assert [bool(result.terminated[0]) for result in results] == [False, True]
    assert sum(result.rewards[0] for result in results) == -2


def search(task: TwentyQuestions) -> float:
    """The optimal return by recursion over the sets of items that are still possible."""

    @cache
    def wrong(left: frozenset, turns: int) -> int:
        if turns == 0:
            return 0
        options = [len(left) - 1 + (wrong(left - {min(left)}, turns - 1) if len(left) > 1 else 0)]
        for item in left:
            rest = left - {item}
            options.append(len(rest) + (wrong(rest, turns - 1) if rest else 0))
        for question in range(task.num_questions):
            true = frozenset(item for item in left if task.answers[item, question])
            if true and true != left:
                options.append(len(left) + wrong(true, turns - 1) + wrong(left - true, turns - 1))
        return min(options)

    return -wrong(frozenset(range(task.num_items)), task.num_turns) / task.num_items


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_items": 8, "num_questions": 4, "num_turns": 6},
        {"num_items": 5, "num_questions": 5, "num_turns": 4, "instance_seed": 3},
        {"num_items": 2, "num_questions": 1, "num_turns": 1},
    ],
)
def test_solved_scores_equal_the_closed_form_and_the_search(sizes):
    task = TwentyQuestions(**sizes)
    solution = solve(task)
    assert solution.random_return == pytest.approx(task.random_return, abs=1e-12)
    assert solution.optimal_return == pytest.approx(search(task), abs=1e-12)


def test_what_is_true_hangs_on_the_instance_seed():
    first, again, other = (TwentyQuestions(instance_seed=seed).answers for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize(
    "sizes", [{"num_items": 1}, {"num_items": 27}, {"num_questions": 3}, {"num_turns": 0}, {"num_turns": 5000}]
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(TokenGymError, match=next(iter(sizes))):
        TwentyQuestions(**sizes)
