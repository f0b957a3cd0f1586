"""Bad input over the whole suite: a `TokenGymError` that says what was given, and neither another error nor a wait."""

import inspect

import gymnasium
import numpy as np
import pytest

from tokengym.envs import TASKS, Engine, TokenGymError, make_task, register_task
from tokengym.envs.checking.errors import finite_number, flag, positive_int, whole_number
from tokengym.envs.tasks.games.nim import Nim
from tokengym.envs.tasks.games.opponents import build_opponent
from tokengym.envs.text.prompts import read_prompts
from tokengym.envs.transforms import apply_transforms
from tokengym.envs.wrappers import RecordEpisodes, read_episodes

BASES = [name for name, entry in TASKS.items() if entry.variant_of is None and not entry.missing]
NOTHING_TAKES = [-(10**400), float("nan"), "neither a number nor a name", [[]], [None], object()]
"""Values that no argument of the suite's can have, apart from seeds of reward functions and the like."""


def arguments_of(name):
    return list(inspect.signature(TASKS[name].load().__init__).parameters)[1:]


@pytest.mark.parametrize("name", BASES)
def test_no_argument_takes_nonsense(name):
    taken = []
    for argument in arguments_of(name):
        for value in NOTHING_TAKES:
            try:
                make_task(name, **{argument: value})
            except TokenGymError:
                continue
            taken.append((argument, value))
    # A stop string may be any text.
    assert [what for what in taken if what[0] != "stop"] == []


@pytest.mark.parametrize("name", [name for name in BASES if "instance_seed" in arguments_of(name)])
@pytest.mark.parametrize("seed", [None, True, 1.5, -1, "a", [1, 2]])
def test_an_instance_hangs_on_a_seed_that_can_be_given_again(name, seed):
    with pytest.raises(TokenGymError, match="instance_seed"):
        make_task(name, instance_seed=seed)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("WordleMini", "words_only"),
        ("Wordle", "words_only"),
        ("HaggleChat", "asks_only"),
        ("FrozenLake", "is_slippery"),
        ("Taxi", "is_rainy"),
        ("Addition", "carry"),
    ],
)
def test_a_switch_is_true_or_false_and_no_text(name, option):
    with pytest.raises(TokenGymError, match=f"{option}='false': give True or False"):
        make_task(name, **{option: "false"})


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("TokenBandit", {"num_arms": 10**9}, "num_arms=1000000000 is too large"),
        ("TokenBandit", {"reward_scale": True}, "reward_scale=True: give a finite number"),
        ("TokenBandit", {"noise": -0.5}, "noise=-0.5 is negative"),
        ("Copy", {"k": 10**9}, "more than 100000 prompts"),
        ("Copy", {"k": 10**9, "num_tokens": 1}, "tokens: take a smaller k"),
        ("Copy", {"gap": 10**9}, "gap=1000000000.* take a smaller k"),
        ("Copy", {"gap": -1}, "gap=-1 is negative"),
        ("KLTree", {"num_tokens": 10**30}, "num_tokens=1000.* is too large"),
        ("Wordle", {"num_guesses": 10**9}, "num_guesses=1000000000 is too large"),
        ("Wordle", {"words": {"a": 1}}, "give a list of words"),
        ("CartPole", {"bins": 10**9}, "bins=1000000000 is too large"),
        ("CartPole", {"bounds": "abcd"}, "bounds='abcd': give 4 numbers above 0"),
        ("CartPole", {"bounds": [1, 1, 1, "x"]}, "bounds='x': give a finite number"),
        ("Pendulum", {"torques": 10**9}, "torques=1000000000 is too large"),
        ("FrozenLake", {"desc": 3}, "desc=3: give equally long strings"),
        ("FrozenLake", {"desc": [3, 4]}, "give equally long strings"),
        ("FrozenLake", {"desc": ["S"]}, "a map has at least two places"),
        ("FrozenLake", {"map_name": ["4x4"]}, "unknown map_name"),
        ("FrozenLake", {"success_rate": "often"}, "success_rate='often': give a finite number"),
        ("PickPlace", {"step_cost": "x"}, "step_cost='x': give a finite number"),
        ("HaggleChat", {"template": ""}, "unknown chat template ''"),
        ("HaggleChat", {"template": 0}, "template=0: give a name of"),
        ("HaggleChat", {"template": []}, "give a name of"),
        ("Nim", {"heaps": b"xy"}, "give the number of sticks"),
        ("DelayChain", {"delays": b"ab"}, "expected a list"),
        ("TextGeneration", {"stop": 0}, "stop=0: give non-empty strings"),
        ("TextGeneration", {"stop": {"a": 1}}, "give non-empty strings"),
    ],
)
def test_an_impossible_value_is_named_with_what_is_expected(name, arguments, message):
    with pytest.raises(TokenGymError, match=message):
        make_task(name, **arguments)


@pytest.mark.parametrize("argument", ["max_new_tokens", "max_length"])
def test_no_room_is_kept_for_a_context_that_no_machine_holds(argument):
    with pytest.raises(TokenGymError, match=r"max_length=.* is more than the 1000000 tokens"):
        Engine(make_task("TextGeneration", **{argument: 10**9}), 1)


def test_copy_may_be_as_large_as_it_always_was():
    assert make_task("Copy", k=5, num_tokens=10).k == 5  # 100,000 prompts
    with pytest.raises(TokenGymError, match="more than 100000 prompts"):
        make_task("Copy", k=1, num_tokens=100_001)


def test_the_checks_take_numpys_numbers_and_no_others():
    assert positive_int("n", np.int64(3)) == 3 and whole_number("n", np.uint8(0)) == 0
    assert finite_number("x", np.float32(0.5)) == 0.5 and finite_number("x", np.int8(2)) == 2.0
    assert flag("f", np.True_) is True
    for value in (True, np.True_, "1", None, float("nan"), float("inf"), 10**400, 1j, [1.0]):
        with pytest.raises(TokenGymError, match="give a finite number"):
            finite_number("x", value)
    for value in (True, 2.0, "2", None, np.array([2]), np.array(2.5)):
        with pytest.raises(TokenGymError, match="is not a whole number"):
            positive_int("n", value)
    with pytest.raises(TokenGymError, match="n=5 is too large: give an integer of at most 4"):
        positive_int("n", 5, 4)
    with pytest.raises(TokenGymError, match="give True or False"):
        flag("f", 1)


@pytest.mark.parametrize(
    "name", ["Mazee", "tokengym/Maze-partal-v0", "", None, 3, "..:Maze", "nowhere_to_be_found:Maze"]
)
def test_an_unknown_environment_is_refused(name):
    with pytest.raises(TokenGymError, match=r"unknown environment|cannot be imported|no module"):
        make_task(name)


def test_gymnasium_names_the_nearest_environment_to_an_unknown_variant():
    with pytest.raises(gymnasium.error.NameNotFound, match="Maze-partial"):
        gymnasium.make("tokengym/Maze-partal-v0")


def test_an_extra_that_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    for name, entry in TASKS.items():
        if entry.modules:
            command = rf"pip install 'tokengym\[{entry.extra}\]'"
            with pytest.raises(TokenGymError, match=f"needs {entry.modules[0]}.* is not installed: {command}"):
                gymnasium.make(f"tokengym/{name}-v0")


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"name": []}], "unknown transform"),
        ([{"name": "clock", "base": 10**12}], "clock: base=1000000000000 is too large"),
    ],
)
def test_a_wrong_transform_is_refused(transforms, message):
    with pytest.raises(TokenGymError, match=message):
        apply_transforms(make_task("Lattice"), transforms)


@pytest.mark.parametrize(
    ("opponent", "message"),
    [
        ({"checkpoint": None}, "give its path"),
        ({"checkpoint": "folder", "greedy": "yes"}, "'greedy' is True or False"),
        ("optimall", "did you mean 'optimal'"),
    ],
)
def test_a_wrong_opponent_is_refused(opponent, message):
    with pytest.raises(TokenGymError, match=message):
        build_opponent(opponent)


@pytest.mark.parametrize(
    "policy", [lambda: None, lambda tokens, lengths: "x", lambda tokens, lengths, masks: 1 / 0, "json:loads"]
)
def test_a_policy_that_fails_is_told_as_the_opponents(policy):
    with pytest.raises(TokenGymError, match=r"the opponent's policy raised \w+Error") as caught:
        _ = Nim((2, 2), policy).arrays
    assert caught.value.__cause__ is not None


def test_a_missing_checkpoint_of_an_opponent_is_named(tmp_path):
    with pytest.raises(TokenGymError, match=r"There is no checkpoint at .*nowhere"):
        make_task("Nim", opponent={"checkpoint": str(tmp_path / "nowhere")})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: write a prompt into each line"),
        (b"\n  \n\t\n", "is empty"),
        (b"[" * 100_000, "line 1 .* is not JSON"),
        (b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}", "line 1 .* is not JSON"),
        (b'{"prompt": "\\ud800"}', "line 1 .* half of a surrogate pair"),
    ],
)
def test_a_prompt_file_that_cannot_be_read_is_named(tmp_path, content, message):
    (tmp_path / "prompts.jsonl").write_bytes(content)
    with pytest.raises(TokenGymError, match=message):
        read_prompts(tmp_path / "prompts.jsonl")


@pytest.mark.parametrize("path", ["a" * 10_000, "nul\x00", "/"])
def test_a_path_that_names_no_file_is_refused(path):
    with pytest.raises(TokenGymError, match="does not exist"):
        read_prompts(path)


def test_what_is_no_state_cannot_be_restored():
    env = gymnasium.make("tokengym/Lattice-v0").unwrapped
    env.reset(seed=0)
    for junk in ({}, None, 3):
        with pytest.raises(TokenGymError, match="give what get_state returned"):
            env.set_state(junk)


def test_a_checkpoint_of_another_game_is_told_as_such():
    def policy(tokens, lengths, masks):
        raise TokenGymError("a state of 10 tokens does not fit the agent's context of 5")

    with pytest.raises(TokenGymError, match=r"the opponent's policy cannot play here: .* was it made for this game"):
        _ = Nim((2, 2), policy).arrays


@pytest.mark.parametrize("path", [3, None, "nul\x00"])
def test_a_record_needs_a_file_that_can_be_written(path):
    with pytest.raises(TokenGymError, match=r"path=.*(name the file|cannot be written)"):
        RecordEpisodes(gymnasium.make("tokengym/Lattice-v0"), path)


def test_a_record_with_deep_brackets_is_no_episode(tmp_path):
    (tmp_path / "episodes.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(TokenGymError, match="line 1 is no episode"):
        list(read_episodes(tmp_path / "episodes.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kwargs": 3}, "kwargs=3: give a mapping"),
        ({"reward_threshold": "a"}, "reward_threshold='a': give a finite"),
    ],
)
def test_a_registration_that_cannot_serve_is_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        register_task("NeverRegistered", "Maze", **arguments)
    assert "NeverRegistered" not in TASKS
