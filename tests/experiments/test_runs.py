"""Run folders: what a finished, failed, interrupted, changed and corrupt one looks like."""

import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from synthetic import make_study, write_run

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.study import folder as runs
from tokengym.experiments.study.folder import RunFolder


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


class Killed(BaseException):
    """Stands for kill -9: nothing that the program does handles it."""


_left: list[int] = []


def _kill(event, arguments):
    if _left and event in ("open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "shutil.rmtree"):
        _left[0] -= 1
        if _left[0] < 0:
            raise Killed


sys.addaudithook(_kill)  # stays for good, and does nothing while `_left` is empty


def attempt(folder, spec, operations):
    """Make a whole run, killed before the operation of that number on its files; return whether it was."""
    _left[:] = [operations]
    try:
        folder.begin(spec)
        folder.append("metrics.jsonl", {"tokens": 1})
        folder.checkpoints.mkdir()
        (folder.checkpoints / "final").write_text("weights")
        folder.finish({"score": 0.5})
    except Killed:
        return True
    finally:
        _left.clear()
    return False


def contents(folder):
    return {path.relative_to(folder.path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("before", ["missing", "failed", "done", "changed"])
def test_a_run_killed_before_any_operation_on_its_files_is_taken_up_again(tmp_path, spec, before, monkeypatch):
    monkeypatch.setattr(runs.os, "fsync", lambda file: None)  # a process that is killed leaves what it wrote
    whole = RunFolder(tmp_path / "whole")
    attempt(whole, spec, 10_000)
    for operations in range(10_000):
        folder = RunFolder(tmp_path / str(operations))
        if before == "failed":
            folder.begin(spec)
            folder.fail("ValueError: no", "…")
        elif before != "missing":
            attempt(folder, replace(spec, total_tokens=7) if before == "changed" else spec, 10_000)
        if not attempt(folder, spec, operations):
            break
        state = folder.state(spec, changed_counts_as_missing=True)
        assert state in ("missing", "interrupted", before) or (state == "done" and contents(folder) == contents(whole))
        attempt(folder, spec, 10_000)
        assert folder.state(spec) == "done" and contents(folder) == contents(whole)
    assert operations > 15


def test_a_folder_with_nothing_but_a_half_written_configuration_is_interrupted(tmp_path, spec):
    (tmp_path / ".config.yaml.new").write_text("format: 1\nha")
    assert RunFolder(tmp_path).state(spec) == "interrupted"
    (tmp_path / "failed.json").write_text("{")
    assert RunFolder(tmp_path).state(spec) == "failed"
    assert "cannot be read" in RunFolder(tmp_path).failure()["error"]


def test_a_file_in_place_of_a_run_folder_is_named(tmp_path, spec):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(TokenGymError, match="run is a file where the folder of a run belongs"):
        RunFolder(tmp_path / "run").state(spec)


def test_everything_is_on_the_disk_before_the_seal_and_the_seal_before_finish_returns(tmp_path, spec, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    folder.begin(spec)
    folder.append("metrics.jsonl", {"tokens": 1})
    (folder.checkpoints / "final").mkdir(parents=True)
    (folder.checkpoints / "final" / "weights").write_text("w")
    flushed, done = [], []
    names = {os.stat(path).st_ino: path.name for path in [folder.path, *folder.path.rglob("*")]}
    fsync, replace_file = os.fsync, os.replace
    monkeypatch.setattr(runs.os, "fsync", lambda file: (flushed.append(os.fstat(file).st_ino), fsync(file)))
    monkeypatch.setattr(
        runs.os, "replace", lambda source, target: (done.append(len(flushed)), replace_file(source, target))
    )
    folder.finish({"score": 0.5})
    before = [names.get(number, "the seal") for number in flushed[: done[0]]]
    assert sorted(before[:-1]) == sorted(names.values()) and before[-1] == "the seal"
    assert [names.get(number) for number in flushed[done[0] :]] == ["run"]
