"""Noughts and crosses: the known scores of random and perfect play, hand-played games, bad input."""

import numpy as np
import pytest

from tokengym.envs import Engine, TokenGymError, make_task, solve
from tokengym.envs.tasks.games.tictactoe import TicTacToe


@pytest.fixture(scope="module")
def games():
    return {(opponent, side): TicTacToe(opponent, side) for opponent in ("random", "optimal") for side in SIDES}


SIDES = ("first", "second", "both")


def test_random_play_wins_loses_and_draws_as_enumeration_of_all_games_says(games):
    """The first of two random players wins 737, loses 363 and draws 160 of 1,260 games."""
    first, second = (solve(games["random", side], masked=True) for side in ("first", "second"))
    assert first.random_return == pytest.approx((737 - 363) / 1260, abs=1e-12)
    assert first.random_variance + first.random_return**2 == pytest.approx((737 + 363) / 1260, abs=1e-12)
    assert second.random_return == pytest.approx(-first.random_return, abs=1e-12)
    assert solve(games["random", "both"], masked=True).random_return == pytest.approx(0, abs=1e-12)


def test_the_best_player_beats_a_random_one_in_191_of_192_games_and_draws_the_other(games):
    assert solve(games["random", "first"]).optimal_return == pytest.approx(191 / 192, abs=1e-12)


@pytest.mark.parametrize("side", SIDES)
def test_perfect_play_is_a_draw(games, side):
    assert solve(games["optimal", side]).optimal_return == 0
    assert games["optimal", side].value("." * 9) == 0


def test_the_number_of_positions_is_the_known_one(games):
    """4,520 of the 5,478 positions of legal play are not final: in 2,423 of them it is the first player's turn."""
    assert [games["random", side].arrays.num_states for side in SIDES] == [2423, 2097, 4520]


def test_longest_episodes(games):
    assert [games["optimal", side].max_episode_tokens for side in SIDES] == [5, 4, 5]
    assert games["optimal", "first"].max_length == 11


def play(task, moves, start=0):
    engine = Engine(task, 1)
    engine.reset(None, np.array([start], np.uint64))
    results = [engine.step(None, task.vocabulary.encode([str(move)])) for move in moves]
    board = engine.task.vocabulary.names(engine.tokens[0, 1 : engine.lengths[0]].tolist())
    return engine, "".join(board), results[-1] if results else None


def test_a_field_that_is_not_empty_loses_and_leaves_the_board():
    engine, board, result = play(TicTacToe(), [5, 5])
    assert result.rewards[0] == -1 and result.terminated[0]
    assert board.count("x") == board.count("o") == 1 and board[4] == "x"
    picture = engine.task.picture(engine._state, 0, engine.tokens[0, : engine.lengths[0]])
    assert picture.caption == "an illegal move: X has lost"


def first_empty(tokens, lengths, masks):
    """A player that marks the first empty field."""
    return np.eye(9)[masks.argmax(axis=1)]


def test_a_game_played_by_hand():
    engine, board, result = play(TicTacToe(first_empty), [5, 2, 8])
    assert board == "oxo.x..x." and result.terminated[0] and result.rewards[0] == 1
    picture = engine.task.picture(engine._state, 0, engine.tokens[0, : engine.lengths[0]])
    assert picture.caption == "X has won"
    assert [[cell.text for cell in row] for row in picture.cells] == [["O", "X", "O"], ["4", "X", "6"], ["7", "X", "9"]]
    _, board, result = play(TicTacToe(first_empty), [4, 5, 7])
    assert board == "ooox" + "x.x.." and result.terminated[0] and result.rewards[0] == -1


def test_moving_second_the_agents_marks_are_x_and_the_board_is_not_empty():
    _, board, _ = play(TicTacToe(first_empty, side="second"), [])
    assert board == "o........"
    both = TicTacToe(first_empty, side="both")
    boards = {play(both, [], start)[1] for start in range(30)}
    assert boards == {"o........", "." * 9}


def test_the_expert_never_loses(games):
    task = games["random", "second"]
    engine = Engine(task, 300)
    engine.reset(None, np.arange(300, dtype=np.uint64))
    total = np.zeros(300)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        total[rows] += engine.step(rows, engine.expert(rows)).rewards
    assert total.min() == 0 and total.mean() > 0.7


def test_masks_allow_the_empty_fields():
    engine, board, _ = play(TicTacToe(), [1])
    assert engine.action_mask()[0].tolist() == [mark == "." for mark in board]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"opponent": "optimum"}, "unknown opponent 'optimum': did you mean 'optimal'"),
        ({"opponent": 3}, "opponent=3: give 'random', 'optimal'"),
        ({"opponent": "no.such.module:policy"}, "policy entry point 'no.such.module:policy' cannot be loaded"),
        ({"opponent": {"checkpoint": "x", "gredy": True}}, "unknown key of an opponent 'gredy': did you mean 'greedy'"),
        ({"opponent": {"name": "x"}}, "opponent={'name': 'x'}"),
        ({"side": "third"}, "side='third': expected one of 'first', 'second', 'both'"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        make_task("TicTacToe", **arguments)


def test_an_illegal_move_costs_what_is_asked():
    for cost in (1.0, 0.0, 2.5):
        task = TicTacToe(illegal_cost=cost)
        engine = Engine(task, 1)
        engine.reset(None, [0])
        field = int(np.flatnonzero(engine.action_mask()[0])[0])
        engine.step(None, [field])
        result = engine.step(None, [field])
        assert result.terminated[0] and result.rewards[0] == -cost and task.reward_range == (min(-1.0, -cost), 1.0)
    with pytest.raises(TokenGymError, match="illegal_cost"):
        TicTacToe(illegal_cost=-1.0)
