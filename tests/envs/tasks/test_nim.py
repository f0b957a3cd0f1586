"""Nim: Bouton's theorem everywhere, hand-played games, bad input."""

from functools import reduce
from operator import xor

import numpy as np
import pytest

from tokengym.envs import Engine, TokenGymError, make_task, solve
from tokengym.envs.tasks.games.nim import Nim


@pytest.mark.parametrize("heaps", [(3, 4, 5), (1, 2), (2, 2, 2, 1), (7,)])
def test_a_position_is_lost_exactly_if_the_exclusive_or_of_its_heaps_is_0(heaps):
    task = Nim(heaps, opponent="optimal")
    for position in task.arrays.states:
        assert task.value(position) == (1 if reduce(xor, position) else -1)
        good = [move for move in task.moves(position) if not reduce(xor, task.play(position, move))]
        assert task.best_moves(position) == (good or task.moves(position))


def test_the_solver_finds_bouton_s_theorem_from_every_observation():
    task = Nim((2, 3, 4), opponent="optimal", side="both")
    solution = solve(task)
    level = solution.graph.levels[0]
    assert level.tokens is not None and level.lengths is not None
    heaps = level.tokens[:, 1:4] - task.vocabulary.num_actions
    expected = np.where(np.bitwise_xor.reduce(heaps, axis=1) == 0, -1, 1)
    np.testing.assert_array_equal(solution.values(level.tokens, level.lengths), expected)


@pytest.mark.parametrize(("side", "best"), [("first", 1), ("second", -1), ("both", 0)])
def test_perfect_play_from_3_4_5_is_won_by_the_first_player(side, best):
    assert solve(Nim(opponent="optimal", side=side)).optimal_return == best


@pytest.mark.parametrize("side", ["first", "second", "both"])
def test_random_players_win_alike_where_a_heap_has_two_sticks(side):
    """Of two moves that differ by the last stick of a heap, one leaves what the other player could have left."""
    assert solve(Nim(side=side), masked=True).random_return == pytest.approx(0, abs=1e-12)


def test_one_heap_is_taken_at_once_by_the_best_and_by_chance_otherwise():
    """Uniform over n tokens, one of which wins; against a random opponent P(n) = 1/n + Σ (1 − P(m))/n = 1/2, n > 1."""
    solution = solve(Nim((6,)), masked=True)
    assert solution.optimal_return == 1
    assert solution.random_return == pytest.approx(0, abs=1e-12)
    assert solve(Nim((1,))).random_return == 1


def names(engine):
    return engine.task.vocabulary.names(engine.tokens[0, 1 : engine.lengths[0]].tolist())


def last_legal(tokens, lengths, masks):
    """A player that makes the last of its legal moves: it empties the last heap that has any sticks."""
    return np.eye(masks.shape[1])[masks.shape[1] - 1 - masks[:, ::-1].argmax(axis=1)]


def test_a_game_played_by_hand():
    task = Nim(opponent=last_legal)
    engine = Engine(task, 1)
    engine.reset(None, np.array([0], np.uint64))
    assert names(engine) == ["3", "4", "5"]
    engine.step(None, task.vocabulary.encode(["a2"]))
    assert names(engine) == ["1", "4", "0"]
    picture = task.picture(engine._state, 0, engine.tokens[0, :4])
    assert [[cell.text for cell in row] for row in picture.cells] == [
        ["a", "|", "", "", "", ""],
        ["b", "|", "|", "|", "|", ""],
        ["c", "", "", "", "", ""],
    ]
    result = engine.step(None, task.vocabulary.encode(["a1"]))
    assert names(engine) == ["0", "0", "0"] and result.rewards[0] == -1 and result.terminated[0]
    assert task.picture(engine._state, 0, engine.tokens[0, :4]).caption == "the last stick is taken"


def test_more_sticks_than_there_are_lose_and_the_heaps_stay():
    task = Nim(opponent=last_legal)
    engine = Engine(task, 1)
    engine.reset(None, np.array([0], np.uint64))
    engine.step(None, task.vocabulary.encode(["a2"]))
    assert engine.action_mask()[0].nonzero()[0].tolist() == task.vocabulary.encode(["a1", "b1", "b2", "b3", "b4"])
    result = engine.step(None, task.vocabulary.encode(["a2"]))
    assert names(engine) == ["1", "4", "0"] and result.rewards[0] == -1 and result.terminated[0]
    assert task.picture(engine._state, 0, engine.tokens[0, :4]).caption == "an illegal move: the game is lost"


def test_the_longest_game_takes_one_stick_at_a_time():
    assert [Nim(side=side).max_episode_tokens for side in ("first", "second", "both")] == [6, 6, 6]
    assert [Nim((1, 2, 2), side=side).max_episode_tokens for side in ("first", "second", "both")] == [3, 2, 3]


@pytest.mark.parametrize(
    ("heaps", "message"),
    [
        ([], "heaps=\\[\\]: give the number of sticks"),
        ("345", "heaps='345'"),
        ([3, 0], "heaps=0 is too small"),
        ([3, 2.5], "heaps=2.5 is not a whole number"),
        ([30] * 5, "too many positions"),
        ([1] * 27, "at most 26 heaps"),
    ],
)
def test_impossible_heaps_are_refused(heaps, message):
    with pytest.raises(TokenGymError, match=message):
        make_task("Nim", heaps=heaps)


def test_one_heap_leaves_a_second_player_nothing_to_do():
    with pytest.raises(TokenGymError, match="at least two heaps"):
        make_task("Nim", heaps=[3], side="second")
