"""Small tasks that use every corner of the interfaces, for the tests of the core."""

from collections.abc import Iterable
from functools import cache

import numpy as np
import pytest

from tokengym.envs import TASKS, FiniteTask, Initial, Reply, TokenTask, Transition, TurnResult, Vocabulary, make_task


class Weather(FiniteTask):
    """Chance everywhere: two starts, two outcomes, noise in the reward, replies of different lengths, a mask."""

    name = "Weather"
    vocabulary = Vocabulary.of(["stay", "go", "jump"], ["sun", "rain"])

    def __init__(self, context="episode", noise=0.5, turn_tokens=1, steps=6):
        self.context, self.noise, self.turn_tokens, self.steps = context, noise, turn_tokens, steps

    def initial(self) -> Iterable[Initial]:
        sun, rain = self.vocabulary.encode(["sun", "rain"])
        return [Initial(0.3, ("sun", 0), (sun, sun)), Initial(0.7, ("rain", 0), (rain,))]

    def transitions(self, state, action) -> Iterable[Transition]:
        sun, rain = self.vocabulary.encode(["sun", "rain"])
        weather, step = state
        if action == 2:
            return [Transition(1.0, None, -1.0)]
        step += 1
        last = step == self.steps
        # A reply is due after the turn's last token only.
        due = step % self.turn_tokens == 0 and not last
        stays = 0.8 if action == 0 else 0.25
        other = "rain" if weather == "sun" else "sun"

        def outcome(probability, name, reward):
            shown = {"sun": (sun,), "rain": (rain, rain, sun)}[name] if due else ()
            return Transition(probability, None if last else (name, step), reward, shown, self.noise)

        return [outcome(stays, weather, 1.0), outcome(1 - stays, other, 0.25)]

    def legal(self, state):
        return [0, 1] if state[0] == "sun" else None


class Echo(TokenTask):
    """Turns of 1–3 tokens, ended early by `stop`; the task answers with the turn backwards and as many dots.

    The reward is the sum of the ids, credited token by token; the episode ends after `turns` turns. The prompt has
    between one and three random digits.
    """

    name = "Echo"
    vocabulary = Vocabulary.of(["0", "1", "2", "stop"], ["."])
    max_turn_tokens = 3
    end_of_turn = 3

    def __init__(self, context="episode", turns=3, max_length=40):
        self.context, self.turns, self.max_length = context, turns, max_length
        self.max_episode_tokens = 3 * turns

    def make_state(self, num_rows):
        return super().make_state(num_rows) | {"turns": np.zeros(num_rows, np.int64)}

    def begin(self, state, rows, random):
        state["turns"][rows] = 0
        return Reply(
            random.integers(rows, 3, 3).astype(np.int32), random.integers(rows, 3)[:, 0] + 1
        )  # ids past the counts are digits too, and must not be seen

    def respond(self, state, rows, turn_tokens, counts, random):
        m = len(rows)
        state["turns"][rows] += 1
        dot = self.vocabulary.ids["."]
        tokens = np.full((m, 6), 2, np.int32)
        credited = []
        for row in range(m):
            said = turn_tokens[row, : counts[row]]
            tokens[row, : 2 * counts[row]] = [*said[::-1], *[dot] * counts[row]]
            credited.append(said.astype(float) if counts[row] > 1 else None)
        rewards = np.array([turn_tokens[row, : counts[row]].sum() for row in range(m)], float)
        return TurnResult(Reply(tokens, 2 * counts), rewards, state["turns"][rows] == self.turns, credited)


SAMPLES = {
    "weather": lambda: Weather(),
    "weather-turn": lambda: Weather(context="turn"),
    "weather-turns-of-3": lambda: Weather(turn_tokens=3),
    "weather-turn-of-2": lambda: Weather(context="turn", turn_tokens=2),
    "echo": lambda: Echo(),
    "echo-turn": lambda: Echo(context="turn"),
    "echo-cut": lambda: Echo(max_length=12),
}

INSTALLED = [name for name, entry in TASKS.items() if not entry.missing]
MAKERS = {**SAMPLES, **{name: (lambda name=name: make_task(name)) for name in INSTALLED}}


def each(names: Iterable[str]) -> list:
    """Parameters for names of tasks: where tests run in several processes, those of one task stay together."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]


@cache
def shared_task(name):
    """A task by its name, made once for all tests: tasks hold no episodes."""
    return MAKERS[name]()
