"""FrozenLake and Taxi: they are Gymnasium's, step by step, and solved."""

import gymnasium
import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.control.toy_text import FrozenLake, Taxi

TAXI = max(name for name in gymnasium.registry if name.startswith("Taxi-v"))
PAIRS = [
    (FrozenLake, {}, "FrozenLake-v1"),
    (FrozenLake, {"is_slippery": False}, "FrozenLake-v1"),
    (FrozenLake, {"map_name": "8x8"}, "FrozenLake-v1"),
    (FrozenLake, {"desc": ["SFG", "HFS"], "success_rate": 0.8}, "FrozenLake-v1"),
    (Taxi, {}, TAXI),
    (Taxi, {"is_rainy": True}, TAXI),
]


@pytest.mark.parametrize(("task_class", "arguments", "env_id"), PAIRS)
def test_every_step_of_the_real_environment_is_one_of_the_task_s_outcomes(task_class, arguments, env_id):
    """Its probability is the one that Gymnasium tells, and so are reward, end, mask and what is shown."""
    task = task_class(**arguments, num_steps=60)
    limit = {"max_episode_steps": 60}
    env = gymnasium.make(env_id, disable_env_checker=True, **arguments, **limit)
    env.action_space.seed(0)
    arrays, steps = task.arrays, 0
    for seed in range(15):
        position, info = env.reset(seed=seed)
        starts = {start.state[1]: (start.probability, start.shown) for start in task.initial()}
        assert starts[position] == (env.unwrapped.initial_state_distrib[position], task.shown(position))
        said = 0
        ended = truncated = False
        while not (ended or truncated):
            index = arrays.states.index((said, position))
            if arrays.legal is not None:
                np.testing.assert_array_equal(arrays.legal[index], info["action_mask"])
            action = int(env.action_space.sample())
            position, reward, ended, truncated, info = env.step(action)
            said += 1
            over = ended or truncated
            found = [
                column
                for column in range(arrays.outcomes)
                if arrays.probability[index, action, column] == info["prob"]
                and arrays.reward[index, action, column] == reward
                and reply(arrays, arrays.reply[index, action, column]) == task.shown(position)
                and (arrays.next[index, action, column] == arrays.num_states) == over
                and (over or arrays.states[arrays.next[index, action, column]] == (said, position))
            ]
            assert found, (seed, said)
            steps += 1
    assert steps > 60


def reply(arrays, index):
    return tuple(arrays.reply_tokens[index, : arrays.reply_counts[index]].tolist())


def test_without_chance_an_episode_is_gymnasium_s():
    task = Taxi()
    env = gymnasium.make(TAXI, disable_env_checker=True)
    engine, rng = Engine(task, 1), np.random.default_rng(0)
    for seed in range(3):
        engine.reset(None, seed)
        env.reset(seed=0)
        _, env.unwrapped.s = task.state_of(engine._state, 0)
        over = False
        while not over:
            action = int(rng.integers(6))
            result = engine.step(None, [action])
            position, reward, ended, truncated, _ = env.step(action)
            over = ended or truncated
            assert (result.rewards[0], engine.over[0]) == (reward, over)
            assert tuple(engine.tokens[0, 1:5].tolist()) == task.shown(position)


def test_the_optimum_of_the_slippery_lake_is_value_iteration_on_gymnasium_s_table():
    table = gymnasium.make("FrozenLake-v1").unwrapped.P
    values = np.zeros(16)
    for _ in range(100):
        values = np.array(
            [
                max(sum(p * (r + (not end) * values[s]) for p, s, r, end in table[state][a]) for a in range(4))
                for state in range(16)
            ]
        )
    assert solve(FrozenLake()).optimal_return == pytest.approx(values[0], abs=1e-12)


def test_the_lake_of_one_step_in_closed_form():
    """From the start of `SG` the walker reaches the goal by `right` with the success rate, and by chance else."""
    for rate in (0.2, 1 / 3, 1.0):
        solution = solve(FrozenLake(desc=["SG"], success_rate=rate, num_steps=1))
        aside = (1 - rate) / 2
        assert solution.optimal_return == pytest.approx(max(rate, aside), abs=1e-12)
        assert solution.random_return == pytest.approx((rate + 2 * aside) / 4, abs=1e-12)


def test_scores_of_the_deterministic_tables():
    assert solve(FrozenLake(is_slippery=False)).optimal_return == pytest.approx(1, abs=1e-12)
    # Every start of Taxi by breadth-first search: 20 for the delivery, −1 for each token before it.
    taxi = gymnasium.make(TAXI).unwrapped
    distance = np.full(500, np.inf)
    for _ in range(40):
        for state, actions in taxi.P.items():
            for ((_, following, _, ended),) in actions.values():
                distance[state] = min(distance[state], 1 + (0 if ended else distance[following]))
    optimum = taxi.initial_state_distrib[np.isfinite(distance)] @ (21 - distance[np.isfinite(distance)])
    assert solve(Taxi(num_steps=40)).optimal_return == pytest.approx(optimum, abs=1e-9)


@pytest.mark.parametrize(("task", "least"), [(FrozenLake(), 0.66), (FrozenLake(is_slippery=False), 1.0), (Taxi(), 7.6)])
def test_the_expert_needs_no_clock_and_comes_near_the_optimum(task, least):
    engine = Engine(task, 1000)
    engine.reset(None, np.arange(1000))
    returns = np.zeros(1000)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        returns[rows] += engine.step(rows, engine.expert(rows)).rewards
    assert returns.mean() >= least


def test_the_pictures_show_the_map_and_where_one_is():
    lake = FrozenLake()
    picture = lake.picture_of(None, np.array([10, 4 + 3, 8 + 3]))
    assert [[cell.text for cell in row] for row in picture.cells][-1] == ["H", "", "", "@"]
    assert picture.caption == "reached the goal"
    taxi = Taxi()
    tokens = np.array([0, *taxi.vocabulary.encode(["row2", "column3", "at-Y", "to-B"])])
    picture = taxi.picture_of(None, tokens)
    assert [cell.text for cell in picture.cells[4]] == ["Yp", "", "", "", "", "", "B", "", ""]
    walls = [(y, x) for y in range(5) for x in range(9) if picture.cells[y][x].fill == "#40464d"]
    assert walls == [(0, 3), (1, 3), (3, 1), (3, 5), (4, 1), (4, 5)]
    assert picture.caption == "@ taxi; passenger p at Y, wants to B"
    assert [cell.text for row in picture.cells for cell in row].count("@") == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrozenLake("4x5"), "unknown map_name '4x5'.*4x4"),
        (lambda: FrozenLake(desc=["SF", "G"]), "equally long"),
        (lambda: FrozenLake(desc=[]), "equally long"),
        (lambda: FrozenLake(desc=["SF", "XG"]), "made of S, F, H and G"),
        (lambda: FrozenLake(desc=["FG"]), "at least one S"),
        (lambda: FrozenLake(success_rate=0), "success_rate=0"),
        (lambda: FrozenLake(num_steps=0), "num_steps=0"),
        (lambda: Taxi(num_steps=-1), "num_steps=-1"),
    ],
)
def test_bad_arguments_stop_at_the_door(make, message):
    with pytest.raises(TokenGymError, match=message):
        make()
