"""Folding an opponent into a task: whoever plays there, the arrays are those that the transitions declare."""

import numpy as np
import pytest

from tokengym.envs import Engine, TokenGymError, evaluate_policy, exploitability, make_task, solve
from tokengym.envs.finite.compiler import compile_task
from tokengym.envs.tasks.games.nim import Nim
from tokengym.envs.tasks.games.opponents import ask_opponent
from tokengym.envs.tasks.games.tictactoe import TicTacToe
from tokengym.envs.tasks.games.two_player import TwoPlayerTask

SIDES = ("first", "second", "both")


def drawn_policy(seed, zeros=0.4):
    """A policy with drawn probabilities, some of them 0, that depend on the observation alone."""

    def policy(tokens, lengths, masks):
        rows = []
        for row, length, mask in zip(tokens, lengths, masks, strict=True):
            draw = np.random.default_rng([seed, *row[:length].tolist()])
            weights = draw.random(len(mask)) * (draw.random(len(mask)) > zeros)
            weights[np.flatnonzero(mask)[draw.integers(mask.sum())]] += 0.1
            rows.append(weights / weights.sum())
        return np.array(rows)

    return policy


def uniform_policy(tokens, lengths, masks):
    return masks / masks.sum(axis=1, keepdims=True)


def make_uniform_policy():
    return uniform_policy


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("opponent", ["random", "optimal", drawn_policy(1)])
def test_the_arrays_are_those_of_the_declared_transitions(side, opponent):
    task = Nim((2, 3), opponent, side)
    declared, solution = compile_task(task), solve(task)
    for state, index in zip(task.arrays.states, range(task.arrays.num_states), strict=True):
        for action in range(task.vocabulary.num_actions):
            said = [t.probability for t in task.transitions(state, action)]
            kept = task.arrays.probability[index, action]
            np.testing.assert_allclose(kept[: len(said)], said, rtol=0, atol=1e-15)
            assert not kept[len(said) :].any()
    again = Nim((2, 3), opponent, side)
    vars(again)["arrays"] = declared
    other = solve(again)
    for name in ("random_return", "random_variance", "optimal_return", "optimal_variance"):
        assert getattr(other, name) == pytest.approx(getattr(solution, name), abs=1e-12)


def best_response(game, policy, position, mine):
    """What a position is worth to the player to move, who responds as well as can be if `mine`; plain recursion."""
    known = game.outcome(position)
    if known is not None:
        return known
    moves = game.moves(position)
    values = [-best_response(game, policy, game.play(position, move), not mine) for move in moves]
    if mine:
        return max(values)
    tokens = np.array([[game.vocabulary.bos, *game.shown(position)]])
    masks = np.isin(np.arange(game.vocabulary.num_actions), moves)[None]
    chances = ask_opponent(policy, tokens, np.array([tokens.shape[1]]), masks)[0, list(moves)]
    return float(chances @ values)


def test_the_optimal_return_against_a_policy_is_its_best_response():
    policy = drawn_policy(3)
    for side in SIDES:
        game = Nim((2, 1, 3), policy, side)
        as_first = best_response(game, policy, game.first_position(), True)
        as_second = -best_response(game, policy, game.first_position(), False)
        expected = {"first": as_first, "second": as_second, "both": (as_first + as_second) / 2}[side]
        assert solve(game).optimal_return == pytest.approx(expected, abs=1e-12)
    assert exploitability(Nim((2, 1, 3)), policy) == pytest.approx((as_first + as_second) / 2, abs=1e-12)


@pytest.mark.parametrize("game", [TicTacToe(), Nim()])
def test_perfect_play_cannot_be_exploited_and_random_play_can(game):
    assert exploitability(game, "optimal") == 0
    assert exploitability(game, "random") > 0.95


def test_a_best_response_wins_what_exploitability_says_and_is_found_from_what_it_sees():
    policy = drawn_policy(4, zeros=0)  # what it never does, its best response never sees
    game = TicTacToe(policy)
    best = solve(game, masked=True).policy("optimal")
    evaluation = evaluate_policy(game, best)
    assert evaluation.expected_return == pytest.approx(solve(game).optimal_return, abs=1e-12)
    # Its value, from the other side, is what the policy gets against it: it plays as an opponent, too.
    turned = TicTacToe(best, "second")
    own = evaluate_policy(turned, lambda *seen: ask_opponent(policy, *seen), masked=True).expected_return
    assert own == pytest.approx(-evaluation.expected_return, abs=1e-12)


def test_named_and_given_opponents_are_the_same():
    random = Nim((2, 2)).arrays
    for opponent in (
        uniform_policy,
        f"{__name__}:uniform_policy",
        {"entry_point": f"{__name__}:make_uniform_policy", "kwargs": {}},
    ):
        np.testing.assert_allclose(Nim((2, 2), opponent).arrays.probability, random.probability, atol=1e-15)


def test_an_opponent_is_set_in_the_middle_of_an_episode():
    def only(move):
        return lambda tokens, lengths, masks: np.eye(masks.shape[1])[np.full(len(masks), move)] + 1e-12 * masks

    task = TicTacToe(only(0))
    engine = Engine(task, 1)
    engine.reset(None, np.array([0], np.uint64))
    engine.step(None, [4])
    states, before = task.arrays.states, engine.tokens.copy()
    task.set_opponent(only(8))
    assert task.arrays.states is states
    np.testing.assert_array_equal(engine.tokens, before)
    engine.step(None, [1])
    board = "".join(task.vocabulary.names(engine.tokens[0, 1:10].tolist()))
    assert board == "ox..x...o"


def test_a_move_of_probability_0_is_never_made():
    task = Nim((3, 4, 5), drawn_policy(5, zeros=0.8), "both")
    engine = Engine(task, 2000)
    engine.reset(None, np.arange(2000, dtype=np.uint64))
    reached = solve(task).graph.levels
    possible = {int(state) for level in reached for state in level.state}
    assert len(possible) < task.arrays.num_states
    random = np.random.default_rng(0)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        assert set(engine._state["state"][rows].tolist()) <= possible
        engine.step(rows, random.integers(task.vocabulary.num_actions, size=len(rows)))


def test_the_same_game_against_another_opponent_leaves_the_first_alone():
    game = TicTacToe("optimal")
    other = game.against("random", "second")
    assert (game.opponent, game.side, other.opponent, other.side) == ("optimal", "first", "random", "second")
    assert solve(game).optimal_return == 0
    assert solve(other).optimal_return == solve(TicTacToe("random", "second")).optimal_return
    assert other.max_episode_tokens == 4 and game.max_episode_tokens == 5
    with pytest.raises(TokenGymError, match="side='third'"):
        game.against("random", "third")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda tokens, lengths, masks: np.ones((len(tokens), 3)), "returned shape .* was it made for this game"),
        (lambda tokens, lengths, masks: np.zeros(masks.shape), "expected probabilities"),
        (lambda tokens, lengths, masks: 1.0 - masks, "expected probabilities"),
        (lambda tokens, lengths, masks: np.full(masks.shape, np.nan), "expected probabilities"),
    ],
)
def test_a_policy_that_gives_no_probabilities_is_refused(policy, message):
    with pytest.raises(TokenGymError, match=message):
        _ = Nim((2, 2), policy).arrays


def test_registered_games_are_two_player_tasks_with_known_variants():
    for name, opponent, side in (
        ("TicTacToe", "random", "first"),
        ("TicTacToe-optimal", "optimal", "first"),
        ("TicTacToe-second", "random", "second"),
        ("Nim-both", "random", "both"),
    ):
        task = make_task(name)
        assert isinstance(task, TwoPlayerTask) and (task.opponent, task.side) == (opponent, side)
