"""Rows copied to rows: copies go on as their sources would, or with fresh draws where that is asked for."""

import random

import gymnasium
import numpy as np
import pytest
from gymnasium.utils import EzPickle
from sample_tasks import MAKERS, SAMPLES, Echo, Weather, each, shared_task

from tokengym.envs import (
    Engine,
    FiniteTask,
    Initial,
    TextTask,
    TokenGymError,
    Transition,
    Vocabulary,
    derive_start,
    make_task,
    solve,
)
from tokengym.envs.tasks.control.gym_task import Gym
from tokengym.envs.tasks.text.text_gym import TextGym
from tokengym.envs.transforms import apply_transforms

TRANSFORMS = [
    {"name": "time_limit", "max_tokens": 5},
    {"name": "reward_delay", "tokens": 3},
    {"name": "reward_noise", "sigma": 0.5},
    {"name": "redistribute", "weights": None},
]


def legal_tokens(engine, row, rng, count):
    """What one row says on the way, until `count` tokens or its end."""
    for _ in range(count):
        if engine.over[row]:
            return
        engine.step([row], [rng.choice(np.flatnonzero(engine.action_mask([row])[0]))])


def under_way(task, num_rows, tokens=2):
    """An engine whose row 0 is in the middle of an episode that is not over."""
    engine = Engine(task, num_rows)
    for start in range(20):
        engine.reset([0], derive_start(5, start))
        legal_tokens(engine, 0, np.random.default_rng(start), tokens)
        if not engine.over[0]:
            return engine
    engine.reset([0], derive_start(5, 0))  # an episode of few tokens
    return engine


def future(engine, row, steps=7, seed=1):
    """All that a row shows and pays from now on, for seeded tokens."""
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(steps):
        mask = engine.action_mask([row])[0]
        seen.append((engine.tokens[row].tolist(), int(engine.lengths[row]), bool(engine.over[row]), mask.tolist()))
        if engine.over[row]:
            break
        result = engine.step([row], [rng.choice(np.flatnonzero(mask))])
        credited = (
            None if result.token_rewards is None else [np.array(parts).tolist() for parts in result.token_rewards]
        )
        seen.append((result.rewards.tolist(), bool(result.terminated[0]), bool(result.truncated[0]), credited))
    return seen


def assert_forks_like_a_saved_state(engine):
    """Rows 0 … 5: the source, its fork, its saved state, two forks with fresh draws, one in place.

    The source plays last: whatever the others shared with it would have moved on.
    """
    engine.fork([0], [1])
    engine.set_state(2, engine.get_state(0))
    engine.fork(0, [4, 3], starts=77)
    engine.fork(1, [5])
    engine.fork([5], [5], starts=[77])
    shown = engine.tokens[0].tolist(), int(engine.lengths[0])
    assert all((engine.tokens[row].tolist(), int(engine.lengths[row])) == shown for row in range(1, 6))
    futures = [future(engine, row) for row in range(1, 6)] + [future(engine, 0)]
    assert futures[0] == futures[1] == futures[-1]
    assert futures[2] == futures[3] == futures[4]


@pytest.mark.parametrize("name", each(MAKERS))
def test_a_fork_of_every_task_goes_on_as_a_saved_state_does(name):
    task = shared_task(name)
    if task.can_save_state:
        assert_forks_like_a_saved_state(under_way(task, 6))
    else:
        with pytest.raises(TokenGymError, match=f"task {task.name} cannot save its state"):
            under_way(task, 2).fork([0], [1])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform["name"])
@pytest.mark.parametrize("name", ["weather", "echo", "echo-turn", "TextGeneration", "FrozenLake"])
def test_a_fork_of_a_transformed_task_goes_on_as_a_saved_state_does(name, transform):
    assert_forks_like_a_saved_state(under_way(apply_transforms(shared_task(name), [transform]), 6, tokens=4))


def test_nested_transforms_fork_all_their_numbers():
    assert_forks_like_a_saved_state(under_way(apply_transforms(Echo(), TRANSFORMS), 6, tokens=4))


def test_a_task_with_a_save_of_its_own_is_forked_by_it():
    class Counted(Echo):
        def make_state(self, num_rows):
            self.told = {}
            return super().make_state(num_rows)

        def begin(self, state, rows, random):
            self.told = self.told | dict.fromkeys(rows.tolist(), 0)
            return super().begin(state, rows, random)

        def respond(self, state, rows, turn_tokens, counts, random):
            result = super().respond(state, rows, turn_tokens, counts, random)
            for row in rows.tolist():
                self.told[row] += 1
            return result._replace(rewards=np.array([float(self.told[row]) for row in rows.tolist()]))

        def save(self, state, row):
            return {"told": self.told.get(row, 0), "arrays": super().save(state, row)}

        def restore(self, state, row, saved):
            self.told[row] = saved["told"]
            super().restore(state, row, saved["arrays"])

    engine = Engine(Counted(), 6)
    engine.reset([0], 3)
    engine.append([0], [[3]])
    assert engine.task.told == {0: 1}
    assert_forks_like_a_saved_state(engine)
    assert_forks_like_a_saved_state(under_way(apply_transforms(Counted(), TRANSFORMS[:1]), 6))


# --- chance


def returns_of(engine, rows, policy):
    """What each of `rows` is still paid if a policy acts to the end; the policy gives probabilities (m, A)."""
    paid = np.zeros(engine.num_rows)
    rows = np.asarray(rows)
    while len(rows):
        chosen = policy(engine.tokens[rows], engine.lengths[rows]).argmax(axis=1)
        paid[rows] += engine.step(rows, chosen).rewards
        rows = rows[~engine.over[rows]]
    return paid


def assert_mean(values, expected):
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) < 4 * error


BRANCHES = 4000


@pytest.mark.parametrize("said", [[], [0], [1, 0], [0, 1, 1, 0]], ids=str)
def test_the_mean_over_branches_with_fresh_draws_is_the_solvers_value(said):
    task = Weather()
    solution = solve(task)
    engine = Engine(task, BRANCHES + 1)
    engine.reset([0], 8)
    for token in said:
        engine.step([0], [token])
    branches = np.arange(1, BRANCHES + 1)
    engine.fork(0, branches, starts=derive_start(1, branches))
    paid = returns_of(engine, branches, solution.policy())[branches]
    # The source itself was left where it was.
    assert_mean(paid, solution.values(engine.tokens[:1], engine.lengths[:1])[0])


def test_branches_without_fresh_draws_repeat_one_future():
    solution = solve(Weather())
    engine = Engine(Weather(), 50)
    engine.reset([0], 8)
    engine.step([0], [0])
    engine.fork(0, np.arange(1, 50))
    paid = returns_of(engine, np.arange(50), solution.policy())
    assert (paid == paid[0]).all()


def test_the_rows_of_a_group_share_the_start_and_nothing_later():
    solution = solve(Weather())
    engine = Engine(Weather(), BRANCHES)
    engine.reset(None, 8, streams=derive_start(2, np.arange(BRANCHES)))
    assert (engine.tokens == engine.tokens[0]).all()
    expected = solution.values(engine.tokens[:1], engine.lengths[:1])[0]
    assert_mean(returns_of(engine, np.arange(BRANCHES), solution.policy()), expected)


class Hidden(FiniteTask):
    """A hidden coin, which `look` shows most of the time; a guess ends the episode and pays if it is right."""

    name = "Hidden"
    vocabulary = Vocabulary.of(["look", "heads", "tails"], ["h", "t"])
    chances, shows = (0.3, 0.7), (0.9, 0.6)

    def initial(self):
        return [Initial(chance, (coin, 0)) for coin, chance in enumerate(self.chances)]

    def transitions(self, state, action):
        coin, looks = state
        if action:
            return [Transition(1.0, None, float(action - 1 == coin))]
        if looks == 2:
            return [Transition(1.0, None, 0.0)]
        seen = [(self.shows[coin], coin), (1 - self.shows[coin], 1 - coin)]
        return [Transition(chance, (coin, looks + 1), 0.0, ("ht"[side],)) for chance, side in seen]


def test_what_the_agent_knows_counts_where_draws_are_hidden():
    task = Hidden()
    solution = solve(task)
    starts = 2000
    engine = Engine(task, 2 * starts)
    first = np.arange(starts)
    engine.reset(first, derive_start(3, first))
    engine.step(first, np.zeros(starts, int))
    heads = first[engine.tokens[first, 2] == task.vocabulary.ids["h"]]
    knows = solution.values(engine.tokens[heads[:1]], engine.lengths[heads[:1]])[0]
    coins = np.array([task.state_of(engine._state, row)[0] for row in heads])
    assert 0 < coins.mean() < 1

    # One branch from each of many episodes that look alike: the hidden coin varies as the agent must believe.
    branches = starts + np.arange(len(heads))
    engine.fork(heads, branches, starts=derive_start(4, branches))
    assert_mean(returns_of(engine, branches, solution.policy())[branches], knows)

    # All branches of one episode have its coin: what has happened stays, though nobody has seen it.
    # The best player looks again, and believes what it then sees.
    for coin in (0, 1):
        source = heads[coins == coin][0]
        branches = starts + np.arange(starts)
        engine.fork(source, branches, starts=derive_start(5, branches))
        assert {task.state_of(engine._state, row)[0] for row in branches} == {coin}
        paid = returns_of(engine, branches, solution.policy())[branches]
        assert_mean(paid, task.shows[coin])


# --- generators that rows hold themselves


class Dice(TextTask):
    """Rolls after every turn, with a generator that the episode holds; pays what it rolled."""

    name = "Dice"

    def __init__(self, holds=lambda generator: {"deep": [generator]}, **options):
        super().__init__({"kind": "words", "corpus": ["roll"]}, max_turn_tokens=1, max_length=12, max_turns=5)
        self.holds = holds

    def begin(self, random):
        return self.holds(random), "roll"

    def respond(self, episode, completion):
        return None, roll(episode["deep"][0]), False


def roll(generator):
    if isinstance(generator, random.Random):
        return float(generator.randrange(10**6))
    return float(generator.randint(10**6) if hasattr(generator, "randint") else generator.integers(10**6))


class Globals:
    """An environment of strings that draws from the global generators, as many games do."""

    def reset(self, seed=None):
        return f"say {random.randrange(10)}"

    def step(self, text):
        return "more", float(random.randrange(1000) + np.random.randint(1000)), False


class Slippery(EzPickle, gymnasium.Env):
    """Pays noise; a copy of it forgets the episode, as MuJoCo's does."""

    observation_space = gymnasium.spaces.Discrete(50)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        self.time = 0
        return 0, {}

    def step(self, action):
        self.time += 1
        return self.time, float(self.np_random.integers(10**6)), False, False, {}


class SlipperyInMemory(gymnasium.Env):
    """The same, which can be copied and draws from a generator of its own."""

    observation_space, action_space = Slippery.observation_space, Slippery.action_space

    def reset(self, *, seed=None, options=None):
        self.own = np.random.default_rng(seed)
        self.time = 0
        return 0, {}

    def step(self, action):
        self.time += 1
        return self.time, float(self.own.integers(10**6)), False, False, {}


class SlipperyAndFixed(gymnasium.Env):
    """The same, which cannot be copied in any way."""

    observation_space, action_space = Slippery.observation_space, Slippery.action_space
    reset, step = Slippery.reset, Slippery.step

    def __deepcopy__(self, memo):
        raise TypeError("no copies")


for kind in (Slippery, SlipperyInMemory, SlipperyAndFixed):
    gymnasium.register(f"tests/{kind.__name__}-v0", kind, max_episode_steps=30)

DRAWING = {
    "numpy": lambda: Dice(),
    "random": lambda: Dice(lambda generator: {"deep": [random.Random(int(generator.integers(99)))]}),
    "legacy numpy": lambda: Dice(lambda generator: {"deep": [np.random.RandomState(int(generator.integers(99)))]}),
    "another bit generator": lambda: Dice(
        lambda generator: {"deep": [np.random.Generator(np.random.MT19937(int(generator.integers(99))))]}
    ),
    "global generators": lambda: TextGym(Globals, max_turn_tokens=1, max_turns=30),
    "Gymnasium, copied": lambda: Gym("tests/SlipperyInMemory-v0"),
    "Gymnasium, replayed": lambda: Gym("tests/Slippery-v0"),
}


def draws(engine, rows, steps=3):
    return np.stack([engine.step(rows, np.zeros(len(rows), int)).rewards for _ in range(steps)], axis=1).tolist()


@pytest.mark.parametrize("kind", DRAWING)
def test_generators_that_rows_hold_follow_the_fresh_streams(kind):
    engine = Engine(DRAWING[kind](), 7)
    engine.reset([0], 4)
    engine.step([0], [0])
    engine.fork(0, [1, 2, 3, 4], starts=[1, 1, 2, 3])
    engine.fork([0, 1], [5, 6])
    drawn = draws(engine, np.arange(1, 7))
    kept, same, same_again, other, third = drawn[4], drawn[0], drawn[1], drawn[2], drawn[3]
    assert kept == draws(engine, [0])[0]
    assert same == same_again == drawn[5]  # the last is a fork of a fork with a fresh stream
    assert all(
        one != two for rest in zip(same, other, third, kept, strict=True) for one in rest[:1] for two in rest[1:]
    )
    engine.reset([0, 1, 2], 4, streams=[1, 1, 2])
    drawn = draws(engine, np.arange(3))
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_environment_that_cannot_be_copied_takes_streams_but_no_forks():
    engine = Engine(Gym("tests/SlipperyAndFixed-v0"), 3)
    engine.reset(None, 4, streams=[1, 1, 2])
    drawn = draws(engine, np.arange(3))
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(TokenGymError, match="Gym cannot save its state"):
        engine.fork([0], [1])


def test_a_stream_does_not_repeat_what_a_start_of_the_same_number_drew():
    engine = Engine(Weather(noise=1.0), 3)
    engine.reset(None, 6, streams=[6, 7, 6])
    plain = Engine(Weather(noise=1.0), 1)
    plain.reset(None, 6)
    first, second, third = (engine.step([row], [0]).rewards[0] for row in range(3))
    assert first == third != second
    assert plain.step(None, [0]).rewards[0] != first


def test_an_episode_that_cannot_be_copied_is_refused_by_the_tasks_name_and_leaves_no_half_rows():
    class Locked:
        def __deepcopy__(self, memo):
            raise ValueError("locked")

    engine = Engine(Dice(lambda generator: {"deep": [generator], "lock": Locked()}), 3)
    engine.reset(None, [1, 2, 3])
    message = r"task Dice: the 'episode' of a row, a dict, cannot be copied.*ValueError: locked"
    with pytest.raises(TokenGymError, match=message):
        engine.fork([0], [1])
    assert engine.over.tolist() == [False, True, False]
    with pytest.raises(TokenGymError, match=message):
        engine.reset([1], 5, streams=6)
    assert engine.over.tolist() == [False, True, False]
    engine.reset([1], 5)
    engine.step(None, [0, 0, 0])


# --- what is asked for wrongly


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [9]), r"targets=\[9\]: rows of this engine are 0 … 4"),
        (([-1], [1]), r"sources=\[-1\]: rows of this engine are 0 … 4"),
        (([5], [1]), "sources=.*0 … 4"),
        (([0.0], [1]), "sources must be integers"),
        (([True], [1]), "sources must be integers"),
        (([0], [1.0]), "targets must be integers"),
        (([0], 1), "targets must be integers of shape"),
        (([0], None), "targets must be integers of shape"),
        (([0, 0], [1, 1]), "may be named only once"),
        (([0, 0, 0], [1, 2]), "sources of shape \\(3,\\) for 2 targets"),
        (([[0]], [1]), "sources of shape"),
        (([0, 1], [1, 2]), "row 1 is a source of row 2 and a target as well"),
        (([0, 1], [1, 0]), "target of itself only"),
        (([3], [1]), "row 3 has no episode under way"),
        (([4], [4], 1), "row 4 has no episode under way"),
        (([0, 1], [2, 3], [1]), "1,.* starts for 2 rows"),
        (([0], [1], -1), "starts=-1: give integers in"),
        (([0], [1], 0.5), "starts=0.5: give integers in"),
        (([0], [1], "x"), "starts='x'"),
    ],
)
def test_wrong_forks_are_refused_and_leave_everything_as_it_was(arguments, message):
    engine = Engine(SAMPLES["echo"](), 5)
    engine.reset([0, 1, 2, 3], [1, 2, 3, 4])
    engine.append([3], [[3]])
    while not engine.over[3]:
        engine.step([3], [3])
    before = repr([engine.get_state(row) for row in range(5)])
    with pytest.raises(TokenGymError, match=message):
        engine.fork(*arguments)
    assert repr([engine.get_state(row) for row in range(5)]) == before


def test_a_fork_of_nothing_changes_nothing():
    engine = Engine(Weather(), 2)
    engine.fork([], [])
    engine.fork([], [], starts=[])
    assert engine.over.all()


def test_forks_come_in_any_order_of_the_rows_and_over_ended_ones():
    engine = Engine(Weather(), 6)
    engine.reset([0, 1], [1, 2])
    engine.step([0, 1], [0, 1])
    engine.fork([1, 0, 1, 0], [5, 3, 2, 4], starts=[50, 30, 50, 30])
    rows = [engine.get_state(row) for row in range(6)]
    assert rows[5]["task"] == rows[2]["task"] == rows[1]["task"]
    assert rows[5]["random"] == rows[2]["random"] != rows[1]["random"]
    assert rows[3]["tokens"] == rows[4]["tokens"] == rows[0]["tokens"]
    assert rows[3]["random"] == rows[4]["random"] != rows[5]["random"]
    assert not engine.over.any()


@pytest.mark.parametrize("name", ["TicTacToe", "Nim"])
def test_a_game_forked_goes_on_against_whoever_plays_there(name):
    task = make_task(name)
    engine = Engine(task, 3)
    engine.reset([0], 0)
    engine.fork(0, [1, 2])
    task.set_opponent("optimal")
    assert future(engine, 1) == future(engine, 2) == future(engine, 0)
