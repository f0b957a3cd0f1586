"""Every configuration that docs/papers.md names is one, and every algorithm of this package is named there."""

import re
from pathlib import Path

import pytest
import yaml

from tokengym.algorithms import ALGORITHMS, check_config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "papers.md"
NAMED = re.findall(r"`([a-z][a-z0-9-]*)(?:\(([^`]*)\))?`", PAGE.read_text(encoding="utf-8").partition("## ")[2])
NAMED = [(name, fields) for name, fields in NAMED if fields or name in ALGORITHMS.built_in]
LEFT_OUT = {"sft", "filtered-bc"}
"""What is older than its papers."""


def made(name, fields):
    given = dict(field.split("=") for field in fields.split(", ")) if fields else {}
    values = {field: yaml.safe_load(value) for field, value in given.items()}
    return check_config(name, values), values


@pytest.mark.parametrize(("name", "fields"), NAMED)
def test_each_configuration_is_accepted(name, fields):
    config, values = made(name, fields)
    assert all(getattr(config, field) == value for field, value in values.items())


def test_every_algorithm_of_this_package_is_the_configuration_of_some_paper():
    ours = {name for name in ALGORITHMS.built_in if not name.startswith("sb3-")}
    assert ours - {name for name, _ in NAMED} - LEFT_OUT == set()


def test_what_papers_insist_on_is_in_their_configurations():
    exactly_on_policy = [made(name, fields)[0] for name, fields in NAMED if "preset=opo" in fields]
    assert exactly_on_policy and all(config.one_step for config in exactly_on_policy)
    # Path consistency, of control and of text, is about an entropy: a KL to the uniform policy.
    with_entropy = [made(name, fields)[0] for name, fields in NAMED if name == "path-consistency"]
    assert len(with_entropy) == 3 and all(config.kl_reference == "uniform" for config in with_entropy)
