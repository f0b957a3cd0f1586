"""Specifications: what a task was made from is JSON, names what can be imported, and says what must be given again."""

import functools
import json
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from tokengym.envs import (
    FAMILIES,
    TASKS,
    Engine,
    TokenGymError,
    build_reward,
    make_task,
    missing_arguments,
    register_task,
)
from tokengym.envs.specification import import_name, record, resolve

MODULE = """
from tokengym.envs.rewards.rules import Keyword
from tokengym.envs.tasks.text.text_generation import TextGeneration

def shout(completions, **kwargs):
    return [float(text.isupper()) for text in completions]

class Scale:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, completions, **kwargs):
        return [self.factor] * len(completions)
    @classmethod
    def two(cls, completions, **kwargs):
        return [2.0] * len(completions)
    @staticmethod
    def three(completions, **kwargs):
        return [3.0] * len(completions)

class Described(Scale):
    def to_spec(self):
        return {"entry_point": "my_rewards:Described", "kwargs": {"factor": self.factor}}

HALF = Scale(0.5)

def always(helper, completions=None):
    return lambda completions, **kwargs: [helper] * len(completions)

class Asked(TextGeneration):
    def __init__(self, judge=None, **arguments):
        self.judge = judge
        super().__init__(**arguments)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's."""
    (tmp_path / "my_rewards.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_rewards  # pyright: ignore[reportMissingImports]

    yield my_rewards
    sys.modules.pop("my_rewards", None)


@pytest.fixture(autouse=True)
def clean_registry():
    """Forgets afterwards what a test registered."""
    mappings = [FAMILIES, TASKS, gymnasium.registry, *FAMILIES.values()]
    before = [dict(mapping) for mapping in mappings]
    yield
    for mapping, entries in zip(mappings, before, strict=True):
        mapping.clear()
        mapping.update(entries)


def again(task):
    """The task that the specification makes, after a way through JSON."""
    spec = json.loads(json.dumps(task.spec))
    assert spec == task.spec
    return make_task(spec["id"], **spec["kwargs"])


def test_a_function_is_recorded_by_the_name_that_imports_it(mine):
    task = make_task("TextGeneration", reward=mine.shout)
    assert task.spec == {"id": "tokengym/TextGeneration-v0", "kwargs": {"reward": "my_rewards:shout"}}
    assert missing_arguments(task.spec) == {}
    assert again(task).scorer.function is mine.shout


def test_classes_class_methods_and_objects_of_a_module_are_recorded_too(mine):
    names = {
        "my_rewards:HALF": mine.HALF,
        "my_rewards:Scale.two": mine.Scale.two,
        "my_rewards:Scale.three": mine.Scale.three,
    }
    for name, function in names.items():
        task = make_task("TextGeneration", reward=function)
        assert task.spec["kwargs"] == {"reward": name}
        assert again(task).scorer.function == function
    assert import_name(mine.Scale) == "my_rewards:Scale"


def test_functions_inside_of_rules_and_lists_are_recorded(mine):
    terms = [{"weight": 0.5, "reward": mine.shout}, (2, mine.HALF)]
    task = make_task("TextGeneration", reward={"name": "weighted_sum", "terms": terms})
    assert task.spec["kwargs"]["reward"]["terms"] == [
        {"weight": 0.5, "reward": "my_rewards:shout"},
        [2, "my_rewards:HALF"],
    ]
    assert [pair[1] for pair in again(task).scorer.function.terms] == [mine.shout, mine.HALF]
    assert make_task("TextGeneration", reward=[mine.shout, "my_rewards:HALF"]).spec["kwargs"] == {
        "reward": ["my_rewards:shout", "my_rewards:HALF"]
    }


def test_an_object_that_gives_its_specification_is_recorded_by_it(mine):
    rule = {"name": "weighted_sum", "terms": [{"weight": 1.0, "reward": {"name": "keyword", "words": ["sea"]}}]}
    task = make_task("TextGeneration", reward=build_reward(rule))
    assert task.spec["kwargs"] == {"reward": rule}
    assert again(task).scorer.function == task.scorer.function
    task = make_task("TextGeneration", reward=mine.Described(0.25))
    assert again(task).scorer.function.factor == 0.25


def test_what_has_no_name_must_be_given_again(mine):
    def local(completions, **kwargs):
        return [1.0] * len(completions)

    closed, partial = mine.always(1.0), functools.partial(mine.shout, key=1)
    tokenizer = make_task("TextGeneration").tokenizer
    functions = {
        "the function always.<locals>.<lambda> of my_rewards": closed,
        f"test_what_has_no_name_must_be_given_again.<locals>.local of {__name__}": local,
        "an object of the class functools.partial": partial,
        "an object of the class my_rewards.Scale": mine.Scale(1.0),
    }
    for said, function in functions.items():
        task = make_task("TextGeneration", reward=[mine.shout, function], max_new_tokens=3)
        json.dumps(task.spec)
        (missing,) = missing_arguments(task.spec).items()
        assert missing[0] == "reward" and said in missing[1]
        with pytest.raises(TokenGymError, match=r"TextGeneration.*could not hold reward .*give reward=… anew"):
            again(task)
        kwargs = {**task.spec["kwargs"], "reward": [mine.shout, function]}
        assert make_task("TextGeneration", **kwargs).spec == task.spec
    assert list(missing_arguments(make_task("TextGeneration", tokenizer=tokenizer).spec)) == ["tokenizer"]
    assert missing_arguments(None) == {}


def test_what_stands_in_a_script_has_no_name_for_another_process():
    shout = type(sys)("__main__")
    exec("def shout(): pass", shout.__dict__)
    assert import_name(shout.shout) is None


def test_another_tasks_object_is_recorded_and_resolved_in_any_argument(mine):
    register_task("Asked", mine.Asked)
    for judge in (mine.shout, mine.HALF, mine.Scale):
        task = make_task("Asked", judge=judge)
        assert again(task).judge is judge
    task = make_task("Asked", judge={"by": [mine.shout, 3], "at": {"deep": mine.HALF}})
    assert again(task).judge == {"by": [mine.shout, 3], "at": {"deep": mine.HALF}}


def test_a_name_that_is_a_string_stays_a_string(mine):
    register_task("Asked", mine.Asked)
    assert again(make_task("Asked", judge="my_rewards:shout")).judge == "my_rewards:shout"


def test_what_json_has_no_form_for_is_written_as_what_it_reads_as(tmp_path):
    given = {"a": (1, 2), "b": np.int64(3), "c": np.array([0.5]), "d": tmp_path, "e": np.float64(2), "f": np.True_}
    written = record(given)
    assert written == {"a": [1, 2], "b": 3, "c": [0.5], "d": str(tmp_path), "e": 2.0, "f": True}
    assert json.loads(json.dumps(written)) == written
    assert list(missing_arguments({"kwargs": record({"x": {1: 2}, "y": b"no", "z": {3}})})) == ["x", "y", "z"]


def test_an_opponent_is_recorded_by_name(mine):
    task = make_task("TicTacToe", opponent=mine.shout)
    assert task.spec["kwargs"] == {"opponent": "my_rewards:shout"}
    assert again(task).opponent == "my_rewards:shout"


def test_a_name_with_nothing_under_it_is_named():
    with pytest.raises(TokenGymError, match="judge entry point 'nowhere:f' cannot be loaded"):
        resolve({"judge": {"$import": "nowhere:f"}}, "this")


def test_an_argument_is_what_was_given_while_it_is_made(mine):
    task = make_task("TextGeneration", reward=mine.always(0.5), max_new_tokens=1)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    assert engine.step(None, np.array([5])).rewards.tolist() == [0.5]


def test_gymnasium_s_specification_is_written_and_read_too(mine):
    env = gymnasium.make("tokengym/TextGeneration-v0", reward=[mine.shout, mine.HALF], prompts=["the sea"])
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec == env.spec
    assert [pair[1] for pair in again.unwrapped.task.scorer.function.terms] == [mine.shout, mine.HALF]
    envs = gymnasium.make_vec("tokengym/TextGeneration-v0", num_envs=2, reward=mine.shout)
    assert EnvSpec.from_json(envs.spec.to_json()).kwargs["reward"] == "my_rewards:shout"
    local = gymnasium.make("tokengym/TextGeneration-v0", reward=mine.always(1.0))
    with pytest.raises(TokenGymError, match="give reward=… anew"):
        gymnasium.make(EnvSpec.from_json(local.spec.to_json()))
