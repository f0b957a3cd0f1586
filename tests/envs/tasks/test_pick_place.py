"""PickPlace: its rules on a hand-made episode, its optimum in closed form, its expert and its picture."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.control.pick_place import PickPlace


def engine_at(task, thing, goal):
    """An engine of one row whose episode has the object and the goal in the given cells."""
    engine = Engine(task, 1)
    wanted = task.vocabulary.encode([f"object{thing}", f"goal{goal}"])
    for start in range(5000):
        engine.reset(None, start)
        if engine.tokens[0, 2:4].tolist() == wanted:
            return engine
    raise AssertionError("no start has them there")


def say(engine, word):
    result = engine.step(None, engine.task.vocabulary.encode([word]))
    return engine.task.render_tokens(engine.tokens[0, : engine.lengths[0]]), float(result.rewards[0])


def test_an_episode_by_hand():
    engine = engine_at(PickPlace(), "0,1", "1,1")
    free = pytest.approx(-0.01, abs=1e-12)
    for word, seen in [
        ("up", "hand0,0 object0,1 goal1,1 empty"),  # off the grid
        ("grasp", "hand0,0 object0,1 goal1,1 empty"),  # nothing lies here
        ("release", "hand0,0 object0,1 goal1,1 empty"),  # nothing is held
        ("right", "hand0,1 object0,1 goal1,1 empty"),
        ("grasp", "hand0,1 object0,1 goal1,1 holding"),
        ("grasp", "hand0,1 object0,1 goal1,1 holding"),
        ("right", "hand0,2 object0,2 goal1,1 holding"),
        ("release", "hand0,2 object0,2 goal1,1 empty"),  # not the goal: it stays there
        ("down", "hand1,2 object0,2 goal1,1 empty"),
        ("up", "hand0,2 object0,2 goal1,1 empty"),
        ("grasp", "hand0,2 object0,2 goal1,1 holding"),
        ("down", "hand1,2 object1,2 goal1,1 holding"),
        ("left", "hand1,1 object1,1 goal1,1 holding"),
    ]:
        assert say(engine, word) == (seen, free), word
        assert not engine.over[0]
    assert say(engine, "release") == ("hand1,1 object1,1 goal1,1 empty", pytest.approx(0.99, abs=1e-12))
    assert engine.over[0]


def test_the_mask_allows_exactly_what_changes_something():
    task = PickPlace(size=3, num_steps=4)
    legal, arrays = task.arrays.legal, task.arrays
    assert legal is not None
    for index, (said, position) in enumerate(arrays.states):
        for action in range(6):
            (outcome,) = task.transitions((0, position), action)
            changes = outcome.state is None or outcome.state[1] != position
            assert legal[index, action] == changes, (said, position, action)


@pytest.mark.parametrize(("size", "num_steps"), [(2, 6), (3, 10), (3, 16), (4, 14), (4, 24)])
def test_the_optimum_is_the_closed_form(size, num_steps):
    optimum = 1 - 0.01 * (5 * size / 3 + 1)
    assert solve(PickPlace(size=size, num_steps=num_steps)).optimal_return == pytest.approx(optimum, abs=1e-9)


def test_in_three_tokens_only_an_object_in_the_corner_beside_the_goal_is_delivered():
    assert solve(PickPlace(num_steps=3)).optimal_return == pytest.approx(-0.03 + 2 / 240, abs=1e-12)


def test_the_deliveries_among_all_sequences_of_four_tokens_are_those_counted_by_hand():
    task = PickPlace(size=2, num_steps=4, step_cost=0.0)
    start = engine_at(task, "0,0", "0,1").get_state(0)
    words = np.arange(6**4)[:, None] // 6 ** np.arange(4) % 6
    engine = Engine(task, len(words))
    engine.reset(None, 0)
    for row in range(len(words)):
        engine.set_state(row, start)
    paid = np.zeros(len(words))
    for step in range(4):
        rows = np.flatnonzero(~engine.over)
        paid[rows] += engine.step(rows, words[rows, step]).rewards
    # Grasp, right, release and anything; or one of three idle tokens before the grasp (up, left, release), before the
    # move (up, left, grasp) or before the release (up, right, grasp).
    assert paid.sum() == 6 + 3 + 3 + 3


def test_the_expert_is_optimal():
    task = PickPlace()
    engine = Engine(task, 300)
    engine.reset(None, np.arange(300))
    first = engine.tokens[:, 1:4].copy()
    returns, steps = np.zeros(300), np.zeros(300)
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        actions = engine.expert(rows)
        assert engine.action_mask(rows)[np.arange(len(rows)), actions].all()
        returns[rows] += engine.step(rows, actions).rewards
        steps[rows] += 1
    thing, goal = (np.stack(np.divmod(first[:, 1 + k] - 6 - 16 * (1 + k), 4)) for k in range(2))
    shortest = np.abs(thing).sum(0) + np.abs(thing - goal).sum(0) + 2
    np.testing.assert_array_equal(steps, shortest)
    np.testing.assert_allclose(returns, 1 - 0.01 * shortest)


def test_starts_are_all_pairs_of_different_cells():
    task = PickPlace()
    starts = list(task.starts())
    assert len(starts) == 240 and {start.probability for start in starts} == {1 / 240}
    assert all(thing != goal for _, (_, thing, goal), _ in starts)


def test_the_picture_shows_the_hand_the_object_and_the_goal_also_after_the_end():
    engine = engine_at(PickPlace(), "0,1", "0,2")

    def picture():
        picture = engine.task.picture(engine._state, 0, engine.tokens[0, : engine.lengths[0]])
        assert picture is not None and len(picture.cells) == 4 and {len(row) for row in picture.cells} == {4}
        return [cell.text for cell in picture.cells[0]], picture.caption

    assert picture()[0] == ["( )", "o", "G", ""]
    say(engine, "right")
    say(engine, "grasp")
    assert picture() == (["", "(o)", "G", ""], "holding the object · ( ) hand, o object, G goal")
    say(engine, "right")
    say(engine, "release")
    assert engine.over[0]
    assert picture() == (["", "", "(o)", ""], "delivered · ( ) hand, o object, G goal")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 1}, "size=1.*2×2"),
        ({"size": 0}, "size=0"),
        ({"size": 9}, "size=9.*smaller grid"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"num_steps": 10_000}, "num_steps=10000.*fewer steps"),
        ({"step_cost": float("nan")}, "step_cost=nan"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        PickPlace(**arguments)
