"""What engines and their faces take, and what they refuse with a message that says what was expected."""

import itertools

import numpy as np
import pytest
from sample_tasks import Echo, Weather

from tokengym.envs import Engine, TokenEnv, TokenGymError, TokenVectorEnv

ODD = [
    None, True, -1, 0, 1, 0.5, float("nan"), 2**63, 2**70, "0", b"0", [], [0], [-1], [0, 1], [0, 0], [5], [0.5],
    ["0"], [None], [[0], [0, 1]], [[0, 1], [2, 3]], [[[0]]], {}, {"reset_mask": [1]}, {0}, (0, 1), object(),
    np.zeros(2), np.ones(2, np.bool_), np.zeros((2, 1), np.int64), np.array(["a"]), np.uint64(3), np.int8(1),
]  # fmt: skip


def under_way():
    engine = Engine(Echo(), 2)
    engine.reset(None, [0, 1])
    return engine


def test_turns_of_different_lengths_may_be_given_as_lists():
    lists, table, steps = under_way(), under_way(), under_way()
    result = lists.append(None, [[1, 2], [0]], counts=[2, 1])
    expected = table.append(None, np.array([[1, 2], [0, 3]]), counts=[2, 1])
    for left, right in zip(result, expected, strict=True):
        np.testing.assert_equal(left, right)
    steps.step(None, [1, 0])
    steps.step([0], [2])
    np.testing.assert_array_equal(lists.tokens, steps.tokens)
    np.testing.assert_array_equal(result.said, [2, 1])


def test_without_counts_all_that_is_given_is_said():
    ragged, square = under_way(), under_way()
    np.testing.assert_array_equal(ragged.append([1, 0], [[0], [1, 2]]).said, [1, 2])
    np.testing.assert_array_equal(square.append(None, [[0, 1], [1, 2]]).said, [2, 2])
    assert ragged.lengths[1] == square.lengths[1] - 1


@pytest.mark.parametrize(
    ("tokens", "counts", "message"),
    [
        ([[1, 2], [0]], [2, 2], "each must be in 1 … 1 or 2"),
        ([[1, 2], []], None, "each must be in 1 … 0 or 2"),
        ([[1, 2], [0.5]], [2, 1], "tokens must be integers, got float64"),
        ([[1, 2], [9]], [2, 1], "token 9 cannot be said"),
        ([[1, 2]], [2], "2 lists of token ids"),
        ([[1, 2], 0], [2, 1], "cannot be made an array"),
        ([[1, 2], [[0]]], [2, 1], "2 lists of token ids"),
        ("ab", [1, 1], "2 lists of token ids"),
        ([[1, 2], [0]], [2.0, 1.0], "give one integer for each of 2 rows"),
        ([[1, 2], [0]], [2], "give one integer for each of 2 rows"),
        ([[1, 2], [0]], "ab", "give one integer for each of 2 rows"),
        ([[1], [2**70]], None, "tokens must be integers"),
    ],
)
def test_turns_that_cannot_be_said_are_refused_before_any_token_is(tokens, counts, message):
    engine = under_way()
    before = engine.tokens.copy()
    with pytest.raises(TokenGymError, match=message):
        engine.append(None, tokens, counts)
    np.testing.assert_array_equal(engine.tokens, before)


def test_odd_arguments_are_taken_as_what_they_are_or_refused_in_our_words():
    """Some five thousand calls: nothing but `TokenGymError` may come out, and nothing odd may go in."""
    engine, env, envs = Engine(Echo(), 2), TokenEnv(Weather()), TokenVectorEnv(2, Weather())
    calls = [
        *((engine.reset, pair) for pair in itertools.product(ODD, ODD)),
        *((engine.step, pair) for pair in itertools.product(ODD, ODD)),
        *((engine.append, (None, *pair)) for pair in itertools.product(ODD, ODD)),
        *((engine.append, (*pair, [1])) for pair in itertools.product(ODD, ODD)),
        *((engine.action_mask, (odd,)) for odd in ODD),
        *((method, (odd,)) for method in (engine.expert, engine.picture, engine.frame) for odd in ODD),
        *((engine.get_state, (odd,)) for odd in ODD),
        *((engine.set_state, pair) for pair in itertools.product(ODD, ODD)),
        *((face.step, (odd,)) for face in (env, envs) for odd in ODD),
        *((face.set_state, (odd,)) for face in (env,) for odd in ODD),
        *((lambda seed, options, face=face: face.reset(seed=seed, options=options), pair)
          for face in (env, envs) for pair in itertools.product(ODD, [None, {}, {"reset_mask": 1}])),
        *((lambda odd: envs.reset(options=odd), (odd,)) for odd in ODD),
        *((make, (odd, Echo())) for make in (lambda n, task: Engine(task, n), TokenVectorEnv) for odd in ODD
          if odd is not None and not (isinstance(odd, (int, np.integer)) and odd > 2)),
        *((make, (odd,)) for make in (TokenEnv, lambda task: Engine(task, 1), lambda task: TokenVectorEnv(1, task))
          for odd in ODD),
        *((lambda odd: TokenEnv(Echo(), action_masks=odd), (odd,)) for odd in ODD),
        *((lambda odd: TokenEnv(Echo(), render_mode=odd), (odd,)) for odd in ODD),
    ]  # fmt: skip
    refused = 0
    for call, arguments in calls:
        if engine.over.any():
            engine.reset(None, 0)
            env.reset(seed=0)
            envs.reset(seed=0)
        try:
            call(*arguments)
        except TokenGymError:
            refused += 1
        except Exception as error:
            pytest.fail(f"{call} {arguments!r}: {type(error).__name__}: {error}")
    assert len(calls) > 5000 and refused > 4500


def test_a_refused_seed_changes_no_row():
    envs = TokenVectorEnv(2, Weather())
    twin = TokenVectorEnv(2, Weather())
    for one in (envs, twin):
        one.reset(seed=3)
    with pytest.raises(TokenGymError, match="seed"):
        envs.reset(seed=[5, "x"])
    for left, right in zip(envs.reset()[0].values(), twin.reset()[0].values(), strict=True):
        np.testing.assert_array_equal(left, right)
