"""Lattice: its dynamics, its rewards and its optimum."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.control.lattice import Lattice


def shown(task: Lattice, engine: Engine) -> list[tuple[int, int]]:
    """Positions and speeds read from the tokens' names."""
    names = [task.vocabulary.names(row[1:3].tolist()) for row in engine.tokens]
    return [(int(x[1:]), int(v[1:])) for x, v in names]


def test_pushes_change_speed_then_position_and_cost_as_declared():
    task, num_rows, draw = Lattice(), 200, np.random.default_rng(1)
    engine = Engine(task, num_rows)
    engine.reset(None, np.arange(num_rows, dtype=np.uint64))
    before = shown(task, engine)
    assert {x for x, _ in before} == set(range(-8, 9)) and {v for _, v in before} == {0}
    for step in range(20):
        actions = draw.integers(3, size=num_rows)
        result = engine.step(None, actions)
        expected = []
        for (x, v), action in zip(before, actions.tolist(), strict=True):
            v = min(3, max(-3, v + action - 1))
            expected.append((min(8, max(-8, x + v)), v))
        before = shown(task, engine)
        assert before == expected
        costs = [(x**2 + 0.1 * (action - 1) ** 2) / 64 for (x, _), action in zip(before, actions.tolist(), strict=True)]
        assert -result.rewards == pytest.approx(costs, abs=1e-12)
        assert result.terminated.all() == (step == 19) and result.turn_ended.all()
        assert (engine.lengths == 3).all()


def test_there_are_119_observations():
    task = Lattice()
    pairs = {task.arrays.reply_tokens[reply].tobytes() for reply in np.unique(task.arrays.reply) if reply > 0}
    assert len(pairs) <= 119 and task.vocabulary.size == 3 + 17 + 7 + 2


def test_the_optimum_equals_value_iteration_over_the_state():
    """Only the clock is not shown, and a player can count: backward induction over (x, v) gives the optimum."""
    values = np.zeros((17, 7))
    for _ in range(20):
        after = np.empty((17, 7, 3))
        for x, v, push in np.ndindex(17, 7, 3):
            speed = min(3, max(-3, v - 3 + push - 1))
            place = min(8, max(-8, x - 8 + speed))
            after[x, v, push] = -(place**2 + 0.1 * (push - 1) ** 2) / 64 + values[place + 8, speed + 3]
        values = after.max(axis=2)
    assert solve(Lattice()).optimal_return == pytest.approx(values[:, 3].mean(), abs=1e-12)


def test_a_player_without_a_clock_attains_the_optimum():
    """The solved player in context "turn" acts by x and v alone."""
    task = Lattice()
    solution = solve(task)
    evaluation = evaluate_policy(task, solution.policy())
    assert evaluation.expected_return == pytest.approx(solution.optimal_return, abs=1e-12)
    assert solution.random_return < -13 < -1 < solution.optimal_return < 0


@pytest.mark.parametrize("sizes", [{"max_position": 0}, {"max_speed": -1}, {"num_steps": 0}, {"num_steps": 10_000}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(TokenGymError, match=next(iter(sizes))):
        Lattice(**sizes)


def test_the_picture_labels_the_origin_and_the_ends_where_the_point_is_not():
    def labels(task, x):
        tokens = np.array(task.vocabulary.encode(["<bos>", f"x{x:+d}", "v+0"]))
        picture = task.picture_of(None, tokens)
        assert picture is not None
        return [cell.text for cell in picture.cells[0]]

    task = Lattice(max_position=3)
    assert labels(task, 1) == ["-3", "", "", "0", "●", "", "+3"]
    assert labels(task, 0) == ["-3", "", "", "●", "", "", "+3"]
    assert labels(task, -3) == ["●", "", "", "0", "", "", "+3"]
    assert max(len(text) for text in labels(Lattice(max_position=15), 0)) == 1
