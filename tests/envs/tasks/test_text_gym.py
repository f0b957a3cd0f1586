"""TextGym: environments of strings of every interface, their draws, their states, and what bad ones are told."""

import copy
import importlib.util
import math
import pickle
import random

import gymnasium
import numpy as np
import pytest
from string_envs import Adder, Numbers, Parrot, Replayed, Stateless, Uncopyable, Unrepeatable

from tokengym.envs import Completion, Engine, TextTask, TokenEnv, TokenGymError, make_task
from tokengym.envs.tasks.control.gym_task import Gym
from tokengym.envs.tasks.text.text_gym import TextGym

CHARACTERS = {"kind": "chars", "corpus": ["abcdefghijklmnopqrstuvwxyz 0123456789+-?:!\n[]"]}


def say(engine, text, row=0):
    """Says a whole turn, the end token after it where it is no turn's length."""
    ids = engine.task.codec.encode_turn(text)
    return engine.append([row], [ids], [len(ids)])


def shown(engine, row=0):
    return engine.task.render_tokens(engine.tokens[row, : engine.lengths[row]])


def replayed(*steps, begin="begin", **arguments):
    legal = arguments.pop("legal_texts", None)
    make = lambda: Replayed(begin, steps, legal)  # noqa: E731
    task = TextGym(make, tokenizer=CHARACTERS, max_turn_tokens=8, max_length=99, **arguments)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    return engine


def test_the_default_is_a_small_game_with_legal_texts():
    env = TokenEnv(make_task("TextGym"), action_masks=True)
    engine = env.engine
    _, info = env.reset(seed=3)
    said = [env.task.vocabulary.tokens[token] for token in np.flatnonzero(info["action_mask"])]
    assert said == [*"1234567"] and shown(engine) == "1-7?\n"
    for guess in ("4", "6", "7"):
        result = say(engine, guess)
        if result.terminated[0]:
            break
        assert shown(engine).endswith(f"{guess}\nhigher\n") or shown(engine).endswith(f"{guess}\nlower\n")
    assert result.terminated[0] and shown(engine).count("1-7?") == 1


def test_binary_search_attains_the_optimum():
    engine = Engine(make_task("TextGym"), 40)
    engine.reset(None, np.arange(40))
    paid = 0.0
    for row in range(40):
        low, high = 1, 7
        while not engine.over[row]:
            guess = (low + high) // 2
            paid += say(engine, str(guess), row).rewards.sum()
            low, high = (guess + 1, high) if shown(engine, row).endswith("higher\n") else (low, guess - 1)
    assert paid == 40 * engine.task.optimal_return


# --- interfaces


def test_old_four_tuples_and_legal_texts_of_a_method():
    task = TextGym(Adder, {"terms": 3}, max_turn_tokens=4, max_length=80)
    engine = Engine(task, 1)
    engine.reset(None, [5])
    mask = engine.action_mask()[0]
    assert task.has_action_mask and [task.decode([[token]])[0] for token in np.flatnonzero(mask)] == ["+"]
    results = [say(engine, text) for text in ("+1", "+10", "+1")]
    assert [result.rewards[0] for result in results] == [1.0] * 3 and results[-1].terminated[0]
    assert not results[-1].truncated[0] and shown(engine).startswith("add to ")


def test_gymnasium_text_spaces_by_id_with_a_time_limit_and_their_own_characters():
    gymnasium.register("Parrot-v0", entry_point=Parrot, max_episode_steps=2)
    try:
        task = make_task("TextGym", env="Parrot-v0", max_turn_tokens=3, max_length=40)
        assert sorted(task.vocabulary.tokens) == sorted(["<pad>", "<bos>", "<eos>", "<unk>", *"abc \n"])
        engine = Engine(task, 2)
        engine.reset(None, [1, 1])
        word = shown(engine).strip()
        assert say(engine, word, 0).terminated[0] and engine.over[0]
        other = "cc" if word != "cc" else "aa"
        assert not say(engine, other, 1).truncated[0]
        last = say(engine, other, 1)
        assert last.truncated[0] and not last.terminated[0] and last.rewards[0] == 0.0
        assert shown(engine, 1) == f"{word}\n{other}{other} b\n{other}{other} b\n"
    finally:
        gymnasium.registry.pop("Parrot-v0")


def test_an_entry_point_and_its_specification():
    task = make_task("TextGym", env="string_envs:Adder", env_kwargs={"terms": 1}, max_length=60)
    assert task.spec["kwargs"] == {"env": "string_envs:Adder", "env_kwargs": {"terms": 1}, "max_length": 60}
    assert make_task("TextGym", env=Adder).spec["kwargs"] == {"env": "string_envs:Adder"}


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        (("x", 1, True), (1.0, True, False)),
        (("x", 0.5, False), (0.5, False, False)),
        (("x", True, True, {}), (1.0, True, False)),
        (("x", 1.0, True, {"TimeLimit.truncated": True}), (1.0, False, True)),
        (("x", np.float32(2), np.bool_(False), np.bool_(True), {}), (2.0, False, True)),
        (("x", np.array([2.0]), 1, 0, None), (2.0, True, False)),
        (("x", 1.0, True, True, {}), (1.0, True, False)),
    ],
)
def test_what_steps_may_give(given, ends):
    result = say(replayed(given), "a")
    assert (result.rewards[0], bool(result.terminated[0]), bool(result.truncated[0])) == ends


def test_the_users_limits_truncate():
    engine = replayed(("x", 0.0, False), ("y", 1.0, False), max_turns=2)
    assert not say(engine, "a").truncated[0]
    result = say(engine, "b")
    assert result.truncated[0] and not result.terminated[0] and shown(engine) == "begin\nax\nby\n"
    engine = replayed(("x" * 200, 0.0, False))
    assert say(engine, "a").truncated[0]


@pytest.mark.parametrize(
    ("repeats", "observations", "seen"),
    [
        ("auto", ["q", "q\na\nno", "q\na\nno\na\nyes"], "q\na\na\nno\na\na\nyes\n"),
        ("auto", ["q\n", "q\na no\n", "q\na no\na yes\n"], "q\na no\na yes\n"),
        ("auto", ["step 1", "step 10", "step 10"], "step 1\nastep 10\nastep 10\n"),
        ("cut", ["q", "qa no", "qa noa yes"], "q\na no\na yes\n"),
        ("keep", ["q\n", "q\na\n", "q\na\na\n"], "q\naq\na\naq\na\na\n"),
        ("auto", ["", "", "x"], "aax\n"),
    ],
)
def test_observations_that_repeat_the_history_are_cut_to_what_is_new(repeats, observations, seen):
    begin, second, third = observations
    if repeats == "auto" and begin == "q":
        seen = "q\na\na\nno\na\na\nyes\n"
    engine = replayed((second, 0.0, False), (third, 0.0, True), begin=begin, repeats=repeats)
    say(engine, "a"), say(engine, "a")
    assert shown(engine) == seen


def test_the_environment_hears_the_turn_without_its_stop_string():
    heard = []

    class Listener(Replayed):
        def step(self, text):
            heard.append(text)
            return "x", 0.0, False

    engine = Engine(TextGym(Listener, tokenizer=CHARACTERS, stop="]", max_turn_tokens=4, max_length=60), 1)
    engine.reset(None, [0])
    for text in ("[a]", "b", "abcd"):
        say(engine, text)
    assert heard == ["[a", "b", "abcd"] and {type(text) for text in heard} == {str}


# --- how a turn ended


class Ends(TextTask):
    """Tells how each turn ended."""

    def begin(self, random):
        return [], "begin"

    def respond(self, episode, completion):
        episode.append((str(completion), completion.ended))
        return None, 0.0, False


def test_a_text_task_learns_how_a_turn_ended():
    engine = Engine(Ends(CHARACTERS, max_turn_tokens=3, max_length=40, max_turns=5, stop=["!"]), 1)
    engine.reset(None, [0])
    for text in ("a", "ab!", "abc", ""):
        ids = engine.task.encode(text)
        ids = ids if text.endswith("!") or len(ids) == 3 else [*ids, engine.task.vocabulary.eos]
        engine.append([0], [ids], [len(ids)])
    said = engine._state["episode"][0]
    assert said == [("a", "end"), ("ab", "stop"), ("abc", "length"), ("", "end")]


def test_a_completion_is_a_string_that_keeps_its_end_in_copies():
    completion = Completion.of("a", "stop")
    assert completion == "a" and {"a": 1}[completion] == 1
    for twin in (copy.deepcopy(completion), pickle.loads(pickle.dumps(completion))):
        assert twin == "a" and twin.ended == "stop"


# --- randomness and states


def transcript(engine, row):
    while not engine.over[row]:
        say(engine, "+1", row)
    return shown(engine, row)


def test_rows_are_independent_of_each_other_and_of_the_program_s_global_generators():
    task = TextGym(Adder, {"terms": 6}, max_turn_tokens=4, max_length=120)
    alone = {}
    for start in range(4):
        engine = Engine(task, 1)
        engine.reset(None, [start])
        alone[start] = transcript(engine, 0)
    assert len(set(alone.values())) > 2
    engine = Engine(task, 4)
    engine.reset(None, [3, 1, 0, 2])
    random.seed(0), np.random.seed(0)
    expected = random.getstate(), np.random.get_state()[1].copy()
    while not engine.over.all():
        for row in np.flatnonzero(~engine.over):
            say(engine, "+1", row)
    assert [shown(engine, row) for row in range(4)] == [alone[start] for start in (3, 1, 0, 2)]
    assert random.getstate() == expected[0] and (np.random.get_state()[1] == expected[1]).all()
    engine.reset([0], [1])
    assert transcript(engine, 0) == alone[1]


def test_states_go_on_as_the_episode_did():
    task = TextGym(Adder, {"terms": 6}, max_turn_tokens=4, max_length=120)
    assert task.can_save_state
    engine = Engine(task, 2)
    engine.reset(None, [7, 8])
    say(engine, "+10"), say(engine, "+1")
    state = engine.get_state(0)
    first = transcript(engine, 0)
    engine.set_state(1, copy.deepcopy(state))
    engine.set_state(0, state)
    assert transcript(engine, 0) == transcript(engine, 1) == first
    twin = copy.deepcopy(task)
    engine = Engine(twin, 1)
    engine.reset(None, [7])
    say(engine, "+10"), say(engine, "+1")
    assert transcript(engine, 0) == first


def test_what_cannot_be_copied_saves_no_state():
    task = TextGym(Uncopyable, max_length=60)
    assert not task.can_save_state
    engine = Engine(task, 1)
    engine.reset(None, [0])
    with pytest.raises(TokenGymError, match="cannot save its state"):
        engine.get_state(0)


# --- bad environments and arguments


@pytest.mark.parametrize(
    ("begin", "message"),
    [
        (None, "reset gave the observation None"),
        (b"bytes", "reset gave the observation b'bytes' \\(bytes\\): expected a string"),
        (("x",), "reset gave \\('x',\\): expected a string, or a string and an info"),
        (("x", None), "expected a string, or a string and an info"),
        ((1, {}), "gave the observation 1"),
        (KeyError("k"), "reset raised KeyError: 'k'"),
        (("x", {"legal_texts": []}), "legal_texts is empty"),
        (("x", {"legal_texts": "yes"}), "legal_texts is 'yes': expected a list of strings"),
        (("x", {"admissible_commands": [1]}), "expected a list of strings"),
        ("x" * 200, "the prompt 'x+' has 201 tokens"),
        ("grün", "ü"),
    ],
)
def test_bad_beginnings_are_refused_with_the_reason(begin, message):
    with pytest.raises(TokenGymError, match=message):
        replayed(begin=begin)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "step gave None: expected \\(text, reward"),
        ("x", "step gave 'x'"),
        (("x", 1.0), "step gave \\('x', 1.0\\)"),
        ((None, 1.0, True), "the observation None"),
        ((3, 1.0, True), "the observation 3"),
        (("x", math.nan, True), "the reward nan: expected a finite number"),
        (("x", "1", True), "the reward '1'"),
        (("x", None, True), "the reward None"),
        (("x", 10**400, True), "the reward 1000"),
        (("x", np.ones(2), True), "the reward array"),
        (("x", 1.0, "yes"), "gave 'yes' for whether the episode is over"),
        (("x", 1.0, None, {}), "gave None for whether"),
        (("x", 1.0, False, 2, {}), "gave 2 for whether"),
        (("x", 1.0, True, "info"), "the info 'info': expected a mapping"),
        (ValueError("no such move"), "step on 'a' raised ValueError: no such move"),
        (SystemError("broken"), "raised SystemError"),
        (("x", 0.0, False, {"legal_texts": ()}), "legal_texts is empty"),
        (("grün", 0.0, False), "ü"),
    ],
)
def test_bad_steps_are_refused_with_the_reason(given, message):
    engine = replayed(given)
    with pytest.raises(TokenGymError, match=message):
        say(engine, "a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env": 3}, "env=3: give a Gymnasium id"),
        ({"env": "nothing"}, "env='nothing': give"),
        ({"env": "Nothing-v0"}, "no environment of that id"),
        ({"env": "string_envs:Nothing"}, "cannot be loaded"),
        ({"env": Stateless}, "has no method reset"),
        ({"env": Numbers}, "action_space is Discrete\\(3\\), not Text.*'Gym'"),
        ({"env": "CartPole-v1"}, "not Text"),
        ({"env": Adder, "env_kwargs": {"term": 2}}, "cannot be made with"),
        ({"env": Adder, "env_kwargs": [2]}, "env_kwargs=\\[2\\]"),
        ({"env": Unrepeatable}, "began in two ways with one seed"),
        ({"legal": []}, "legal=\\[\\]"),
        ({"legal": "yes"}, "legal='yes'"),
        ({"repeats": "maybe"}, "'maybe'"),
        ({"max_turns": 0}, "max_turns=0"),
        ({"env": "textarena/Nothing-v0"}, "Nothing-v0|needs textarena"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        TextGym(**arguments)


def test_gym_leads_to_text_gym():
    gymnasium.register("Parrot-v0", entry_point=Parrot, max_episode_steps=2)
    try:
        with pytest.raises(TokenGymError, match="TextGym takes"):
            Gym("Parrot-v0")
    finally:
        gymnasium.registry.pop("Parrot-v0")


# --- TextArena

needs_textarena = pytest.mark.skipif(importlib.util.find_spec("textarena") is None, reason="textarena is not installed")


@needs_textarena
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_guess_the_number_of_textarena():
    numbers = [f"[{number}]" for number in range(1, 21)]
    task = make_task("TextGym", env="textarena/GuessTheNumber-v0", legal=numbers, max_turn_tokens=4, max_length=2000)
    engine = Engine(task, 3)
    engine.reset(None, [0, 0, 1])
    assert shown(engine, 0) == shown(engine, 1) and "between 1 and 20" in shown(engine)
    for row in range(3):
        low, high = 1, 20
        while not engine.over[row]:
            guess, before = (low + high) // 2, len(shown(engine, row))
            result = say(engine, f"[{guess}]", row)
            new = shown(engine, row)[before:]
            assert new.count(f"[{guess}]") == 1  # what the agent said, without the game's echo
            low, high = (guess + 1, high) if "higher" in new else (low, guess - 1)
        assert result.terminated[0] and result.rewards[0] == 1.0
    assert shown(engine, 0) == shown(engine, 1)


@needs_textarena
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tower_of_hanoi_of_textarena_and_its_saved_states():
    task = make_task("TextGym", env="textarena/TowerOfHanoi-v0", max_turn_tokens=8, max_length=9000)
    engine = Engine(task, 2)
    engine.reset(None, [0, 0])
    moves = ["[A C]", "[A B]", "[C B]", "[A C]", "[B A]", "[B C]", "[A C]"]
    for move in moves[:3]:
        say(engine, move)
    engine.set_state(1, engine.get_state(0))
    for row in range(2):
        results = [say(engine, move, row) for move in moves[3:]]
        assert [result.terminated[0] for result in results] == [False] * 3 + [True] and results[-1].rewards[0] == 1.0
    assert shown(engine, 0) == shown(engine, 1)


@needs_textarena
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mastermind_of_textarena_differs_between_starts_only():
    task = make_task("TextGym", env="textarena/Mastermind-v0", max_turn_tokens=16, max_length=4000)
    engine = Engine(task, 8)
    engine.reset(None, [0, 1, 2, 3, 4, 5, 6, 0])
    for row in range(8):
        say(engine, "[1 2 3 4]", row)
    replies = [shown(engine, row) for row in range(8)]
    assert replies[0] == replies[7] and len(set(replies)) > 2
    assert not say(engine, "nonsense").terminated[0] and say(engine, "nonsense").terminated[0]
