"""The one play loop: who is told what, what it costs, and that nobody else drives an engine."""

import re
from pathlib import Path

import numpy as np
import pytest

from tokengym.agents import Act, AgentPolicy, Policy, RandomPlayer, Sampler, build_agent
from tokengym.algorithms.collecting import Observer, play, queue
from tokengym.envs import Engine, derive_start, make_task, solve

ROOT = Path(__file__).resolve().parents[2]


class Diary(Observer):
    """Writes everything down."""

    def __init__(self):
        self.began_at, self.chosen, self.steps = [], [], []

    def began(self, rows, starts):
        self.began_at += list(zip(rows.tolist(), starts.tolist(), strict=True))

    def chose(self, rows, act):
        self.chosen.append(rows.tolist())

    def stepped(self, step):
        self.steps.append(step)


def test_every_start_is_played_once_in_order_on_rows_as_they_come_free():
    task = make_task("CartPole")
    diary, starts = Diary(), derive_start(0, np.arange(11))
    drawn = play(Engine(task, 4), RandomPlayer(task.vocabulary), queue(starts), [diary])
    assert [start for _, start in diary.began_at] == starts.tolist()
    assert [row for row, _ in diary.began_at][:4] == [0, 1, 2, 3]
    assert drawn == sum(len(step.rows) for step in diary.steps) == sum(step.said.sum() for step in diary.steps)
    assert sum(step.over.sum() for step in diary.steps) == 11
    assert [step.rows.tolist() for step in diary.steps] == diary.chosen
    # Rows are None for the policy exactly where all of them play, and it was told of every one of them.
    assert all(len(step.rows) <= 4 and (np.diff(step.rows) > 0).all() for step in diary.steps)


def test_observers_are_told_in_their_order_before_and_after_the_engine_moves():
    task = make_task("Copy")
    engine, told = Engine(task, 1), []

    class Told(Observer):
        def __init__(self, name):
            self.name = name

        def began(self, rows, starts):
            told.append((self.name, "began", int(engine.lengths[0])))

        def chose(self, rows, act):
            told.append((self.name, "chose", int(engine.lengths[0])))

        def stepped(self, step):
            told.append((self.name, "stepped", int(engine.lengths[0]) - int(step.lengths[0])))

    play(engine, RandomPlayer(task.vocabulary), queue(np.zeros(1, np.uint64)), [Told("a"), Told("b")])
    first = told[0][2]
    assert told[:6] == [
        ("a", "began", first),
        ("b", "began", first),
        ("a", "chose", first),
        ("b", "chose", first),
        ("a", "stepped", 1),
        ("b", "stepped", 1),
    ]


def test_playing_stops_where_it_is_told_to_and_goes_on_from_there():
    task = make_task("Lattice")
    whole, parts = Diary(), Diary()
    starts = derive_start(3, np.arange(3))
    play(Engine(task, 3), RandomPlayer(task.vocabulary, seed=1), queue(starts), [whole])
    engine, player = Engine(task, 3), RandomPlayer(task.vocabulary, seed=1)
    play(engine, player, queue(starts), [parts], until=lambda: len(parts.steps) >= 5)
    assert len(parts.steps) == 5 and not engine.over.any()
    play(engine, player, None, [parts])
    assert engine.over.all() and parts.began_at == whole.began_at
    for one, other in zip(whole.steps, parts.steps, strict=True):
        np.testing.assert_array_equal(one.act.tokens, other.act.tokens)
        np.testing.assert_array_equal(one.result.rewards, other.result.rewards)


def test_branches_of_a_forked_row_are_played_to_their_ends_and_estimate_its_value():
    task = make_task("Nim", heaps=[2, 2])
    solution = solve(task)
    branches = 3000
    engine = Engine(task, branches)
    engine.reset(np.zeros(1, np.intp), derive_start(5, 0))
    value = float(solution.values(engine.tokens[:1], engine.lengths[:1])[0])
    engine.fork(0, np.arange(1, branches), derive_start(6, np.arange(1, branches)))

    class Optimal(Policy):
        def act(self, rows, tokens, lengths, masks=None, deterministic=False):
            said = solution.policy("optimal")(tokens, lengths).argmax(axis=1)
            return Act.of_one(said, np.zeros(len(said)))

    diary, returns = Diary(), np.zeros(branches)
    drawn = play(engine, Optimal(), None, [diary])
    for step in diary.steps:
        returns[step.rows] += step.result.rewards
    assert not diary.began_at and drawn == sum(len(step.rows) for step in diary.steps)
    assert returns.std() > 0  # chance is left: the opponent's
    assert abs(returns.mean() - value) < 5 * returns.std() / np.sqrt(branches) + 1e-9


@pytest.mark.parametrize("name", ["Copy", "KeywordCover", "Lattice"])
def test_rows_that_play_together_say_what_each_would_say_alone(name):
    task = make_task(name)
    agent = build_agent("gpt2-tiny", task.vocabulary, task.max_length, seed=0)

    def said(rows):
        diary = Diary()
        play(
            Engine(task, rows),
            AgentPolicy(agent, Sampler(0)),
            queue(derive_start(1, np.arange(6))),
            [diary],
            deterministic=True,
        )
        by_start, playing = {}, {}
        begun = iter(diary.began_at)
        for row, start in [next(begun) for _ in range(min(rows, 6))]:
            playing[row] = start
        for step in diary.steps:
            for index, row in enumerate(step.rows.tolist()):
                by_start.setdefault(playing[row], []).append(int(step.act.tokens[index, 0]))
            for row in step.rows[step.over].tolist():
                following = next(begun, None)
                if following is not None:
                    assert following[0] == row
                    playing[row] = following[1]
        return by_start

    assert said(1) == said(4) == said(6)


# Faces that hand steps to other libraries' loops, and an episode's first observation before anybody plays.
DRIVERS = {"algorithms/collecting/playing.py", "algorithms/sb3/env.py"}


def test_nobody_else_steps_an_engine():
    stepping = re.compile(r"engine\.(step|append|step_row)\(")
    modules = [path for layer in ("agents", "algorithms", "experiments") for path in (ROOT / layer).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in modules if stepping.search(path.read_text(encoding="utf-8"))}
    assert found == DRIVERS
