"""What constructors show: their hyperparameters, to editors and to Python, and what an algorithm was made with."""

import dataclasses
import inspect
import typing

import pytest

from tokengym.algorithms import ALGORITHMS, PPO, Learner, write_overrides
from tokengym.algorithms.configs import overrides
from tokengym.envs.checking.errors import TokenGymError


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_signature_shows_the_hyperparameters_with_their_defaults(name):
    kind = ALGORITHMS[name]
    parameters = inspect.signature(kind).parameters
    assert list(parameters)[:3] == ["env", "agent", "config"] and "seed" in parameters
    for field in dataclasses.fields(kind.Config):
        shown = parameters[field.name]
        assert shown.kind is shown.KEYWORD_ONLY and shown.default == field.default
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_editors_read_are_the_fields_of_the_configuration(name):
    kind = ALGORITHMS[name].Config
    written = typing.get_type_hints(getattr(overrides, kind.__name__.replace("Config", "Overrides")))
    # Without the ranges, which `Annotated` adds.
    declared = typing.get_type_hints(kind)
    assert written == {field.name: declared[field.name] for field in dataclasses.fields(kind)}


def test_what_editors_read_is_what_the_script_writes():
    assert write_overrides.PLACE.read_text(encoding="utf-8") == write_overrides.overrides_text()


def test_an_algorithm_is_shown_with_its_task_its_agent_and_what_differs_from_the_defaults():
    ppo = PPO("Copy", agent="table", seed=3, epochs=2, minibatches=8, rollout_tokens=40)
    assert repr(ppo) == "PPO(Copy(), agent=Agent(table, …), seed=3, num_timesteps=0, rollout_tokens=40, epochs=2)"
    ppo.learn(40)
    assert f"num_timesteps={ppo.num_timesteps}" in repr(ppo)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_has_a_short_repr(name):
    algorithm = ALGORITHMS[name]("Copy", seed=1)
    assert repr(algorithm).startswith(type(algorithm).__name__ + "(Copy(") and len(repr(algorithm)) < 160
    with pytest.raises(TokenGymError, match="Config field 'epoch"):
        ALGORITHMS[name]("Copy", epochz=1)


@pytest.mark.parametrize("name", ALGORITHMS.built_in)
def test_every_algorithm_is_a_learner(name):
    learner = ALGORITHMS[name]("Copy", seed=1)
    asked = {part for part in vars(Learner) if not part.startswith("_")} | set(Learner.__annotations__)
    assert {"learn", "predict", "save", "load", "resumable", "num_timesteps", "progress"} <= asked
    assert [part for part in sorted(asked) if not hasattr(learner, part)] == []
