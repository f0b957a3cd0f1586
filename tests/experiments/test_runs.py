"""Run folders: what a finished, failed, interrupted, changed and corrupt one looks like."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import make_study, write_run

from tokengym.envs.errors import TokenGymError
from tokengym.experiments.runs import RunFolder


@pytest.fixture
def spec():
    return make_study().runs()[0]


def test_a_folder_goes_from_missing_over_interrupted_to_done(tmp_path, spec):
    folder = RunFolder(tmp_path / "run")
    assert folder.state(spec) == "missing"
    folder.begin(spec)
    assert folder.state(spec) == "interrupted"
    folder.finish({"score": 0.5})
    assert folder.state(spec) == "done"
    assert folder.verify() == {"score": 0.5}


def test_a_failure_is_kept_with_its_traceback_until_the_run_begins_again(tmp_path, spec):
    folder = RunFolder(tmp_path / "run")
    folder.begin(spec)
    folder.fail("ValueError: no", "Traceback …")
    assert folder.state(spec) == "failed"
    assert folder.failure() == {"error": "ValueError: no", "traceback": "Traceback …"}
    folder.begin(spec)
    assert folder.state(spec) == "interrupted"


def test_beginning_again_removes_what_an_earlier_attempt_wrote(tmp_path, spec):
    folder = write_run(tmp_path, spec)
    folder.begin(spec)
    assert folder.read("metrics.jsonl") == folder.read("evaluations.jsonl") == folder.read("timings.jsonl") == []


def test_records_come_back_as_plain_numbers_and_what_is_not_finite_as_null(tmp_path, spec):
    folder = RunFolder(tmp_path / "run")
    folder.begin(spec)
    folder.append("metrics.jsonl", {"a": np.float32(0.5), "b": float("nan"), "c": (1, 2), "d": np.int64(3)})
    assert folder.read("metrics.jsonl") == [{"a": 0.5, "b": None, "c": [1, 2], "d": 3}]


def test_a_last_line_cut_short_is_left_out_and_a_broken_one_before_it_is_named(tmp_path, spec):
    folder = RunFolder(tmp_path / "run")
    folder.begin(spec)
    path = folder.path / "metrics.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    assert folder.read("metrics.jsonl") == [{"a": 1}]
    path.write_text('{"a": \n{"a": 1}\n')
    with pytest.raises(TokenGymError, match=r"line 1 of metrics\.jsonl"):
        folder.read("metrics.jsonl")


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl", "episodes.jsonl"])
def test_a_sealed_run_with_an_altered_or_missing_file_is_corrupt(tmp_path, spec, name):
    folder = write_run(tmp_path, spec)
    path = folder.path / name
    whole = path.read_text()
    path.write_text(whole[:-5])
    with pytest.raises(TokenGymError, match=f"{name} differs from what was sealed; nothing was changed"):
        folder.state(spec)
    path.unlink()
    with pytest.raises(TokenGymError, match=f"corrupt: {name} is missing"):
        folder.state(spec)
    path.write_text(whole)
    assert folder.state(spec) == "done"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("done.json", "{", r"done\.json cannot be read"),
        ("done.json", "[]", r"done\.json is no JSON object"),
        ("done.json", "{}", "not a seal"),
        ("config.yaml", "a: [", r"config\.yaml cannot be read"),
        ("config.yaml", "{}", r"config\.yaml cannot be read"),
    ],
)
def test_a_broken_seal_or_configuration_is_named(tmp_path, spec, name, content, message):
    folder = write_run(tmp_path, spec)
    (folder.path / name).write_text(content)
    with pytest.raises(TokenGymError, match=message):
        folder.state(spec)


def test_an_edited_configuration_is_noticed(tmp_path, spec):
    folder = write_run(tmp_path, spec)
    path = folder.path / "config.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.001", "learning_rate: 0.002"))
    with pytest.raises(TokenGymError, match=r"config\.yaml was edited"):
        folder.state(spec)


def test_a_finished_run_of_another_configuration_is_not_silently_reused(tmp_path, spec):
    folder = write_run(tmp_path, spec)
    changed = replace(spec, config={"learning_rate": 0.5}, total_tokens=7)
    with pytest.raises(TokenGymError) as caught:
        folder.state(changed)
    assert "config.learning_rate: 0.001 there, 0.5 asked" in str(caught.value)
    assert "total_tokens: 20000 there, 7 asked" in str(caught.value)
    assert "--replace-changed" in str(caught.value)
    assert folder.state(changed, changed_counts_as_missing=True) == "missing"


def test_times_are_kept_out_of_everything_that_is_sealed(tmp_path, spec):
    first, second = write_run(tmp_path / "a", spec), RunFolder(tmp_path / "b" / "runs" / spec.name)
    write_run(tmp_path / "b", spec)
    second.append("timings.jsonl", {"kind": "end", "seconds": 123.4})
    assert (first.path / "done.json").read_bytes() == (second.path / "done.json").read_bytes()
    assert "timings.jsonl" not in json.loads((first.path / "done.json").read_text())["files"]
