"""Wordle: marks in batches, dialogues, masks, the word list, and an expert that does not see the secret."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.tasks.games.full_wordle import MARKS, Wordle, common_words, mark_words
from tokengym.envs.tasks.games.wordle import mark_guess

word = st.lists(st.integers(0, 3), min_size=5, max_size=5)


@given(st.lists(st.tuples(word, word), min_size=1, max_size=4))
def test_batched_marks_equal_those_of_one_guess(pairs):
    guesses, secrets = (np.array(side) for side in zip(*pairs, strict=True))
    for numbers, (guess, secret) in zip(mark_words(guesses, secrets), pairs, strict=True):
        assert [MARKS[number] for number in numbers] == mark_guess(guess, secret)


def begun(task: Wordle, secrets: list[str]) -> Engine:
    engine = Engine(task, len(secrets))
    engine.reset(None, np.arange(len(secrets), dtype=np.uint64))
    engine._state["secret"][:] = [task.words.index(secret) for secret in secrets]
    return engine


def say(engine: Engine, words: list[str]):
    ids = [engine.task.vocabulary.encode(word) for word in words]
    return engine.append(None, ids, [5] * len(ids))


def test_a_dialogue_holds_every_guess_and_its_marks():
    task = Wordle()
    engine = begun(task, ["apple", "zebra"])
    assert engine.lengths.tolist() == [1, 1]
    result = say(engine, ["paper", "zebra"])
    assert result.rewards.tolist() == [-1.0, 0.0] and result.terminated.tolist() == [False, True]
    shown = [task.render_tokens(row).replace(" ", "") for row in engine.tokens]
    assert shown == ["paper~~+~.", "zebra+++++"]


def test_the_sixth_wrong_guess_ends_the_game_and_any_letters_may_be_guessed():
    engine = begun(Wordle(), ["apple"])
    results = [say(engine, ["xqzjv"]) for _ in range(6)]
    assert [bool(result.terminated[0]) for result in results] == [False] * 5 + [True]
    assert sum(result.rewards[0] for result in results) == -6


def test_secrets_are_drawn_uniformly():
    task = Wordle(num_words=10)
    engine = Engine(task, 2000)
    engine.reset(None, np.arange(2000, dtype=np.uint64))
    counts = np.bincount(engine._state["secret"], minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # the .999 quantile of chi-squared with 9 degrees of freedom


def test_random_returns_are_their_closed_forms():
    task = Wordle(words=["ab", "ba", "bb"], num_guesses=2)
    missed = 1 - 1 / 26**2
    assert task.random_return == pytest.approx(-(missed + missed**2), abs=1e-12)
    assert task.random_words_return == pytest.approx(-(2 / 3 + 4 / 9), abs=1e-12)
    assert -6 < Wordle().random_return < Wordle().random_words_return < -5.9


def test_masks_allow_exactly_the_beginnings_of_words():
    task = Wordle(words_only=True, num_words=60)
    engine, draw = Engine(task, 300), np.random.default_rng(0)
    engine.reset(None, np.arange(300, dtype=np.uint64))
    said = []
    for place in range(5):
        mask = engine.action_mask()
        for row in range(5):
            prefix = "".join(task.vocabulary.tokens[step[row]] for step in said)
            goes_on = {word[place] for word in task.words if word.startswith(prefix)}
            assert set(task.vocabulary.names(np.flatnonzero(mask[row]).tolist())) == goes_on
        said.append((draw.random(mask.shape) * mask).argmax(axis=1))
        engine.step(None, said[-1])
    guesses = {"".join(task.vocabulary.tokens[letter] for letter in guess) for guess in np.stack(said, 1)}
    assert guesses <= set(task.words) and len(guesses) > 40
    assert not Wordle().has_action_mask


def test_off_the_words_every_letter_is_legal():
    task = Wordle(words=["abcde", "abcdf"], words_only=True)
    engine = begun(task, ["abcde"])
    for letter, allowed in ((25, 1), (0, 26), (1, 26)):
        assert engine.action_mask().sum() == allowed
        engine.step(None, [letter])


def test_the_expert_finds_every_word_and_does_not_look_at_the_secret():
    task = Wordle(num_words=80)
    engine = begun(task, task.words)
    total = np.zeros(80)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        actions = engine.expert(rows)
        honest = engine._state["secret"][rows].copy()
        engine._state["secret"][rows] = 0
        np.testing.assert_array_equal(engine.expert(rows), actions)
        engine._state["secret"][rows] = honest
        total[rows] += engine.step(rows, actions).rewards
    assert total.min() >= -3 and total.mean() > -1.6


def test_the_expert_goes_on_with_what_was_said():
    task = Wordle(words=["abcde", "abcdf", "zzzzz"])
    engine = begun(task, ["abcde"])
    engine.step(None, [25])
    assert engine.expert().tolist() == [25]  # type: ignore[union-attr]


def test_the_bundled_list_is_clean():
    words = common_words()
    assert words == sorted(set(words)) and len(words) == 710
    assert all(len(word) == 5 and word.isascii() and word.isalpha() and word.islower() for word in words)


def test_words_hang_on_the_instance_seed():
    first, again, other = (Wordle(num_words=30, instance_seed=seed).words for seed in (1, 1, 2))
    assert first == again != other and len(first) == 30


def test_the_board_shows_letters_on_the_colours_of_their_marks():
    task = Wordle()
    engine = begun(task, ["apple"])
    say(engine, ["paper"])
    engine.step(None, [0])
    picture = task.picture(engine._state, 0, engine.tokens[0, : engine.lengths[0]])
    assert picture is not None and len(picture.cells) == 6 and {len(line) for line in picture.cells} == {5}
    assert "".join(cell.text for cell in picture.cells[0]) == "PAPER"
    assert len({cell.fill for cell in picture.cells[0]}) == 3
    assert [cell.text for cell in picture.cells[1]] == ["A", "", "", "", ""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_guesses": 0}, "num_guesses"),
        ({"num_words": 711}, "num_words=711"),
        ({"words": []}, "words"),
        ({"words": "abc"}, "words"),
        ({"words": ["ab", "abc"]}, "'abc' has 3 letters"),
        ({"words": ["Ab"]}, "lower case"),
        ({"words": ["ab", "ab"]}, "once"),
    ],
)
def test_impossible_words_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Wordle(**arguments)
