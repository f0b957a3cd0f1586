"""Specifications of agents are checked before anything is built, and without torch."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tokengym.agents import check_agent_spec
from tokengym.agents.specs import KINDS, machine_memory, sizes_of
from tokengym.algorithms import PPO
from tokengym.envs.checking.errors import TokenGymError

NOT_A_NUMBER: list[Any] = ["2", "", True, None, [2], (2,), {}, math.nan, math.inf, -math.inf, -1, 0, 1e308, 10**400]
NOT_A_SIZE = [*NOT_A_NUMBER, 0.5, 1.5, 2.0, 2**31, 2**63]
KEYS = [(kind, field.name) for kind, sizes in KINDS.items() for field in dataclasses.fields(sizes)]


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_a_size_refuses_every_wrong_value_and_names_itself(kind: str, key: str):
    for value in NOT_A_NUMBER if key == "initial_std" else NOT_A_SIZE:
        if key == "policy_bias" and isinstance(value, bool):
            continue
        with pytest.raises(TokenGymError, match=f"a {kind} agent: {key} is .*; expected "):
            check_agent_spec({"kind": kind, key: value})


@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_of_numpy_are_sizes(kind: str):
    key = dataclasses.fields(KINDS[kind])[0].name
    _, sizes = sizes_of({"kind": kind, key: np.int64(16)})
    assert type(getattr(sizes, key)) is int


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("gpt2-tny", "did you mean 'gpt2-tiny'"),
        ("", "unknown agent ''"),
        (None, "a dict with a 'kind'"),
        (3, "a dict with a 'kind'"),
        (["gpt2-tiny"], "a dict with a 'kind'"),
        ({}, "has no 'kind'"),
        ({"kind": None}, "unknown kind of agent None"),
        ({"kind": ["gpt2"]}, "unknown kind of agent"),
        ({"kind": "gpt2", "layers": 2}, "num_layers"),
        ({"kind": "gpt2", 3: 2}, "unknown key of a gpt2 agent '3'"),
        ({"kind": "gpt2", "hidden_size": 6}, "not a multiple of num_heads 4"),
        ({"kind": "transformers", "config": "gpt2"}, "a mapping with a 'model_type'"),
        ({"kind": "transformers", "weights": "x"}, "unknown key of a transformers agent"),
    ],
)
def test_what_is_no_specification_is_refused_with_a_way_to_mend_it(spec: Any, says: str):
    with pytest.raises(TokenGymError, match=says):
        check_agent_spec(spec)


def test_further_names_are_right_where_the_caller_says_so():
    check_agent_spec("mlp", also=["mlp"])
    with pytest.raises(TokenGymError, match="unknown agent 'mlp'"):
        check_agent_spec("mlp")


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "gpt2", "hidden_size": 65_536, "num_layers": 1024},
        {"kind": "gru", "hidden_size": 65_536, "num_layers": 1024},
        {"kind": "table", "capacity": 2**31 - 1},
    ],
)
def test_a_model_that_no_memory_holds_is_refused_before_it_is_built(spec: dict[str, Any], monkeypatch):
    monkeypatch.setattr("tokengym.agents.specs.machine_memory", lambda: 64 * 2**30)
    with pytest.raises(TokenGymError, match=r"learning takes .* GiB; this machine has 64.0 GiB: make it smaller"):
        PPO("Copy", spec)


def test_the_memory_of_the_machine_is_known():
    assert 2**28 < machine_memory() < 2**63
