"""Mastermind: its feedback, a game by hand, exact scores, and its picture."""

import itertools

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.games.mastermind import COLOURS, Mastermind, mark_code


@pytest.mark.parametrize(
    ("guess", "code", "marks"),
    [
        ("rgb", "rgb", (3, 0)),
        ("rgb", "brg", (0, 3)),
        ("rrg", "rbb", (1, 0)),
        ("rrg", "brr", (1, 1)),
        ("r", "g", (0, 0)),
    ],
)
def test_marks_are_those_of_the_board_game(guess, code, marks):
    assert mark_code([ord(peg) for peg in guess], [ord(peg) for peg in code]) == marks


def test_marks_do_not_change_when_guess_and_code_change_places():
    for guess, code in itertools.product(itertools.product(range(3), repeat=3), repeat=2):
        assert mark_code(guess, code) == mark_code(code, guess)


def play(code: tuple[int, ...], guesses: list[tuple[int, ...]]):
    task = Mastermind()
    engine = Engine(task, 1)
    engine.reset(None, 0)
    engine._state["state"][:] = task.arrays.states.index((code, 0, ()))
    rewards = [float(engine.append(None, [guess], [3]).rewards[0]) for guess in guesses]
    return task, engine, rewards


def test_a_game_shows_every_guess_with_its_counts_and_costs_one_a_wrong_guess():
    task, engine, rewards = play((0, 1, 1), [(1, 1, 0), (0, 1, 1)])
    said = task.vocabulary.names(engine.tokens[0, 1 : engine.lengths[0]].tolist())
    assert said == ["green", "green", "red", "+1", "~2", "red", "green", "green", "+3", "~0"]
    assert rewards == [-1.0, 0.0] and engine.over[0]


def test_the_fifth_wrong_guess_ends_the_game():
    _, engine, rewards = play((0, 0, 0), [(1, 1, 1)] * 5)
    assert rewards == [-1.0] * 5 and engine.over[0]


@pytest.mark.parametrize("sizes", [{}, {"num_colours": 2}, {"num_colours": 2, "num_pegs": 2, "num_guesses": 2}])
def test_random_tokens_score_their_closed_form(sizes):
    task = Mastermind(**sizes)
    assert solve(task).random_return == pytest.approx(task.random_return, abs=1e-9)


def test_two_pegs_in_two_colours_are_solved_by_hand():
    """Guess `red green`: both right, both elsewhere (then one code), or one right (then two codes): −0 −1 −1 −1.5."""
    assert solve(Mastermind(num_colours=2, num_pegs=2)).optimal_return == pytest.approx(-(0 + 1 + 1 + 2) / 4, abs=1e-12)


def test_the_optimum_equals_a_search_over_the_remaining_codes():
    """The minimal total of wrong guesses over 27 codes, by recursion over sets of codes that are still possible."""
    codes = list(itertools.product(range(3), repeat=3))
    memo: dict[tuple[frozenset, int], int] = {}

    def wrong(left: frozenset, guesses: int) -> int:
        if guesses == 0 or len(left) == 1:
            return 0
        if (left, guesses) not in memo:
            best = None
            for guess in codes:
                parts: dict[tuple[int, int], set] = {}
                for code in left:
                    parts.setdefault(mark_code(guess, code), set()).add(code)
                if len(parts) == 1 and guess not in left:
                    continue
                cost = len(left) - (guess in left)
                cost += sum(wrong(frozenset(part), guesses - 1) for marks, part in parts.items() if marks != (3, 0))
                best = cost if best is None else min(best, cost)
            assert best is not None
            memo[left, guesses] = best
        return memo[left, guesses]

    assert solve(Mastermind(num_guesses=3)).optimal_return == pytest.approx(-wrong(frozenset(codes), 3) / 27, abs=1e-9)


def test_the_picture_shows_pegs_in_their_colours_and_the_counts():
    task, engine, _ = play((0, 1, 1), [(1, 1, 0)])
    picture = task.picture(engine._state, 0, engine.tokens[0, : engine.lengths[0]])
    assert picture is not None and len(picture.cells) == 5 and {len(line) for line in picture.cells} == {5}
    first = picture.cells[0]
    assert [cell.fill for cell in first[:3]] == [COLOURS["green"], COLOURS["green"], COLOURS["red"]]
    assert [cell.text for cell in first[3:]] == ["+1", "~2"]
    engine.append(None, np.array([[0, 1, 1]]), np.array([3]))
    picture = task.picture(engine._state, 0, engine.tokens[0, : engine.lengths[0]])
    assert picture is not None and picture.caption.endswith("; broken")


@pytest.mark.parametrize(
    "sizes", [{"num_colours": 1}, {"num_colours": 9}, {"num_pegs": 0}, {"num_guesses": 0}, {"num_pegs": 8}]
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(TokenGymError, match=next(iter(sizes))):
        Mastermind(**sizes)
