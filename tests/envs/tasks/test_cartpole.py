import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.tasks.control.cartpole import ANGLE_LIMIT, CartPole
from tokengym.envs.tasks.control.gym_task import Gym


def test_the_dynamics_equal_gymnasiums_to_the_last_bit():
    n = 16
    task = CartPole()
    engine = Engine(task, n)
    engine.reset(None, np.arange(n))
    inner = [gymnasium.make("CartPole-v1", disable_env_checker=True) for _ in range(n)]
    for row, env in enumerate(inner):
        env.reset(seed=row)
        env.unwrapped.state = engine._state["physics"][row].copy()
    rng = np.random.default_rng(0)
    steps = 0
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        # The odd rows balance, so that all 500 steps are compared; the others fall.
        actions = np.where(rows % 2, engine.expert(rows), rng.integers(2, size=len(rows)))
        result = engine.step(rows, actions)
        for index, row in enumerate(rows):
            observation, reward, terminated, truncated, _ = inner[row].step(int(actions[index]))
            physics = engine._state["physics"][row]
            assert physics.tobytes() == np.asarray(inner[row].unwrapped.state).tobytes()
            assert result.rewards[index] == reward
            assert (result.terminated[index], result.truncated[index]) == (terminated, truncated)
            shown = engine.tokens[row, 1 : engine.lengths[row]]
            np.testing.assert_array_equal(shown, task.grid.encode(observation[None])[0] + 2 + 16 * np.arange(4))
        steps += 1
    assert steps == 500


def test_it_tells_what_gym_tells_of_the_same_simulator():
    task = CartPole(bins=25)
    bounds = [2.4, 3.0, ANGLE_LIMIT, 3.0]
    wrapped = Gym("CartPole-v1", base=25, digits=1, low=[-bound for bound in bounds], high=bounds)
    one, other = Engine(task, 4), Engine(wrapped, 4)
    one.reset(None, np.arange(4))
    other.reset(None, np.arange(4))
    for row in range(4):
        other._state["env"][row].unwrapped.state = one._state["physics"][row].copy()
    rng = np.random.default_rng(0)
    for _ in range(8):
        actions = rng.integers(2, size=4)
        one.step(None, actions)
        other.step(None, actions)
        np.testing.assert_array_equal((one.tokens[:, 1:5] - 2) % 25, other.tokens[:, 1:5] - 2)


def test_a_linear_controller_on_the_dequantised_observation_holds_for_500_steps():
    task = CartPole()
    engine = Engine(task, 256)
    engine.reset(None, np.arange(256))
    returns = np.zeros(256)
    for _ in range(500):
        seen = task.read_observations(engine.tokens[:, 1:5])
        actions = (seen @ [0.1, 0.3, 3.0, 1.0] > 0).astype(np.int64)
        np.testing.assert_array_equal(actions, engine.expert())
        result = engine.step(None, actions)
        returns += result.rewards
    assert result.truncated.all() and not result.terminated.any()
    assert (returns == task.optimal_return).all()


def test_the_declared_random_return_holds():
    task = CartPole()
    engine, rng, returns = Engine(task, 4000), np.random.default_rng(1), np.zeros(4000)
    engine.reset(None, np.arange(4000))
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        returns[rows] += engine.step(rows, rng.integers(2, size=len(rows))).rewards
    assert abs(returns.mean() - task.random_return) < 4 * returns.std() / 4000**0.5


def test_starting_states_are_uniform_and_belong_to_their_start():
    engine = Engine(CartPole(), 2000)
    engine.reset(None, np.arange(2000))
    physics = engine._state["physics"].copy()
    assert (np.abs(physics) < 0.05).all()
    np.testing.assert_allclose(physics.std(axis=0), 0.1 / 12**0.5, rtol=0.05)
    engine.reset([7], [3])
    np.testing.assert_array_equal(engine._state["physics"][7], physics[3])


def test_it_passes_gymnasiums_check_and_saves_its_state():
    environment = gymnasium.make("tokengym/CartPole-v0").unwrapped
    check_env(environment)
    engine = Engine(CartPole(), 2)
    engine.reset(None, [0, 1])
    for _ in range(5):
        engine.step(None, [0, 1])
    engine.set_state(1, engine.get_state(0))
    for _ in range(5):
        engine.step(None, [1, 1])
    np.testing.assert_array_equal(engine._state["physics"][0], engine._state["physics"][1])


def test_the_time_limit_truncates():
    engine = Engine(CartPole(max_steps=3), 1)
    engine.reset(None, [0])
    results = [engine.step(None, [action]) for action in (0, 1, 0)]
    assert [bool(result.truncated[0]) for result in results] == [False, False, True]
    assert CartPole(max_steps=3).optimal_return is None


@pytest.mark.parametrize("arguments", [{"bins": 1}, {"bounds": [1, 1, 1]}, {"bounds": [1, 1, 1, 0]}, {"max_steps": 0}])
def test_bad_arguments_stop_at_the_door(arguments):
    with pytest.raises(TokenGymError):
        CartPole(**arguments)


def test_the_picture_tells_units_and_where_it_is_over():
    engine = Engine(CartPole(), 1)
    engine.reset(None, [3])
    x, v, angle, spin = engine._state["physics"][0]
    told = f"x {x:+.2f} m  v {v:+.2f} m/s  angle {angle:+.2f} rad  spin {spin:+.2f} rad/s; over at ±2.4, ±0.21"
    assert engine.picture(0).caption == told  # type: ignore[union-attr]
