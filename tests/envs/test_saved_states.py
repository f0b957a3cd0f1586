"""What `set_state` refuses: everything that is no state of the task, before anything has changed."""

import numpy as np
import pytest
from sample_tasks import MAKERS, SAMPLES, each, shared_task

from tokengym.envs import Engine, TokenEnv, TokenGymError, derive_start, make_task
from tokengym.envs.transforms import apply_transforms

WRONG = [-5, 0.7, "no", None, float("nan"), float("inf"), [], [1, 2], {}, 2**70, True, b"x", np.arange(3), object()]
NO_NUMBER = ["no", None, float("nan"), float("inf"), [], {}, b"x", object()]
TRANSFORMS = [
    {"name": "time_limit", "max_tokens": 5},
    {"name": "reward_delay", "tokens": 3},
    {"name": "reward_noise", "sigma": 0.5},
    {"name": "redistribute", "weights": None},
]


def leaves(state, path=()):
    """The places of a nested state, and what stands there."""
    for key, value in state.items():
        yield (*path, key), value
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))


def changed(state, path, value):
    new = inside = dict(state)
    for key in path[:-1]:
        inside[key] = inside = dict(inside[key])
    if value is KeyError:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return new


def wrong_for(path, value):
    """What cannot stand in a place, whatever the task."""
    name = path[-1]
    if name in ("name", "task", "own", "random", "engine"):
        return WRONG
    if name == "tokens" and path[-2] == "engine":
        return [wrong for wrong in WRONG if not isinstance(wrong, (list, np.ndarray)) or not len(wrong)]
    if name == "over":
        return [wrong for wrong in WRONG if wrong is not True]
    if name in ("reward", "seed", "spec"):
        return [wrong for wrong in NO_NUMBER if wrong is not None]
    if isinstance(value, (float, np.floating)) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
        return NO_NUMBER
    if isinstance(value, np.ndarray):
        return [*NO_NUMBER, np.full(value.shape, 0.5), np.full(value.shape, -1), np.zeros((*value.shape, 1), np.int64)]
    if isinstance(value, (int, np.integer)):
        # A number of a task's own has no limits where nobody has declared them: `turns` of the sample task.
        return [*NO_NUMBER, 0.7, *([] if name == "turns" else [-5]), *([] if name == "episode" else [2**70])]
    return NO_NUMBER


def env_in_mid_episode(task):
    env = TokenEnv(task, action_masks=True)
    env.reset(seed=0)
    env.step(0)
    return env


def seen(env):
    engine = env.engine
    arrays = {name: array for name, array in engine._state.items() if name != "env"}
    return repr((arrays, engine.tokens.tolist(), engine.lengths.tolist(), engine.over, engine._random.get_row(0)))


def assert_refused(env, state):
    before = seen(env)
    with pytest.raises(TokenGymError):
        env.set_state(state)
    assert seen(env) == before


@pytest.mark.parametrize("name", each(MAKERS))
def test_wrong_values_are_refused_everywhere_and_leave_everything_as_it_was(name):
    env = env_in_mid_episode(shared_task(name))
    state = env.get_state()
    for path, value in leaves(state):
        if "spec" in path[:-1]:
            continue
        for wrong in wrong_for(path, value):
            assert_refused(env, changed(state, path, wrong))
        if path[-1] != "spec":
            assert_refused(env, changed(state, path, KeyError))
    env.set_state(state)
    assert env.get_state()["engine"]["tokens"] == state["engine"]["tokens"]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform["name"])
@pytest.mark.parametrize("name", ["echo", "echo-turn", "TextGeneration", "Wordle"])
def test_the_numbers_of_transforms_are_checked_as_well(name, transform):
    if transform["name"] == "redistribute" and name == "Wordle":
        transform = {**transform, "weights": {"a": 2.0}}
    env = env_in_mid_episode(apply_transforms(shared_task(name), [transform]))
    state = env.get_state()
    own = [(path, value) for path, value in leaves(state) if "own" in path]
    assert len(own) > 1
    for path, value in own:
        for wrong in [*wrong_for(path, value), KeyError]:
            assert_refused(env, changed(state, path, wrong))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("tokens", [-5], "must lie in 0 … "),
        ("tokens", [0.7], "must be a list of token ids"),
        ("tokens", [[1], [1, 2]], "must be a list of token ids"),
        ("tokens", [], "must be a list of token ids"),
        ("tokens", [0, 1], "all begin with bos"),
        ("tokens", [9] * 99, "of 6 at most"),
        ("over", "no", "over='no': it must be True or False"),
        ("random", {"start": 0, "position": 2**64}, "must be below 2\\*\\*64"),
        ("random", {"start": 0}, "it lacks position"),
        ("task", {"state": -1, "turn_position": 0}, "must lie in 0 … "),
        ("task", {"state": np.nan, "turn_position": 0}, "must be whole numbers"),
        ("task", {"state": 0, "turn_position": [0, 0]}, "must be whole numbers of shape"),
        ("task", {"state": 0, "turn_position": 0, "more": 1}, "it has 'more' too many"),
        ("name", ["Copy"], "this is a state of the task"),
    ],
)
def test_the_message_says_what_was_expected(part, value, message):
    engine = Engine(make_task("Copy"), 2)
    engine.reset(None, 0)
    before = repr([engine.get_state(row) for row in (0, 1)])
    with pytest.raises(TokenGymError, match=message):
        engine.set_state(1, engine.get_state(0) | {part: value})
    assert repr([engine.get_state(row) for row in (0, 1)]) == before


def test_a_state_of_a_task_made_otherwise_is_refused():
    long, short = (Engine(make_task("Copy", k=k), 1) for k in (3, 2))
    for engine in (long, short):
        engine.reset(None, 0)
    with pytest.raises(TokenGymError, match=r"'k': 2.*'k': 3"):
        long.set_state(0, short.get_state(0))


def test_an_ended_state_may_be_at_the_end_but_one_under_way_may_not():
    engine = Engine(SAMPLES["weather"](), 1)
    engine.reset(None, 0)
    engine.step(None, [2])  # which ends the episode
    ended = engine.get_state(0)
    engine.set_state(0, ended)
    with pytest.raises(TokenGymError, match="'state'"):
        engine.set_state(0, ended | {"over": False})


def test_a_task_whose_own_restoring_fails_is_put_back():
    class Fragile(type(SAMPLES["echo"]())):
        def save(self, state, row):
            return {"whole": super().save(state, row)}

        def restore(self, state, row, saved):
            state["turns"][row] = -1
            super().restore(state, row, saved["whole"])

    engine = Engine(Fragile(), 2)
    engine.reset(None, derive_start(1, np.arange(2)))
    state = engine.get_state(0)
    before = repr(engine.get_state(1))
    with pytest.raises(TokenGymError, match="cannot go on from this state: KeyError"):
        engine.set_state(1, state | {"task": {}})
    assert repr(engine.get_state(1)) == before
    engine.set_state(1, state)
    assert repr(engine.get_state(1)) == repr(state)


@pytest.mark.parametrize("row", [-1, 2, 0.0, "0", None, True, [0]])
@pytest.mark.parametrize("method", ["get_state", "picture", "frame"])
def test_a_row_that_there_is_not_is_refused(method, row):
    with pytest.raises(TokenGymError, match="row"):
        getattr(Engine(make_task("Lattice"), 2), method)(row)
