"""YAML: what stands in a file means what YAML 1.2 says, and what is written comes back bit for bit."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.commands.train import agent_specification
from tokengym.experiments.study.mappings import parse_arguments
from tokengym.experiments.study.yaml_text import read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("01000", 1000),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("1e-3", 0.001),
        ("1.e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("~", None),
        ("", None),
        *((text, text) for text in ("yes", "no", "on", "off", "y", "1:30", "1_000", "0b11", "2024-01-01", "=", "-0x1")),
        ("'1e-3'", "1e-3"),
        ("!!float 3", 3.0),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
        ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ],
)
def test_a_scalar_is_what_the_core_schema_of_yaml_1_2_says(text, value):
    found = read_yaml(text, "it")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' stands there twice, first in line 1"),
        ("a: {b: 1,\n 'b': 2}", "line 2.*'b' stands there twice"),
        ("{1: a, 1.0: b}", "twice"),
        ("a: {? [1] : 2}", "line 1.*a key must be one text or number"),
        ("--- 1\n--- 2", "line 2.*single document"),
        ("a:\t1", r"line 1.*'\\t'"),
        ("1e400", "too large"),
        ("9" * 5000, "at most 400 digits"),
        ("&a [*a]", "an alias holds itself"),
        ("&a {<<: *a}", "an alias holds itself"),
        ("[" * 3000, "nested too deeply"),
        ("!!set {a, b}", "tag.*set"),
        ("!!timestamp 2024-01-01", "tag.*timestamp"),
        ("!!python/object/apply:os.getcwd []", "tag.*python"),
        ("!!int x", "expected a whole number, got 'x'"),
        ("\x00", "unacceptable character"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text, message):
    with pytest.raises(TokenGymError, match=f"it is (not valid YAML: .*{message}|{message})"):
        read_yaml(text, "it")


def test_aliases_that_unfold_to_billions_of_values_are_refused():
    lines = ["a: &a [" + ", ".join("1" * 10) + "]"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    with pytest.raises(TokenGymError, match="unfolds to more than 100,000 values"):
        read_yaml("\n".join(lines), "it")


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT
_VALUE = st.recursive(_SCALAR, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=10)


@settings(max_examples=150, deadline=None)
@given(_VALUE)
def test_what_is_written_comes_back_bit_for_bit(value):
    assert repr(read_yaml(write_yaml({"k": value}), "it")) == repr({"k": value})


@pytest.mark.parametrize("text", ["1e-3", "yes", "1:30", "2024-01-01", "010", "1_0", "null", "", "<<", ".inf", "a: b"])
def test_a_text_is_a_text_to_readers_of_yaml_1_1_too(text):
    assert yaml.safe_load(write_yaml([text])) == read_yaml(write_yaml([text]), "it") == [text]


def test_the_command_line_reads_values_in_the_same_way():
    assert parse_arguments(["x=1e-3", "y=010", "z=no"]) == {"x": 0.001, "y": 10, "z": "no"}
    assert agent_specification("{kind: gpt2, dropout: 1e-1}") == {"kind": "gpt2", "dropout": 0.1}
    with pytest.raises(TokenGymError, match="'x' of the environment is given twice"):
        parse_arguments(["x=1", "x=2"])
    with pytest.raises(TokenGymError, match="'a' stands there twice"):
        agent_specification("{a: 1, a: 2}")
