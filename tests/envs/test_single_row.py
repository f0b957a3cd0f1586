"""One row in plain Python numbers is the same row in arrays: tokens, rewards, ends, draws, states, masks and errors."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_tasks import INSTALLED, MAKERS, Weather, each, shared_task

from tokengym.envs import CounterRandom, Engine, FiniteTask, TokenEnv, TokenGymError, derive_start
from tokengym.envs.transforms import apply_transforms

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}
TRANSFORMS = [
    {"name": "time_limit", "max_tokens": 3},
    {"name": "reward_noise", "sigma": 0.5},
    {"name": "reward_scale", "scale": -2.0},
    {"name": "reward_delay", "tokens": 2},
    {"name": "redistribute"},
]


def seen(engine, row=0):
    """All that a row of an engine is made of."""
    kept = {name: array[row].tolist() for name, array in engine._state.items() if array.dtype != object}
    drawn = engine._random.get_row(row)
    return engine.tokens[row].tolist(), int(engine.lengths[row]), bool(engine.over[row]), drawn, kept


def says(engine, rng):
    """Sometimes the expert's token, where there is one, to come further than chance does."""
    expert = engine.expert()
    if expert is not None and rng.random() < 0.7:
        return expert[0]
    return rng.integers(engine.task.vocabulary.num_actions)


def assert_equal_step(env, engine, action):
    observation, reward, terminated, truncated, info = env.step(action)
    result = engine.step(None, np.array([action]))
    assert (reward, terminated, truncated) == (result.rewards[0], result.terminated[0], result.truncated[0])
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
    assert env.turn_ended is bool(result.turn_ended[0])
    credited = result.token_rewards[0] if result.token_rewards else None
    assert ("token_rewards" in info) is (credited is not None)
    if credited is not None:
        assert info["token_rewards"][: len(credited)].tolist() == credited.tolist()
    np.testing.assert_array_equal(info["action_mask"], engine.action_mask()[0])
    np.testing.assert_array_equal(observation["tokens"], engine.tokens[0])
    np.testing.assert_array_equal(observation["length"], engine.lengths)
    assert seen(env.engine) == seen(engine)
    return terminated or truncated


def assert_equal_episodes(task, episodes=4, tokens=40, seed=3):
    env, engine, rng = TokenEnv(task, action_masks=True), Engine(task, 1), np.random.default_rng(seed)
    for episode in range(episodes):
        env.reset(seed=seed if episode == 0 else None)
        engine.reset(None, derive_start(seed, episode))
        assert seen(env.engine) == seen(engine)
        for _ in range(tokens):
            if assert_equal_step(env, engine, says(engine, rng)):
                break
    return env, engine


@pytest.mark.parametrize("name", each(sorted({*INSTALLED, *MAKERS})))
def test_single_environments_are_the_engine_to_the_bit(name):
    assert_equal_episodes(shared_task(name))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform["name"])
@pytest.mark.parametrize("name", ["Copy", "FrozenLake-deterministic", "Sort", "Wordle", "echo", "echo-turn"])
def test_under_transforms_as_well(name, transform):
    assert_equal_episodes(apply_transforms(shared_task(name), [transform]))


@pytest.mark.parametrize("name", ["SlipLock", "TokenBandit-noise", "Pendulum", "TicTacToe", "Sort", "Taxi-rainy"])
def test_after_states_were_set_and_copies_made(name):
    env, engine = assert_equal_episodes(shared_task(name), episodes=1, tokens=0)
    rng = np.random.default_rng(0)
    assert_equal_step(env, engine, 0) and (env.reset(), engine.reset(None, derive_start(3, 1)))
    state, before = env.get_state(), engine.get_state(0)
    for way in (None, *COPIES):
        env = COPIES[way](env) if way else env
        for _ in range(5):
            if assert_equal_step(env, engine, says(engine, rng)):
                break
        env.set_state(state)
        engine.set_state(0, before)
        assert seen(env.engine) == seen(engine)


def test_observations_that_were_handed_out_stay_as_they_are():
    env = TokenEnv(shared_task("Lattice"))
    first, _ = env.reset(seed=0)
    kept = first["tokens"].tolist(), first["length"].tolist()
    env.step(2)
    env.reset()
    assert (first["tokens"].tolist(), first["length"].tolist()) == kept


@pytest.mark.parametrize("name", [*MAKERS, "FrozenLake", "Wordle", "CartPole"])
def test_one_row_of_several_leaves_the_others_alone(name):
    single, batch = (Engine(shared_task(name), 3) for _ in range(2))
    rng = np.random.default_rng(1)
    for engine in (single, batch):
        engine.reset(None, [7, 8, 9])
    for time in range(30):
        for row in np.flatnonzero(single.over).tolist():
            single.reset_row(row, 10 + time)
            batch.reset([row], [10 + time])
        actions = rng.integers(single.task.vocabulary.num_actions, size=3)
        if time % 3 == 2:
            single.step(None, actions)
        else:
            for row in (1, 0, 2):
                single.step_row(row, int(actions[row]))
        batch.step(None, actions)
        assert [seen(single, row) for row in range(3)] == [seen(batch, row) for row in range(3)]


WRONG = [-1, 10**6, 2**70, 0.0, True, "a", None, [0, 1], np.float64(1), np.array([0]), np.uint64(2**63)]


@pytest.mark.parametrize("action", WRONG, ids=repr)
def test_wrong_actions_are_refused_in_the_same_words_and_change_nothing(action):
    task = shared_task("SlipLock")
    env, engine = TokenEnv(task), Engine(task, 1)
    env.reset(seed=0)
    before = seen(env.engine)
    engine.reset(None, derive_start(0, 0))
    with pytest.raises(TokenGymError) as ours:
        env.step(action)
    with pytest.raises(TokenGymError) as theirs:
        engine.step(None, np.asarray(action)[None])
    assert str(ours.value) == str(theirs.value)
    assert seen(env.engine) == before


@pytest.mark.parametrize("action", [1, np.int64(1), np.int32(1), np.uint8(1), np.array(1)], ids=repr)
def test_whole_numbers_of_every_kind_are_taken(action):
    task = shared_task("Lattice")
    env, engine = TokenEnv(task, action_masks=True), Engine(task, 1)
    env.reset(seed=0)
    engine.reset(None, derive_start(0, 0))
    assert_equal_step(env, engine, action)


def test_no_token_before_the_reset_nor_after_the_end():
    env = TokenEnv(shared_task("TokenBandit"))
    with pytest.raises(TokenGymError, match="row 0 has no episode under way"):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(TokenGymError, match="row 0 has no episode under way"):
        env.step(0)


@pytest.mark.parametrize(("row", "start"), [(1, 0), (-1, 0), (0, -1), (0, 2**64), (0, 0.5), ("a", 0)])
def test_wrong_rows_and_starts_are_refused(row, start):
    engine = Engine(shared_task("Lock"), 1)
    with pytest.raises(TokenGymError):
        engine.reset_row(row, start)
    engine.reset_row(0, 1)
    if row != 0:
        with pytest.raises(TokenGymError):
            engine.step_row(row, 0)


class Long(Weather):
    """A prompt that leaves no room."""

    max_length = 3

    def start_row(self, state, row, random):
        return [5, 5, 5]


def test_a_prompt_without_room_ends_what_was_under_way():
    engine = Engine(shared_task("echo"), 1)
    engine.reset_row(0, 0)
    engine.task = Long()
    with pytest.raises(TokenGymError, match="the prompt of start 4 has 3 tokens"):
        engine.reset_row(0, 4)
    assert engine.over.tolist() == [True] and engine._num_over == 1


class Doubled(Weather):
    """Overrides what batches do, and says nothing of single rows."""

    def advance(self, state, rows, actions, random):
        outcome = super().advance(state, rows, actions, random)
        return outcome._replace(rewards=2 * outcome.rewards + 1)


class Halving:
    def advance(self, state, rows, actions, random):
        outcome = super().advance(state, rows, actions, random)  # type: ignore[misc]
        return outcome._replace(rewards=0.5 * outcome.rewards)


class Halved(Halving, Doubled):
    """By a class that is no task itself."""


@pytest.mark.parametrize("kind", [Doubled, Halved])
def test_a_method_overridden_for_batches_alone_holds_for_single_rows(kind):
    assert issubclass(kind, FiniteTask)
    assert_equal_episodes(kind())


@given(start=st.integers(0, 2**64 - 1), draws=st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_row_draws_what_a_batch_draws(start, draws):
    single, batch = CounterRandom(2), CounterRandom(2)
    rows = np.array([1])
    single.seed_row(1, start)
    batch.seed_rows(rows, np.array([start], np.uint64))
    for normal in draws:
        ours = single.normal_row(1) if normal else single.uniform_row(1)
        theirs = (batch.normal if normal else batch.uniform)(rows, 1)[0, 0]
        assert ours == theirs and type(ours) is float
    assert [single.get_row(row) for row in range(2)] == [batch.get_row(row) for row in range(2)]


@pytest.mark.parametrize("name", ["CartPole", "MountainCar", "Acrobot", "Pendulum"])
@given(unit=st.lists(st.floats(-1, 1), min_size=4, max_size=4), pick=st.integers(0, 100))
def test_one_body_moves_as_a_batch_of_one_does(name, unit, pick):
    task = shared_task(name)
    width = task.make_state(1)["physics"].shape[1]
    physics, action = [9 * value for value in unit[:width]], pick % task.vocabulary.num_actions
    after, reward, ended = task.move_row(physics, action)
    batch, rewards, ends = task.move(np.array([physics]), np.array([action]))
    assert (list(after), reward, ended) == (batch[0].tolist(), rewards[0], ends[0])
    assert list(task.observe_row(after)) == task.observe(batch)[0].tolist()
    assert task.grid.encode_row(task.observe_row(after)) == task.grid.encode(task.observe(batch))[0].tolist()
