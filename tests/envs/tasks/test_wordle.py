"""WordleMini: feedback as in Wordle, masks of word prefixes, exact scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.games.wordle import WordleMini, mark_guess


@pytest.mark.parametrize(
    ("guess", "secret", "marks"),
    [
        ("abc", "abc", "+++"),
        ("abc", "def", "..."),
        ("abc", "cab", "~~~"),
        ("aab", "abb", "+.+"),
        ("aab", "caa", "~+."),
        ("bba", "abc", ".+~"),
        ("aaa", "aba", "+.+"),
        ("abb", "bca", "~~."),
    ],
)
def test_marks_are_those_of_wordle(guess, secret, marks):
    assert "".join(mark_guess([ord(x) for x in guess], [ord(x) for x in secret])) == marks


word = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@given(word, word)
def test_a_letter_is_marked_as_often_as_both_words_have_it(guess, secret):
    marks = mark_guess(guess, secret)
    for letter in set(guess):
        marked = sum(mark != "." for mark, said in zip(marks, guess, strict=True) if said == letter)
        assert marked == min(guess.count(letter), secret.count(letter))
    assert [mark == "+" for mark in marks] == [a == b for a, b in zip(guess, secret, strict=True)]


def secret_of(task: WordleMini, engine: Engine) -> tuple[int, ...]:
    return task.state_of(engine._state, 0)[0]


def test_a_dialogue_holds_every_guess_and_its_marks_and_costs_one_a_wrong_guess():
    task = WordleMini()
    engine = Engine(task, 1)
    engine.reset(None, np.array([11], dtype=np.uint64))
    secret = secret_of(task, engine)
    wrong = next(guess for guess in task.words if guess != secret)
    first = engine.append(None, np.array([wrong]), np.array([3]))
    assert (first.rewards[0], first.terminated[0], first.turn_ended[0]) == (-1.0, False, True)
    last = engine.append(None, np.array([secret]), np.array([3]))
    assert (last.rewards[0], last.terminated[0]) == (0.0, True)
    shown = task.vocabulary.names(engine.tokens[0, 1 : engine.lengths[0]].tolist())
    assert shown[3:6] == mark_guess(wrong, secret) and shown[9:12] == ["+", "+", "+"] and len(shown) == 12


def test_the_last_wrong_guess_ends_the_game():
    task = WordleMini()
    engine = Engine(task, 1)
    engine.reset(None, np.array([2], dtype=np.uint64))
    wrong = next(guess for guess in task.words if guess != secret_of(task, engine))
    results = [engine.append(None, np.array([wrong]), np.array([3])) for _ in range(4)]
    assert [bool(result.terminated[0]) for result in results] == [False, False, False, True]
    assert sum(result.rewards[0] for result in results) == -4


def test_random_scores_equal_their_closed_forms():
    task = WordleMini()
    solution = solve(task)
    assert solution.random_return == pytest.approx(-sum((1 - 1 / 216) ** i for i in range(1, 5)), abs=1e-12)
    assert task.random_words_return == pytest.approx(-sum((23 / 24) ** i for i in range(1, 5)), abs=1e-12)
    assert -4 < solution.random_return < task.random_words_return < solution.optimal_return < -1


def test_random_words_score_what_evaluating_a_uniform_choice_of_words_gives():
    task = WordleMini(num_letters=3, word_length=2, num_words=4, num_guesses=2)
    words = np.array(task.words)

    def policy(tokens, lengths):
        rows = []
        for row, length in zip(tokens, lengths, strict=True):
            said = (length - 1) % 4
            fits = words[(words[:, :said] == row[length - said : length]).all(axis=1)]
            rows.append(np.bincount(fits[:, said], minlength=3) / len(fits))
        return np.array(rows)

    assert evaluate_policy(task, policy).expected_return == pytest.approx(task.random_words_return, abs=1e-12)


def test_masks_allow_exactly_the_prefixes_of_words():
    task = WordleMini(words_only=True)
    engine, draw = Engine(task, 200), np.random.default_rng(0)
    engine.reset(None, np.arange(200, dtype=np.uint64))
    said = []
    for _ in range(3):
        mask = engine.action_mask()
        said.append((draw.random(mask.shape) * mask).argmax(axis=1))
        engine.step(None, said[-1])
    guesses = set(map(tuple, np.stack(said, axis=1).tolist()))
    assert guesses <= set(task.words) and len(guesses) > 15
    assert not WordleMini().has_action_mask


def test_masked_play_is_better_at_random_and_no_better_than_the_optimum():
    task = WordleMini(words_only=True)
    masked, free = solve(task, masked=True), solve(task)
    assert free.random_return < masked.random_return < masked.optimal_return <= free.optimal_return


def test_words_hang_on_the_instance_seed():
    assert WordleMini(instance_seed=1).words == WordleMini(instance_seed=1).words
    assert WordleMini(instance_seed=1).words != WordleMini(instance_seed=2).words
    assert len(set(WordleMini().words)) == 24


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_words": 217},
        {"num_letters": 27},
        {"num_guesses": 0},
        {"word_length": 9},
        {"word_length": 6, "num_words": 50},
    ],
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(TokenGymError, match=next(iter(sizes))):
        WordleMini(**sizes)
