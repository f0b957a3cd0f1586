"""The engine: a batch is its rows one by one, append is stepping, and bad input stops at the door."""

import numpy as np
import pytest
from sample_tasks import MAKERS, Echo, Weather, each, shared_task

from tokengym.envs import Engine, TokenGymError, derive_start


@pytest.fixture(params=each(MAKERS))
def task(request):
    return shared_task(request.param)


def starts(count, seed=0):
    return derive_start(seed, np.arange(count))


def row_of(engine, row):
    """Everything of one row that a user can see."""
    return {
        "tokens": engine.tokens[row].tolist(),
        "length": int(engine.lengths[row]),
        "over": bool(engine.over[row]),
        "mask": engine.action_mask([row]).tolist(),
    }


def check_buffers(engine):
    columns = np.arange(engine.tokens.shape[1])
    past = columns >= engine.lengths[:, None]
    assert (engine.tokens[past] == engine.task.vocabulary.pad).all()
    assert (engine.tokens[:, 0] == engine.task.vocabulary.bos).all()
    assert engine.tokens.min() >= 0 and engine.tokens.max() < engine.task.vocabulary.size
    assert engine.lengths.min() >= 1 and engine.lengths.max() <= engine.task.max_length


def test_a_batch_is_its_rows_one_by_one(task):
    """Rows in random subsets and orders, restarted at random times, against engines of one row."""
    num_rows, actions = 5, task.vocabulary.num_actions
    rng = np.random.default_rng(1)
    batch, alone = Engine(task, num_rows), [Engine(task, 1) for _ in range(num_rows)]
    first = starts(num_rows)
    batch.reset(None, first)
    for row, start in enumerate(first):
        alone[row].reset([0], [start])
    for time in range(1, 40):
        over = np.flatnonzero(batch.over)
        if len(over):
            again = rng.permutation(over)
            new = starts(len(again), seed=time)
            batch.reset(again, new)
            for row, start in zip(again, new, strict=True):
                alone[row].reset(None, start)
        rows = rng.permutation(num_rows)[: rng.integers(1, num_rows + 1)]
        said = rng.integers(actions, size=len(rows))
        if time % 3 == 0:
            rows, said = np.arange(num_rows), rng.integers(actions, size=num_rows)
        result = batch.step(None if time % 3 == 0 else rows, said)
        credited = iter(result.token_rewards or [])
        for place, row in enumerate(rows):
            single = alone[row].step(None, said[place : place + 1])
            for name in ("rewards", "terminated", "truncated", "turn_ended"):
                assert getattr(result, name)[place] == getattr(single, name)[0], name
            if result.turn_ended[place] and result.token_rewards is not None:
                np.testing.assert_array_equal(next(credited), (single.token_rewards or [None])[0])
            assert row_of(batch, row) == row_of(alone[row], 0)
        check_buffers(batch)


def test_append_equals_stepping(task):
    num_rows, width = 4, task.max_turn_tokens
    rng = np.random.default_rng(2)
    stepped, appended = Engine(task, num_rows), Engine(task, num_rows)
    for engine in (stepped, appended):
        engine.reset(None, starts(num_rows))
    for _ in range(6):
        rows = rng.permutation(np.flatnonzero(~stepped.over))
        if not len(rows):
            break
        tokens = rng.integers(task.vocabulary.num_actions, size=(len(rows), width))
        counts = rng.integers(1, width + 1, size=len(rows))
        result = appended.append(rows, tokens, counts)
        per_token, said = np.zeros((len(rows), width)), np.zeros(len(rows), int)
        last: dict = {}
        for place, row in enumerate(rows):
            for column in range(counts[place]):
                one = stepped.step([row], tokens[place, column : column + 1])
                per_token[place, column] = one.rewards[0]
                said[place] += 1
                last[place] = one
                if one.turn_ended[0] or one.truncated[0]:
                    break
        np.testing.assert_array_equal(result.per_token, per_token)
        np.testing.assert_array_equal(result.rewards, per_token.sum(axis=1))
        np.testing.assert_array_equal(result.said, said)
        credited = iter(result.token_rewards or [])
        for place, one in last.items():
            for name in ("terminated", "truncated", "turn_ended"):
                assert getattr(result, name)[place] == getattr(one, name)[0], name
            if one.turn_ended[0] and result.token_rewards is not None:
                np.testing.assert_array_equal(next(credited), (one.token_rewards or [None])[0])
        for row in range(num_rows):
            assert row_of(appended, row) == row_of(stepped, row)
        check_buffers(appended)


def play(engine, rng, steps):
    """Random tokens in row 0 until the episode ends; returns all that was seen."""
    seen = []
    for _ in range(steps):
        if engine.over[0]:
            break
        result = engine.step([0], rng.integers(engine.task.vocabulary.num_actions, size=1))
        seen.append((result.rewards[0], result.terminated[0], result.truncated[0], row_of(engine, 0)))
    return seen


def test_a_saved_row_goes_on_as_it_would_have(task):
    if not task.can_save_state:
        with pytest.raises(TokenGymError, match="can_save_state"):
            Engine(task, 1).get_state(0)
        return
    engine, other = Engine(task, 2), Engine(task, 3)
    engine.reset(None, starts(2))
    play(engine, np.random.default_rng(3), 2 if task.max_episode_tokens > 2 else 0)
    saved = engine.get_state(0)
    going_on = play(engine, np.random.default_rng(4), 30)
    other.reset(None, starts(3, seed=9))
    other.set_state(2, saved)
    assert other.get_state(2)["tokens"] == saved["tokens"]
    engine.set_state(0, saved)
    assert play(engine, np.random.default_rng(4), 30) == going_on
    other.set_state(0, saved)
    assert play(other, np.random.default_rng(4), 30) == going_on


def test_a_group_from_one_start_sees_one_prompt_and_the_same_draws(task):
    engine = Engine(task, 8)
    engine.reset(None, np.uint64(77))
    assert (engine.tokens == engine.tokens[0]).all()
    rng = np.random.default_rng(5)
    while not engine.over.any():
        result = engine.step(None, np.full(8, rng.integers(task.vocabulary.num_actions)))
        assert (result.rewards == result.rewards[0]).all()
        assert (engine.tokens == engine.tokens[0]).all()
    assert engine.over.all()


def test_no_episode_is_longer_than_the_task_says(task):
    engine = Engine(task, 16)
    engine.reset(None, starts(16))
    rng = np.random.default_rng(6)
    tokens = 0
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        result = engine.step(rows, rng.integers(task.vocabulary.num_actions, size=len(rows)))
        assert result.rewards.min() >= task.reward_range[0] and result.rewards.max() <= task.reward_range[1]
        tokens += 1
    assert tokens <= task.max_episode_tokens


def test_context_turn_shows_only_the_reply_and_the_tokens_since():
    task = Echo(context="turn", turns=2)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    name = task.vocabulary.names
    prompt = engine.lengths[0]
    engine.step(None, [1])
    assert engine.lengths[0] == prompt + 1
    result = engine.step(None, [3])
    assert result.turn_ended[0]
    assert name(engine.tokens[0, : engine.lengths[0]].tolist()) == ["<bos>", "stop", "1", ".", "."]
    engine.step(None, [2])
    assert name(engine.tokens[0, : engine.lengths[0]].tolist()) == ["<bos>", "stop", "1", ".", ".", "2"]
    result = engine.step(None, [3])
    assert result.terminated[0]
    assert name(engine.tokens[0, : engine.lengths[0]].tolist()) == ["<bos>", "stop", "2", ".", "."]


def test_a_full_context_truncates_and_keeps_what_fits_of_the_reply():
    engine = Engine(Echo(max_length=8), 1)
    engine.reset(None, [1])
    prompt = int(engine.lengths[0])
    result = engine.append(None, [[1, 2, 3]], [3])
    assert result.truncated[0] and result.turn_ended[0] and not result.terminated[0]
    assert engine.lengths[0] == 8
    reply = [3, 2, 1, 4, 4, 4]
    assert engine.tokens[0].tolist()[prompt:] == ([1, 2, 3, *reply])[: 8 - prompt]
    with pytest.raises(TokenGymError, match="no episode under way"):
        engine.step(None, [0])


def test_a_context_that_fills_inside_a_turn_truncates():
    engine = Engine(Echo(max_length=6), 1)
    engine.reset(None, [3])
    for _ in range(6 - engine.lengths[0] - 1):
        assert not engine.step(None, [0]).truncated[0]
    result = engine.step(None, [0])
    assert result.truncated[0] or result.terminated[0]
    assert engine.lengths[0] == 6


def test_a_prompt_that_does_not_fit_is_refused():
    engine = Engine(Echo(max_length=3), 8)
    with pytest.raises(TokenGymError, match="do not fit a context of 3"):
        engine.reset(None, starts(8))


def test_rows_whose_start_fails_have_no_episode_under_way_and_the_others_go_on(monkeypatch):
    engine = Engine(Echo(), 3)
    engine.reset(None, starts(3))

    def fail(*_):
        raise RuntimeError("no prompt today")

    with monkeypatch.context() as patch:
        patch.setattr(engine.task, "start", fail)
        with pytest.raises(RuntimeError, match="no prompt today"):
            engine.reset([0, 2], starts(2))
    assert engine.over.tolist() == [True, False, True]
    engine.step([1], [0])
    with pytest.raises(TokenGymError, match="row 2 has no episode under way"):
        engine.step([1, 2], [0, 0])
    engine.reset([2, 0], starts(2))
    assert not engine.over.any()


def test_the_end_of_the_task_wins_over_a_full_context():
    task = Weather(noise=0.0)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    while not engine.over[0]:
        result = engine.step(None, [0])
    assert result.terminated[0] and not result.truncated[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.step(None, [0, 1, 4]), "token 4 cannot be said: the agent's tokens are 0 … 3"),
        (lambda e: e.step(None, [0, -1, 0]), "token -1 cannot be said"),
        (lambda e: e.step(None, [0.0, 1.0, 2.0]), "tokens must be integers, got float64"),
        (lambda e: e.step(None, [True, True, True]), "tokens must be integers, got bool"),
        (lambda e: e.step(None, [0, 1]), r"tokens of shape \(2,\)"),
        (lambda e: e.step([0, 0], [0, 1]), "named only once"),
        (lambda e: e.step([2, 3], [0, 1]), "rows of this engine are 0 … 2"),
        (lambda e: e.step([1, -1], [0, 1]), "rows of this engine are 0 … 2"),
        (lambda e: e.step([0.5], [0]), "rows must be integers"),
        (lambda e: e.reset([0, 1], [1, 2, 3]), "starts for 2 rows"),
        (lambda e: e.reset(None, [-1, 0, 0]), "give integers in 0 …"),
        (lambda e: e.reset(None, 0.5), "give integers in 0 …"),
        (lambda e: e.append(None, [[0]] * 3, [1, 2, 1]), "each must be in 1 … 1"),
        (lambda e: e.append(None, [[0]] * 3, [0, 1, 1]), "each must be in 1 … 1"),
        (lambda e: e.append(None, [0, 0, 0], [1, 1, 1]), r"tokens of shape \(3, K\)"),
        (lambda e: e.append(None, [[0, 9]] * 3, [1, 2, 1]), "token 9 cannot be said"),
        (lambda e: e.get_state(3), "row 3 does not exist"),
        (lambda e: e.set_state(0, {"tokens": [1]}), "it lacks name, over, random, task"),
        (
            lambda e: e.set_state(0, e.get_state(1) | {"name": "Lattice"}),
            "this is a state of the task Lattice: give one of Echo",
        ),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(call, message):
    engine = Engine(Echo(), 3)
    engine.reset(None, starts(3))
    before = [row_of(engine, row) for row in range(3)]
    with pytest.raises(TokenGymError, match=message):
        call(engine)
    assert [row_of(engine, row) for row in range(3)] == before


def test_no_rows_are_a_batch_too(task):
    engine = Engine(task, 2)
    engine.reset([], [])
    assert engine.over.all()
    engine.reset(None, 3)
    before = [row_of(engine, row) for row in range(2)]
    result = engine.append([], np.zeros((0, 2), int), [])
    assert result.rewards.shape == result.terminated.shape == result.said.shape == (0,)
    assert [row_of(engine, row) for row in range(2)] == before


def test_an_engine_runs_tasks_and_nothing_else():
    with pytest.raises(TokenGymError, match="task='Lattice' is no Task: make one, for example with make_task"):
        Engine("Lattice", 1)  # type: ignore[arg-type]


def test_a_row_that_was_never_reset_cannot_be_stepped():
    with pytest.raises(TokenGymError, match="row 0 has no episode under way: reset it"):
        Engine(Echo(), 2).step(None, [0, 0])


@pytest.mark.parametrize("num_rows", [0, -1, 1.5, True, "3", 10**12])
def test_a_wrong_number_of_rows_is_refused(num_rows):
    with pytest.raises(TokenGymError, match="num_rows="):
        Engine(Echo(), num_rows)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("max_length", 0, "max_length=0 is too small"),
        ("max_length", 1, "leaves no room"),
        ("max_turn_tokens", -2, "max_turn_tokens=-2 is too small"),
        ("context", "book", "must be 'episode' or 'turn'"),
        ("vocabulary", None, "must be set to a Vocabulary"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(attribute, value, message):
    task = Echo()
    setattr(task, attribute, value)
    with pytest.raises(TokenGymError, match=message):
        Engine(task, 1)
