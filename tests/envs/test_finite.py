"""Finite tasks: what is declared is what is compiled, and what is compiled is what happens."""

from collections import Counter

import numpy as np
import pytest
from sample_tasks import Weather

from tokengym.envs import Engine, FiniteTask, Initial, TokenGymError, Transition, Vocabulary, derive_start, make_task


def declared(task, index, action):
    """The transitions of a state by its index, in the arrays' terms: a sorted list."""
    arrays = task.arrays
    entries = []
    for outcome in task.transitions(arrays.states[index], action):
        probability, state, reward, shown, noise, _ = Transition(*outcome)
        following = arrays.num_states if state is None else arrays.states.index(state)
        entries.append((probability, following, reward, noise, tuple(shown)))
    return sorted(entries)


def compiled(task, index, action):
    arrays = task.arrays
    entries = []
    for k in range(arrays.outcomes):
        place = (index, action, k)
        if arrays.probability[place] > 0:
            reply = arrays.reply[place]
            shown = tuple(arrays.reply_tokens[reply, : arrays.reply_counts[reply]].tolist())
            outcome = (arrays.probability[place], arrays.next[place], arrays.reward[place], arrays.noise[place], shown)
            entries.append(tuple(value if isinstance(value, tuple) else value.item() for value in outcome))
    return sorted(entries)


@pytest.mark.parametrize("turn_tokens", [1, 3])
def test_the_arrays_hold_every_declared_transition(turn_tokens):
    task = Weather(turn_tokens=turn_tokens)
    arrays = task.arrays
    assert arrays.next.shape == (arrays.num_states, 3, 2) and arrays.outcomes == 2
    for index in range(arrays.num_states):
        for action in range(arrays.num_actions):
            assert compiled(task, index, action) == declared(task, index, action)
    initial = [(p, arrays.states[s]) for p, s in zip(arrays.initial_probability, arrays.initial_state, strict=True)]
    assert initial == [(0.3, ("sun", 0)), (0.7, ("rain", 0))]
    assert arrays.reply_counts[arrays.initial_reply].tolist() == [2, 1]
    assert (arrays.reply_tokens[arrays.reply_counts == 0] == task.vocabulary.pad).all()
    expected = [[True, True, state[0] == "rain"] for state in arrays.states]
    assert arrays.legal is not None and arrays.legal.tolist() == expected


def longest_walk(task, state, sequence, tokens=0):
    """Longest episode and sequence by walking every path: the plain recursion."""
    best = (tokens, sequence)
    for action in range(task.vocabulary.num_actions):
        for outcome in task.transitions(state, action):
            after = sequence + 1 + len(outcome.shown)
            if outcome.state is None:
                walked = (tokens + 1, after)
            else:
                walked = longest_walk(task, outcome.state, after, tokens + 1)
            best = (max(best[0], walked[0]), max(best[1], walked[1]))
    return best


@pytest.mark.parametrize("turn_tokens", [1, 2, 3])
def test_lengths_and_rewards_are_worked_out(turn_tokens):
    task = Weather(turn_tokens=turn_tokens, steps=5, noise=0.0)
    walks = [longest_walk(task, entry.state, 1 + len(entry.shown)) for entry in task.initial()]
    assert task.max_episode_tokens == max(tokens for tokens, _ in walks) == 5
    assert task.max_length == max(sequence for _, sequence in walks)
    assert task.reward_range == (-1.0, 1.0)
    assert not task.deterministic and task.has_action_mask
    assert task.max_turn_tokens == turn_tokens
    in_turns = Weather(turn_tokens=turn_tokens, steps=5, context="turn")
    assert in_turns.max_length == 1 + max(3 if turn_tokens < 5 else 0, 2) + turn_tokens
    assert in_turns.reward_range == (-np.inf, np.inf)


def test_episodes_follow_the_declared_chances():
    """Frequencies of starts, outcomes and noise over many rows, against their probabilities."""
    n = 40_000
    task = Weather(noise=0.5)
    engine = Engine(task, n)
    engine.reset(None, derive_start(0, np.arange(n)))
    prompt = engine.lengths.copy()
    started_in_sun = prompt == 3
    assert abs(started_in_sun.mean() - 0.3) < 0.01
    actions = np.arange(n) % 2  # stay or go
    result = engine.step(None, actions)
    shows_sun = engine.tokens[np.arange(n), prompt + 1] == task.vocabulary.ids["sun"]
    for action, stays in ((0, 0.8), (1, 0.25)):
        for start_in_sun in (True, False):
            chosen = (actions == action) & (started_in_sun == start_in_sun)
            stayed = shows_sun[chosen] == start_in_sun
            assert abs(stayed.mean() - stays) < 0.02
            for outcome, mean in ((True, 1.0), (False, 0.25)):
                rewards = result.rewards[chosen][stayed == outcome]
                assert abs(rewards.mean() - mean) < 0.05 and abs(rewards.std() - 0.5) < 0.03


class Deal(FiniteTask):
    """Outcomes with zero probability and unequal numbers, which must never be drawn."""

    vocabulary = Vocabulary.of(["draw", "peek"], ["a", "b", "c", "d"])

    def initial(self):
        return [Initial(0.0, "never"), Initial(1.0, "start")]

    def transitions(self, state, action):
        names = ["a", "b", "c", "d"]
        chances = [0.0, 0.5, 0.0, 0.5] if action == 0 else [0.0, 0.0, 1.0]
        return [(p, None, 0.0, (self.vocabulary.ids[x],)) for p, x in zip(chances, names[: len(chances)], strict=True)]


def test_outcomes_without_probability_are_never_drawn():
    task = Deal()
    assert task.arrays.states == ["start"] and task.arrays.outcomes == 2
    n = 2_000
    engine = Engine(task, n)
    engine.reset(None, np.arange(n))
    engine.step(None, np.arange(n) % 2)
    last = engine.tokens[np.arange(n), engine.lengths - 1]
    assert Counter(task.vocabulary.names(last[1::2].tolist())) == {"c": n // 2}
    drawn = Counter(task.vocabulary.names(last[::2].tolist()))
    assert set(drawn) == {"b", "d"} and abs(drawn["b"] / (n // 2) - 0.5) < 0.05


class Broken(FiniteTask):
    """Whatever is given, where one thing is wrong."""

    name = "Broken"
    vocabulary = Vocabulary.of(["a", "b"], ["x"])

    def __init__(self, outcomes=((1.0, None),), initial=((1.0, 0),), allowed=None, turn_tokens=1):
        self._outcomes, self._initial, self._allowed, self.turn_tokens = outcomes, initial, allowed, turn_tokens

    def initial(self):
        return [Initial(*entry) for entry in self._initial]

    def transitions(self, state, action):
        return [Transition(*outcome) for outcome in self._outcomes]

    def legal(self, state):
        return self._allowed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outcomes": ((0.5, None),)}, r"probabilities of transitions\(0, 0\) are \[0.5\].*sum to 1"),
        ({"outcomes": ((1.0, None), (-0.5, None))}, "must be at least 0 and sum to 1"),
        ({"outcomes": ((float("nan"), None),)}, "sum to 1"),
        ({"outcomes": ()}, "sum to 1"),
        ({"initial": ((0.4, 0), (0.4, 1))}, r"probabilities of initial\(\)"),
        ({"initial": ()}, r"probabilities of initial\(\)"),
        (
            {"initial": ((1.0, 0, (5,)),)},
            r"initial\(\) shows token 5, which is outside of the vocabulary",
        ),
        ({"outcomes": ((1.0, None, 0.0, (-1,)),)}, r"transitions\(0, 0\) shows token -1"),
        ({"outcomes": ((1.0, None, float("nan")),)}, "rewards must be finite"),
        ({"outcomes": ((1.0, None, 0.0, (), -1.0),)}, "noise finite and at least 0"),
        ({"allowed": ()}, r"legal\(0\) allows no token"),
        ({"outcomes": ((1.0, 0, 0.0, (2,)),), "turn_tokens": 2}, "inside of a turn of 2 tokens"),
        ({"turn_tokens": 0}, "turn_tokens=0 is too small"),
    ],
)
def test_a_broken_declaration_is_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        _ = Broken(**arguments).arrays


def test_states_in_a_circle_need_a_declared_length():
    task = Broken(outcomes=((0.5, 0, 0.0, (2,)), (0.5, None)))
    with pytest.raises(TokenGymError, match=r"visited in a circle.*set max_episode_tokens"):
        Engine(task, 1)
    task.max_episode_tokens, task.max_length = 50, 20
    engine = Engine(task, 50)
    engine.reset(None, np.arange(50))
    result = engine.step(None, np.zeros(50, int))
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        result = engine.step(rows, np.zeros(len(rows), int))
    assert (engine.lengths <= 20).all()
    assert result is not None


def test_too_many_states_are_refused():
    class Counting(Broken):
        max_states = 100

        def transitions(self, state, action):
            return [Transition(1.0, state + 1)]

    with pytest.raises(TokenGymError, match="more than 100 states"):
        _ = Counting().arrays


def test_the_state_object_of_a_row_can_be_read():
    task = Weather(steps=2, noise=0.0)
    state = task.make_state(2)
    assert task.state_of(state, 0) is None
    engine = Engine(task, 1)
    engine.reset(None, [0])
    saved = engine.get_state(0)["task"]
    task.restore(state, 1, saved)
    assert task.state_of(state, 1) in [("sun", 0), ("rain", 0)]


class Turns(FiniteTask):
    """Nine tokens in turns of three; after those of `shows` the task says something."""

    vocabulary = Vocabulary.of(["a", "b"], ["x"])
    turn_tokens = 3

    def __init__(self, shows):
        self.shows = shows

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        return [Transition(1.0, None if state == 8 else state + 1, 0.0, ("x",) if state in self.shows else ())]


def test_tokens_are_shown_at_the_end_of_any_turn_and_inside_of_none():
    assert Turns({2, 5}).arrays.num_states == 9
    assert Turns({8}).arrays.num_states == 9  # after the end nothing is inside of a turn
    for state in (0, 4, 6):
        with pytest.raises(TokenGymError, match=f"shown after state {state} inside of a turn of 3 tokens"):
            _ = Turns({2, state}).arrays


def test_a_long_turn_compiles_in_steps_and_not_in_its_cube():
    # Looking at all pairs of a state and a place in the turn at every step would take minutes.
    assert make_task("Umbrella", length=3000).arrays.num_states == 5999
