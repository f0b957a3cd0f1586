"""Finite tasks under a clock: the quick compilation is the plain one."""

import dataclasses

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.finite.clocked import ClockedTask
from tokengym.envs.finite.compiler import compile_task, longest_episode
from tokengym.envs.finite.task import Initial, Transition
from tokengym.envs.tasks.control.pick_place import PickPlace
from tokengym.envs.tasks.control.toy_text import FrozenLake
from tokengym.envs.vocabulary import Vocabulary


class Ring(ClockedTask):
    """Walk a ring of rooms by one or by two, astray now and then; room 0 shows nothing, and some steps may end it."""

    context = "turn"

    def __init__(self, num_steps, ends=False, masked=False):
        self.num_steps, self.ends, self.masked = num_steps, ends, masked
        self.vocabulary = Vocabulary.of(["one", "two"], [f"room{room}" for room in range(7)])

    def starts(self):
        return [Initial(0.25, 3, self.seen(3)), Initial(0.0, 4), Initial(0.5, 0), Initial(0.25, 3, self.seen(5))]

    def outcomes(self, position, action):
        near, far = (position + action + 1) % 7, (position + 4) % 7
        gone = None if self.ends and position == 5 else far
        told = {"room": float(near)} if near > 2 else None
        return [Transition(0.75, near, near / 10, self.seen(near), 0.0, told), (0.25, gone, -1.0, self.seen(far), 0.5)]

    def legal_in(self, position):
        return [1] if self.masked and position == 2 else None

    def expert_in(self, position):
        return position % 2

    def seen(self, room):
        return (2 + room,) if room else ()


TASKS = {
    "ring": lambda: Ring(9),
    "ring with ends": lambda: Ring(5, ends=True),
    "ring with masks": lambda: Ring(4, masked=True),
    "one step": lambda: Ring(1, masked=True),
    "short of most rooms": lambda: Ring(2),
    "grid": lambda: PickPlace(size=2, num_steps=7),
    "ended before the clock": lambda: FrozenLake(desc=["SG"], is_slippery=False, num_steps=3),
    "lake": lambda: FrozenLake(num_steps=11),
}


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_the_arrays_are_those_of_the_plain_compilation(make):
    task = make()
    plain = compile_task(task)
    for field in dataclasses.fields(plain):
        ours, theirs = getattr(task.arrays, field.name), getattr(plain, field.name)
        if field.name == "states" or theirs is None:
            assert ours == theirs
        elif field.name in ("reply", "initial_reply"):
            continue
        elif field.name == "columns":
            assert ours.keys() == theirs.keys()
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
        elif not field.name.startswith("reply"):
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
            assert ours.dtype == theirs.dtype
    # A clock that stops short of some positions leaves their replies unused, so replies are compared by what they say.
    for name in ("reply", "initial_reply"):
        assert said(task.arrays, name) == said(plain, name)
    assert task.max_episode_tokens == longest_episode(task.name, task.arrays)[0]


def said(arrays, name):
    return [arrays.reply_tokens[index, : arrays.reply_counts[index]].tolist() for index in getattr(arrays, name).flat]


def test_masks_and_experts_are_those_of_the_position():
    task = Ring(4, masked=True)
    legal = task.arrays.legal
    assert legal is not None
    for index, (_, position) in enumerate(task.arrays.states):
        assert legal[index].tolist() == ([False, True] if position == 2 else [True, True])
    assert [task.expert_action(state) for state in task.arrays.states] == [
        position % 2 for _, position in task.arrays.states
    ]


def test_too_many_states_are_refused():
    task = Ring(1000)
    task.max_states = 500
    with pytest.raises(TokenGymError, match="more than 500 states within 7"):
        _ = task.arrays
