"""Studies by name, and results for programs: what `compare` finds, lists and prints."""

import json
import re
from pathlib import Path

import fake_jobs
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.commands.main import main
from tokengym.experiments.study import pool
from tokengym.experiments.study.packaged import descriptions, find_study, packaged_studies

NAMES = (
    "claim",
    "claim-wider",
    "exploration",
    "first",
    "kl-fixed-points",
    "kl-optimum",
    "learning",
    "over-optimisation",
    "sort",
    "suite",
    "zoo",
    "zoo-presets",
    "zoo-quick",
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "JOBS", fake_jobs)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_that_comes_with_the_package_is_found_by_its_name(name):
    assert find_study(name) == packaged_studies()[name]
    assert find_study(name).read_text().count(f"name: {name}\n") == 1


@pytest.mark.parametrize("name", ["first", "first.yaml"])
def test_a_file_of_that_name_in_the_folder_goes_first(name):
    Path(name).write_text("")
    assert find_study("first") == Path(name)


def test_a_folder_of_that_name_is_no_study():
    Path("first").mkdir()
    assert find_study("first") == packaged_studies()["first"]


def test_a_name_that_is_none_is_refused_with_the_nearest_and_a_path_is_left_to_be_read():
    with pytest.raises(TokenGymError, match="unknown study 'firs': did you mean 'first'"):
        find_study("firs")
    assert find_study("there/firs") == Path("there/firs")


def test_the_list_says_a_sentence_for_each(capsys):
    assert main(["compare", "--list"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name, sentence in descriptions().items():
        assert name in NAMES and re.fullmatch(r".+\. \(\d+ runs\)", sentence) and sentence in printed
    assert main(["compare", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == descriptions()


def test_a_study_must_be_named(capsys):
    assert main(["compare"]) == 2
    assert "name a study" in capsys.readouterr().err


def test_json_is_all_that_goes_to_the_output_and_holds_what_was_found(capsys):
    Path("s.yaml").write_text(
        "total_tokens: 10\nseeds: [0]\nenvironments: {Copy: }\nalgorithms: {ppo: {}, raises: {algorithm: ppo}}\n"
    )
    assert main(["compare", "s.yaml", "--workers", "1", "--json"]) == 1
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert "2 of 2 runs to do" in captured.err and captured.out.count("\n") == 1
    assert told["failures"] == {"Copy/raises/seed-0": "ValueError: loss is NaN"} and told["missing"] == []
    assert told["environments"]["Copy"]["scores"]["ppo"].keys() == {"0"}
    assert told["folder"] == str(Path("results/s").absolute())
    assert all(Path(path).stat().st_size for path in told["files"].values())
    assert json.loads(Path(told["files"]["summary"]).read_text()).items() <= told.items()
    assert main(["report", "s.yaml", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == told and "Aggregates" in captured.err
