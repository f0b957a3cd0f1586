"""Robots simulated by MuJoCo: they are the wrapped environments, quantised, and their controllers work."""

import gymnasium
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra 'mujoco' is not installed")

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.registration import make_task
from tokengym.envs.tasks.control.mujoco_tasks import FetchReach, InvertedPendulum, Reacher


def robot(task_class, **arguments):
    if task_class is FetchReach:
        pytest.importorskip("gymnasium_robotics", reason="the extra 'robotics' is not installed")
    return task_class(**arguments)


@pytest.mark.parametrize(
    ("task_class", "env_id", "sizes"),
    [
        # Tokens that can be said, tokens a turn, values shown, turns.
        (InvertedPendulum, "InvertedPendulum-v5", (33, 1, 4, 1000)),
        (Reacher, "Reacher-v5", (32, 2, 10, 50)),
        (FetchReach, "FetchReach-v4", (65, 4, 16, 50)),
    ],
)
def test_an_episode_is_that_of_the_wrapped_robot(task_class, env_id, sizes):
    task = robot(task_class)
    num_actions, turn, width, limit = sizes
    assert (task.vocabulary.num_actions, task.max_turn_tokens) == (num_actions, turn)
    assert (task.max_length, task.max_episode_tokens) == (1 + width + turn, limit * turn)
    engine = Engine(task, 1)
    engine.reset(None, [5])
    seed = int(np.random.default_rng(0).integers(100))
    other = gymnasium.make(env_id, disable_env_checker=True)
    engine._state["env"][0].reset(seed=seed)
    other.reset(seed=seed)
    assert other.spec.max_episode_steps == limit
    rng, over = np.random.default_rng(1), False
    while not over:
        tokens = rng.integers(num_actions, size=(1, turn))
        result = engine.append(None, tokens, [turn])
        # Each token is a point between the bounds of its component.
        space = other.action_space
        action = space.low + tokens[0] / (num_actions - 1) * (space.high - space.low)
        observation, reward, terminated, truncated, _ = other.step(action.astype(np.float32))
        assert result.rewards[0] == pytest.approx(float(reward), abs=1e-6)
        assert (bool(result.terminated[0]), bool(result.truncated[0])) == (terminated, truncated)
        parts = [observation]
        if isinstance(observation, dict):
            parts = [observation[key] for key in other.observation_space.spaces]
        grid = task._observation.grid
        true = np.clip(np.concatenate([np.ravel(part) for part in parts]), grid.low, grid.high)
        seen = task.read_observations(engine.tokens[:, 1 : 1 + width])[0]
        assert (np.abs(seen - true) <= (grid.high - grid.low) / (grid.bins - 1) / 2 + 1e-6).all()
        over = terminated or truncated


@pytest.mark.parametrize(
    ("task_class", "arguments", "episodes", "least"),
    [
        (InvertedPendulum, {"max_episode_steps": 300}, 3, 300),
        (Reacher, {}, 10, -15),
        (FetchReach, {}, 4, -5),
        (FetchReach, {"dense": True}, 4, -2),
    ],
)
def test_a_controller_that_sees_only_the_tokens_does_well_and_chance_does_not(task_class, arguments, episodes, least):
    task = robot(task_class, **arguments)
    engine, rng = Engine(task, episodes), np.random.default_rng(0)
    means = []
    for player in ("expert", "chance"):
        engine.reset(None, np.arange(episodes))
        returns = np.zeros(episodes)
        while not engine.over.all():
            rows = np.flatnonzero(~engine.over)
            drawn = rng.integers(task.vocabulary.num_actions, size=len(rows))
            returns[rows] += engine.step(rows, engine.expert(rows) if player == "expert" else drawn).rewards
        means.append(returns.mean())
    assert means[0] >= least and means[0] > means[1] + 1
    assert task.optimal_return in (None, least), "a declared optimum is one that the expert gets"


def test_equal_starts_give_equal_episodes():
    engine = Engine(robot(Reacher), 3)
    engine.reset(None, [4, 4, 5])
    for token in (3, 30, 12, 7):
        engine.step(None, [token] * 3)
        np.testing.assert_array_equal(engine.tokens[0], engine.tokens[1])
    assert (engine.tokens[0] != engine.tokens[2]).any()


def test_the_dense_variant_pays_by_the_distance():
    pytest.importorskip("gymnasium_robotics", reason="the extra 'robotics' is not installed")
    engine = Engine(make_task("FetchReach-dense"), 1)
    engine.reset(None, [0])
    result = engine.append(None, [[32, 32, 32, 32]], [4])
    shown = engine._state["env"][0].unwrapped._get_obs()
    assert result.rewards[0] == pytest.approx(-np.linalg.norm(shown["achieved_goal"] - shown["desired_goal"]), abs=1e-6)


@pytest.mark.parametrize("arguments", [{"bins": 1}, {"bins": 0}, {"max_episode_steps": 0}])
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(TokenGymError, match=next(iter(arguments))):
        Reacher(**arguments)


@pytest.mark.parametrize("task_class", [InvertedPendulum, Reacher, FetchReach])
def test_the_legend_names_what_is_seen_and_every_token_of_a_turn(task_class):
    task = robot(task_class)
    engine = Engine(task, 1)
    engine.reset(None, [5])
    seen = task.read_observations(engine.tokens[:, 1 : 1 + len(task.value_names)])[0]
    for name in task.component_names:
        told, asked = task.legend(engine.tokens[0, : engine.lengths[0]])
        assert all(
            f"{value} {number:.3g}" in told for value, number in zip(task.value_names, seen, strict=True) if value
        )
        low, high = task._action.ends
        assert asked == f"next: {name}; 0 … {task.vocabulary.num_actions - 1} stand for {low[0]:g} … {high[0]:g}"
        engine.step(None, [0])
    assert len(task.component_names) == task.max_turn_tokens


def test_the_pictures_of_robots_follow_what_is_seen():
    def places(picture):
        cells = {cell.text: (x, -y) for y, row in enumerate(picture.cells) for x, cell in enumerate(row) if cell.text}
        return cells, picture.caption

    cells, caption = places(robot(Reacher).drawn(np.array([0, 1, 1, 0, -0.2, 0, 0, 0, 0.2, 0.2])))
    # The stretched arm points up, and the target lies to the left.
    assert cells["●"][0] == cells["+"][0] and cells["●"][1] > cells["+"][1]
    assert cells["T"][1] == cells["+"][1] and cells["T"][0] < cells["+"][0]
    assert caption.endswith("about 0.28 m away")

    def top_of_the_pole(angle):
        top = robot(InvertedPendulum).drawn(np.array([0, angle, 0, 0])).cells[1]
        return next(x for x, cell in enumerate(top) if cell.fill == "#c98a4b")

    assert top_of_the_pole(-0.1) < top_of_the_pole(0) == 7 < top_of_the_pole(0.1)

    middle = np.array([1.342, 0.749, 0.555])
    picture = robot(FetchReach).drawn(np.concatenate([middle, middle + np.array([0.1, 0.15, -0.15]), np.zeros(10)]))
    grids = [tuple(row[:9] for row in picture.cells), tuple(row[10:] for row in picture.cells)]
    above, height = (
        {cell.text: (x, -y) for y, row in enumerate(grid) for x, cell in enumerate(row) if cell.text} for grid in grids
    )
    assert above["@"] == (4, -4) and above["G"][0] > 4 and above["G"][1] > -4
    assert height["G"][1] < height["@"][1] == -4
    assert picture.caption.endswith("about 0.23 m away")
