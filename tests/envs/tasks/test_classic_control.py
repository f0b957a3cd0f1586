"""MountainCar, Acrobot and Pendulum: Gymnasium's dynamics, quantised as declared, with controllers that solve them."""

import gymnasium
import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.tasks.control.classic_control import Acrobot, MountainCar, Pendulum
from tokengym.envs.tasks.control.gym_task import Gym

CASES = [(MountainCar, "MountainCar-v0"), (Acrobot, "Acrobot-v1"), (Pendulum, "Pendulum-v1")]


def action_of(task, token):
    return np.array([task.torques[token]]) if isinstance(task, Pendulum) else int(token)


@pytest.mark.parametrize(("task_class", "env_id"), CASES)
def test_every_step_equals_gymnasiums(task_class, env_id):
    n = 8
    task = task_class()
    engine = Engine(task, n)
    engine.reset(None, np.arange(n))
    inner = gymnasium.make(env_id, disable_env_checker=True).unwrapped
    inner.reset(seed=0)
    assert task.max_steps == gymnasium.spec(env_id).max_episode_steps
    rng, steps, ends = np.random.default_rng(0), 0, 0
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        # The even rows follow the controller, which comes to ends and extremes that chance does not.
        actions = np.where(rows % 2, rng.integers(task.vocabulary.num_actions, size=len(rows)), engine.expert(rows))
        before = engine._state["physics"][rows]
        result = engine.step(rows, actions)
        for index, row in enumerate(rows):
            inner.state = before[index].copy()
            observation, reward, terminated, _, _ = inner.step(action_of(task, actions[index]))
            np.testing.assert_allclose(engine._state["physics"][row], inner.state, rtol=0, atol=1e-12)
            assert result.rewards[index] == pytest.approx(reward, abs=1e-12)
            assert bool(result.terminated[index]) == terminated
            seen = task.observe(engine._state["physics"][row : row + 1])[0]
            np.testing.assert_allclose(seen, observation, rtol=1e-6, atol=1e-6)
        steps += 1
        ends += int(result.terminated.sum())
        assert (result.truncated == ((steps == task.max_steps) & ~result.terminated)).all()
    assert ends == 0 if task_class is Pendulum else ends >= n // 2


@pytest.mark.parametrize(("task_class", "env_id"), CASES)
def test_observations_are_the_nearest_points_of_the_grid(task_class, env_id):
    task = task_class(bins=33)
    engine = Engine(task, 50)
    engine.reset(None, np.arange(50))
    for _ in range(20):
        engine.step(None, engine.expert())
        seen = task.read_observations(engine.tokens[:, 1:-1])
        true = np.clip(task.observe(engine._state["physics"]), task.grid.low, task.grid.high)
        assert (np.abs(seen - true) <= (task.grid.high - task.grid.low) / 32 / 2 + 1e-6).all()


@pytest.mark.parametrize(
    ("task_class", "low", "high"),
    [
        (MountainCar, [-0.6, 0], [-0.4, 0]),
        (Acrobot, [-0.1] * 4, [0.1] * 4),
        (Pendulum, [-np.pi, -1], [np.pi, 1]),
    ],
)
def test_starting_states_are_uniform_and_belong_to_their_start(task_class, low, high):
    engine = Engine(task_class(), 3000)
    engine.reset(None, np.arange(3000))
    physics = engine._state["physics"].copy()
    low, high = np.array(low), np.array(high)
    assert (physics >= low - 1e-7).all() and (physics <= high + 1e-7).all()
    np.testing.assert_allclose(physics.mean(axis=0), (low + high) / 2, atol=0.05 * (high - low).max())
    np.testing.assert_allclose(physics.std(axis=0), (high - low) / 12**0.5, rtol=0.05)
    engine.reset([7], [3])
    np.testing.assert_array_equal(engine._state["physics"][7], physics[3])


@pytest.mark.parametrize(("task_class", "least"), [(MountainCar, -125), (Acrobot, -110), (Pendulum, -190)])
def test_the_controllers_solve_what_they_control(task_class, least):
    engine, returns = Engine(task_class(), 300), np.zeros(300)
    engine.reset(None, np.arange(300))
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        returns[rows] += engine.step(rows, engine.expert(rows)).rewards
    assert returns.mean() >= least


def test_pendulum_tells_what_gym_tells_of_the_same_simulator():
    task, wrapped = Pendulum(torques=5, bins=25), Gym("Pendulum-v1", base=5, digits=2)
    one, other = Engine(task, 3), Engine(wrapped, 3)
    one.reset(None, np.arange(3))
    other.reset(None, np.arange(3))
    for row in range(3):
        other._state["env"][row].unwrapped.state = one._state["physics"][row].copy()
    # Five torques by one token, and the same torques of 25 by two digits: 0, 6, 12, 18, 24.
    for torque in (0, 4, 2, 1, 3):
        one.step(None, np.full(3, torque))
        other.append(None, np.tile([torque * 6 // 5, torque * 6 % 5], (3, 1)), np.full(3, 2))
        seen = other.tokens[:, 1:7].reshape(3, 3, 2) @ [5, 1]
        np.testing.assert_array_equal((one.tokens[:, 1:4] - 5) % 25, seen)


def test_the_pictures_follow_the_bodies():
    task = Pendulum()
    engine = Engine(task, 2)
    engine.reset(None, [0, 1])
    engine._state["physics"][:] = [[0, 0], [np.pi, 0]]
    up, down = (task.picture(engine._state, row, engine.tokens[row]) for row in range(2))
    rod = up.cells[1][5].fill
    assert [row[5].fill == rod for row in up.cells] == [True] * 5 + [False] * 6
    assert [row[5].fill == rod for row in down.cells] == [False] * 6 + [True] * 5
    assert down.caption == "angle -3.14 rad (0 is up)  spin +0.00 rad/s"
    for task_class in (MountainCar, Acrobot):
        task = task_class()
        engine = Engine(task, 1)
        engine.reset(None, [0])
        before = task.picture(engine._state, 0, engine.tokens[0])
        for _ in range(40):
            engine.step(None, engine.expert())
        after = task.picture(engine._state, 0, engine.tokens[0])
        assert before.cells != after.cells and before.caption != after.caption


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MountainCar(bins=1), "bins=1"),
        (lambda: MountainCar(max_steps=0), "max_steps=0"),
        (lambda: Acrobot(spin_bounds=[1]), r"bounds=\[1\]: give 2 numbers above 0, one for each of spin1, spin2"),
        (lambda: Acrobot(spin_bounds=[1, 0]), "give 2 numbers above 0"),
        (lambda: Pendulum(torques=1), "torques=1: give at least 2"),
        (lambda: Pendulum(torques=0), "torques=0"),
    ],
)
def test_bad_arguments_stop_at_the_door(make, message):
    with pytest.raises(TokenGymError, match=message):
        make()
