"""Copies of environments go on exactly like the original, and independently of it."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit
from sample_tasks import INSTALLED, Echo, Weather, each, shared_task

from tokengym.envs import Engine, TokenEnv, TokenGymError, TokenVectorEnv, derive_start
from tokengym.envs.wrappers import RecordEpisodes, TextAction, TextObservation, read_episodes

MOMENTS = ("before reset", "after reset", "mid-episode")
WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}


def same(left, right):
    return data_equivalence(left, right, exact=True)


class Played:
    """One of the three faces of a task, played from now on with seeded actions."""

    def __init__(self, face):
        self.face = face
        self.rows = 1 if isinstance(face, TokenEnv) else 3

    def begin(self):
        if isinstance(self.face, Engine):
            self.face.reset(None, derive_start(4, np.arange(self.rows)))
            return None
        return self.face.reset(seed=4)

    def steps(self, count, rng):
        vocabulary = self.face.task.vocabulary
        for _ in range(count):
            actions = rng.integers(vocabulary.num_actions, size=self.rows)
            if isinstance(self.face, TokenEnv):
                yield (step := self.face.step(actions[0]))
                if step[2] or step[3]:
                    yield self.face.reset()
            elif isinstance(self.face, TokenVectorEnv):
                yield self.face.step(actions)
            else:
                rows = np.flatnonzero(~self.face.over)
                result = self.face.step(rows, actions[rows])
                seen = self.face.tokens.copy(), self.face.lengths.copy(), self.face.action_mask()
                yield (result.rewards, result.terminated, result.truncated, *seen)
                over = np.flatnonzero(self.face.over)
                self.face.reset(over, derive_start(9, over))


def faces(task):
    return TokenEnv(task, action_masks=True), TokenVectorEnv(3, task, action_masks=True), Engine(task, 3)


def brought_to(moment, face):
    played = Played(face)
    if moment != "before reset":
        played.begin()
    if moment == "mid-episode":
        list(played.steps(2, np.random.default_rng(0)))
    return played


def goes_on(moment, played):
    began = played.begin() if moment == "before reset" else None
    return [began, *played.steps(7, np.random.default_rng(1))]


@pytest.mark.parametrize("name", each(INSTALLED))
def test_copies_of_every_environment_go_on_as_the_original_and_apart_from_it(name):
    task = shared_task(name)
    originals = {moment: [brought_to(moment, face) for face in faces(task)] for moment in MOMENTS}
    copies = {way: make(originals) for way, make in WAYS.items()}
    for moment in MOMENTS:
        for index, original in enumerate(originals[moment]):
            # The copies play before and after the original: whatever they shared would have moved on.
            first = goes_on(moment, copies["deepcopy"][moment][index])
            expected = goes_on(moment, original)
            second = goes_on(moment, copies["pickle"][moment][index])
            assert same(first, expected), (moment, original.face)
            assert same(second, expected), (moment, original.face)


@pytest.mark.parametrize("way", WAYS)
def test_copies_that_were_never_seeded_draw_the_same(way):
    for env in (TokenEnv(Weather()), TokenVectorEnv(3, Weather())):
        copied = WAYS[way](env)
        assert same(copied.reset(), env.reset())
        assert same(copied.action_space.sample(), env.action_space.sample())


@pytest.mark.parametrize("way", WAYS)
def test_copied_wrappers_go_on_as_the_original(way, tmp_path):
    def wrapped(env):
        return TextAction(TextObservation(RecordEpisodes(TimeLimit(env, 5), tmp_path / "episodes.jsonl")))

    env = wrapped(gymnasium.make("tokengym/Copy-v0"))
    env.reset(seed=3)
    env.step("t2")
    copied = WAYS[way](env)
    steps = [[one.step(name) for name in ("t0", "t1")] for one in (copied, env)]
    assert same(*steps)
    copied.close()
    env.close()
    ours, theirs = read_episodes(tmp_path / "episodes.jsonl")
    assert ours == theirs and len(ours["tokens"]) == 3


@pytest.mark.parametrize("way", WAYS)
def test_a_copied_wrapper_of_gymnasiums_keeps_its_numbers(way):
    env = RecordEpisodeStatistics(gymnasium.make("tokengym/Copy-v0"))
    env.reset(seed=3)
    env.step(1)
    copied = WAYS[way](env)
    while True:
        left, right = copied.step(1), env.step(1)
        left[4].get("episode", {}).pop("t", None), right[4].get("episode", {}).pop("t", None)
        assert same(left, right)
        if left[2]:
            break


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_cannot_save_is_copied_between_episodes_only(way):
    task = Echo()
    task.can_save_state = False
    env = TokenEnv(task)
    assert same(WAYS[way](env).reset(seed=1), env.reset(seed=1))
    with pytest.raises(TokenGymError, match="cannot be copied while an episode is under way"):
        WAYS[way](env)


def test_nothing_of_an_engine_is_a_view_of_another_of_its_arrays():
    """What one buffer is to another, a copy of the two is not: no attribute may share memory with the buffer."""
    engine = Engine(Weather(), 3)
    held = {name: value for name, value in vars(engine).items() if isinstance(value, np.ndarray)}
    held |= {f"buffer.{name}": value for name, value in vars(engine._buffer).items() if isinstance(value, np.ndarray)}
    held |= {f"random.{name}": value for name, value in vars(engine._random).items() if isinstance(value, np.ndarray)}
    names = list(held)
    shared = [
        (first, second)
        for place, first in enumerate(names)
        for second in names[place + 1 :]
        if np.shares_memory(held[first], held[second])
    ]
    assert not shared
