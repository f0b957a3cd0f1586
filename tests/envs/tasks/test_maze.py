"""The maze: shortest ways, what the partly observed form costs, hand-played episodes, bad input."""

import numpy as np
import pytest

from tokengym.envs import Engine, TokenGymError, make_task, solve
from tokengym.envs.tasks.games.maze import DOUBLE_T, Maze


def test_the_double_t_maze_has_25_starts_and_its_goal_at_the_foot():
    task = Maze()
    assert len(task.starts) == 25 and task.goal == (8, 6) and len(DOUBLE_T) == 10
    assert task.distances[8, 6] == 0 and task.distances[7, 6] == 1 and max(task.distances.values()) == 12


def test_the_optimum_is_the_shortest_way_from_every_start():
    task = Maze()
    solution = solve(task)
    lengths = np.array([task.distances[cell] for cell in task.starts])
    assert solution.optimal_return == pytest.approx(-(lengths - 1).mean(), abs=1e-9)
    assert solution.optimal_return == pytest.approx(-6.84, abs=1e-9)
    assert solution.optimal_variance == pytest.approx(lengths.var(), abs=1e-9)


def random_return(task, masked):
    """Mean return of random moves, by walking the distribution over cells forward."""
    chances, total = dict.fromkeys(task.starts, 1 / len(task.starts)), 0.0
    for _ in range(task.max_moves):
        following = {}
        for cell, chance in chances.items():
            ways = task._ways(cell)
            share = chance / (len(ways) if masked else 4)
            if not masked:
                total += -4 * share * (4 - len(ways))
                following[cell] = following.get(cell, 0) + share * (4 - len(ways))
            for after in ways.values():
                if after != task.goal:
                    total -= share
                    following[after] = following.get(after, 0) + share
        chances = following
    return total


@pytest.mark.parametrize("observed", ["full", "partial"])
@pytest.mark.parametrize("masked", [False, True])
def test_random_moves_get_what_a_random_walk_gets(observed, masked):
    task = Maze(observed)
    assert solve(task, masked=masked).random_return == pytest.approx(random_return(task, masked), abs=1e-9)


def test_not_seeing_the_position_costs_what_it_takes_to_find_out():
    full, partial = solve(Maze()), solve(Maze("partial"))
    assert partial.optimal_return == pytest.approx(-7.24, abs=1e-9)
    assert partial.optimal_return < full.optimal_return
    # Where no two cells look alike there is nothing to find out.
    corner = {"layout": ["00", "10"], "goal": (1, 1), "max_moves": 5}
    assert solve(Maze("partial", **corner)).optimal_return == solve(Maze(**corner)).optimal_return == -0.5


def test_cells_that_look_alike_are_told_apart_by_what_came_before():
    """In a corridor of five with its goal in the middle, both inner cells show the same; the ends tell the side."""
    corridor = {"layout": ["00000"], "goal": (0, 2), "max_moves": 6}
    assert solve(Maze(**corridor)).optimal_return == pytest.approx(-(1 + 0 + 0 + 1) / 4, abs=1e-12)
    # From an inner cell one way is the goal, the other an end, from which it is two more steps to the goal: 0 or −2.
    assert solve(Maze("partial", **corridor)).optimal_return == pytest.approx(-(1 + 0 + 2 + 1) / 4, abs=1e-12)


def walk(task, moves, cell):
    engine = Engine(task, 1)
    start = next(s for s in range(500) if _first_cell(engine, s) == cell)
    engine.reset(None, np.array([start], np.uint64))
    results = [engine.step(None, task.vocabulary.encode([move])) for move in moves]
    return engine, results


def _first_cell(engine, start):
    engine.reset(None, np.array([start], np.uint64))
    return engine.task.state_of(engine._state, 0)[1]


def test_a_walk_by_hand_with_the_position():
    engine, results = walk(Maze(), ["left", "down", "down"], (6, 6))
    assert [float(result.rewards[0]) for result in results] == [-4, -1, 0]
    assert [bool(result.terminated[0]) for result in results] == [False, False, True]
    assert engine.task.render_tokens(engine.tokens[0, :3]) == "r8 c6"
    picture = engine.task.picture(engine._state, 0, engine.tokens[0, :3])
    assert picture.caption == "at the goal, row 8, column 6"
    assert len(picture.cells) == 10 and {len(row) for row in picture.cells} == {13}
    assert picture.cells[8][6].text == "@"


def test_a_walk_by_hand_with_the_walls():
    engine, results = walk(Maze("partial"), ["left", "down", "down"], (6, 6))
    assert [float(result.rewards[0]) for result in results] == [-4, -1, 0]
    text = engine.task.render_tokens(engine.tokens[0, : engine.lengths[0]])
    assert text == "walls-LR left walls-LR down walls-LR down walls-DLR"
    picture = engine.task.picture(engine._state, 0, engine.tokens[0, : engine.lengths[0]])
    wall, free = picture.cells[2][1].fill, picture.cells[0][1].fill
    assert picture.caption == "3 moves made" and wall != free
    assert [picture.cells[1][0].fill, picture.cells[1][2].fill, picture.cells[1][1].text] == [wall, wall, "@"]


def test_masks_are_the_moves_without_a_wall():
    engine, _ = walk(Maze("partial"), [], (5, 6))
    assert engine.action_mask()[0].tolist() == [False, True, True, True]


def test_the_clock_ends_the_episode():
    _, results = walk(Maze(max_moves=3), ["up", "up", "up"], (6, 6))
    assert results[-1].terminated[0] and not results[-1].truncated[0]
    assert Maze().max_episode_tokens == 100 and Maze("partial").max_length == 202


def test_the_expert_takes_a_shortest_way():
    task = Maze()
    engine = Engine(task, 200)
    engine.reset(None, np.arange(200, dtype=np.uint64))
    expected = [1 - task.distances[task.state_of(engine._state, row)[1]] for row in range(200)]
    total = np.zeros(200)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        total[rows] += engine.step(rows, engine.expert(rows)).rewards
    assert total.tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observed": "partly"}, "observed='partly': expected 'full' or 'partial'"),
        ({"max_moves": 0}, "max_moves=0 is too small"),
        ({"max_moves": 10**6}, "more than 200000 states"),
        ({"layout": "000"}, "equally long strings"),
        ({"layout": []}, "equally long strings"),
        ({"layout": ["00", "0"]}, "equally long strings"),
        ({"layout": ["0x"]}, "equally long strings"),
        ({"goal": (0, 0)}, "of a free cell"),
        ({"goal": 8}, "of a free cell"),
        ({"layout": ["010"], "goal": (0, 0)}, r"cannot be reached from \(0, 2\)"),
        ({"layout": ["1011"], "goal": (0, 1)}, "no free cell but the goal"),
    ],
)
def test_impossible_mazes_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        make_task("Maze", **arguments)


def test_steps_and_walls_cost_what_is_asked():
    task = Maze(step_cost=0.5, wall_cost=0.25)
    lengths = np.array([task.distances[cell] for cell in task.starts])
    assert solve(task).optimal_return == pytest.approx(-0.5 * (lengths - 1).mean(), abs=1e-9)
    assert task.reward_range == (-0.5, 0.0)
    rewards = task.arrays.reward[task.arrays.probability > 0]
    assert set(rewards.tolist()) == {-0.5, -0.25, 0.0}
    for name in ("step_cost", "wall_cost"):
        with pytest.raises(TokenGymError, match=name):
            Maze(**{name: -1.0})
