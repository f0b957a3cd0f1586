"""What decides a run: it comes back from the run's file bit for bit, or is refused at the door."""

import datetime
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import make_study, write_run

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.study.file import study_from_mapping
from tokengym.experiments.study.folder import RunFolder
from tokengym.experiments.study.spec import AlgorithmSpec, EnvironmentSpec, Study


def study_of(config=None, **environment):
    return Study(
        name="s",
        total_tokens=100,
        seeds=(0,),
        environments=(EnvironmentSpec(name="Copy", **environment),),
        algorithms=(AlgorithmSpec(name="ppo", config=config or {}),),
    )


@pytest.mark.parametrize(
    "value",
    [math.inf, -math.inf, -0.0, 1e-310, 10**40, (1, (2, 3)), np.float32(0.1), np.int64(3), np.array([1.5]), "1e-3",
     "yes", "2024-01-01", "é\n\x85", {"a": [None, True, {"b": math.inf}]}, {"010": {"yes": []}}],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("where", ["config", "kwargs", "agent"])
def test_a_finished_run_is_still_the_one_asked_for(tmp_path, value, where):
    study = study_of(**{where: value if where == "agent" else {"x": value}})
    write_run(tmp_path, study.runs()[0], final=0.5)
    again = study_of(**{where: value if where == "agent" else {"x": value}})
    assert RunFolder(tmp_path / "runs" / "Copy" / "ppo" / "seed-0").state(again.runs()[0]) == "done"


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT
_VALUE = st.recursive(_SCALAR, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=8)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(_TEXT, _VALUE, max_size=3))
def test_any_configuration_survives_hash_file_and_hash(tmp_path_factory, config):
    (spec,) = study_of(config).runs()
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.begin(spec)
    folder.finish({"score": 1.0})
    assert folder.state(spec) == "done"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "is NaN"),
        ([1, {"y": math.nan}], r"x\[1\]\.y is NaN"),
        (datetime.date(2024, 1, 1), "a date: only texts"),
        ({1, 2}, "a set: only texts"),
        (b"x", "a bytes: only texts"),
        (len, "name a function as 'module:name'"),
        ({1: "a"}, "has the key 1; keys are texts"),
        ({"a": 1, 2: 3, None: 4}, "keys are texts"),
        ("\ud800", "lone surrogate"),
        (10**5000, "more than 300 digits"),
    ],
    ids=["nan", "inner-nan", "date", "set", "bytes", "function", "number-key", "mixed-keys", "surrogate", "huge"],
)
def test_what_cannot_come_back_is_refused_at_the_door(value, message):
    for where in ("config", "kwargs"):
        with pytest.raises(TokenGymError, match=message):
            study_of(**{where: {"x": value}})


def test_a_value_that_holds_itself_is_refused():
    value: list = []
    value.append(value)
    with pytest.raises(TokenGymError, match="holds itself"):
        study_of({"x": value})


@pytest.mark.parametrize("name", ["beta", "random_return", "optimal_return"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_number_of_a_score_is_finite(name, value):
    with pytest.raises(TokenGymError, match=rf"{name} is .*; expected None or a number"):
        study_from_mapping({"total_tokens": 9, "environments": {"Copy": {name: value}}, "algorithms": {"ppo": {}}})


def test_a_time_limit_may_be_infinite():
    assert make_study().stall_timeout == 900
    assert (
        study_from_mapping(
            {"total_tokens": 9, "environments": {"Copy": {}}, "algorithms": {"ppo": {}}, "stall_timeout": math.inf}
        ).stall_timeout
        == math.inf
    )
