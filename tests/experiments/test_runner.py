"""The runner: what is missing is run, what fails is recorded, and nothing else suffers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fake_jobs
import leaky_jobs
import pytest
from synthetic import make_study, write_run

from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.report.results import collect
from tokengym.experiments.study import pool
from tokengym.experiments.study.file import study_from_mapping, study_to_mapping
from tokengym.experiments.study.runner import plan, run_folder, run_study
from tokengym.experiments.study.spec import AlgorithmSpec, EnvironmentSpec, Study


@pytest.fixture(autouse=True)
def without_torch(monkeypatch):
    monkeypatch.setattr(pool, "JOBS", fake_jobs)


def study_of(*algorithms, seeds=2, **changes):
    mapping = study_to_mapping(make_study(environments=("Copy",), algorithms=algorithms, seeds=seeds))
    return study_from_mapping({**mapping, **changes})


def test_every_run_is_run_once_and_the_second_time_none(tmp_path):
    study, events = study_of("ppo", "a2c"), []
    assert run_study(study, tmp_path, workers=2, on_event=events.append) == 0
    assert sorted(e.spec.name for e in events if e.kind == "done") == sorted(spec.name for spec in study.runs())
    again = []
    assert run_study(study, tmp_path, workers=2, on_event=again.append) == 0
    assert again == []


def test_only_what_is_missing_is_run(tmp_path):
    study = study_of("ppo", "a2c")
    for spec in study.runs()[:3]:
        write_run(tmp_path, spec)
    run_folder(tmp_path, study.runs()[1]).begin(study.runs()[1])  # interrupted
    done = []
    run_study(study, tmp_path, workers=1, on_event=lambda e: done.append(e.spec.name) if e.kind == "done" else None)
    assert done == [study.runs()[1].name, study.runs()[3].name]


def test_an_interrupted_study_goes_on_where_it_stood(tmp_path):
    study = study_of("ppo", "a2c")

    def interrupt(event):
        if event.kind == "done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path, workers=1, on_event=interrupt)
    assert [spec.name for spec in plan(study, tmp_path)] == [spec.name for spec in study.runs()[1:]]
    assert run_study(study, tmp_path, workers=1) == 0
    assert plan(study, tmp_path) == []


@pytest.mark.parametrize(
    ("label", "error", "known"),
    [
        ("raises", "ValueError: loss is NaN", "Traceback"),
        ("crashes", "its process died with exit code 9", "Segmentation fault"),
        ("hangs", "no sign of life for 1 seconds", ""),
    ],
)
def test_a_run_that_fails_in_any_way_is_recorded_and_the_others_go_on(tmp_path, label, error, known):
    study = study_of(label, "ppo", seeds=2, stall_timeout=1.0)
    assert run_study(study, tmp_path, workers=1) == 2
    results = collect(study, tmp_path)
    assert [run.status for run in results.cell("Copy", "ppo")] == ["done", "done"]
    assert all(run.status == "failed" and error in run.error for run in results.cell("Copy", label))
    assert all(known in run.traceback for run in results.cell("Copy", label))


@pytest.mark.parametrize("forked", [True, False])
def test_what_a_run_changes_of_its_process_is_gone_in_the_next(tmp_path, monkeypatch, forked):
    monkeypatch.setattr(pool, "JOBS", leaky_jobs)
    monkeypatch.setattr(pool, "CAN_FORK", forked and pool.CAN_FORK)
    monkeypatch.chdir(tmp_path)
    # A relative folder, too: it is the same one although a run went elsewhere.
    label = "sb3-ppo" if forked else "ppo"
    assert run_study(study_of(label, seeds=2), "out", workers=1) == 0
    first, second = [path.read_text() for path in sorted(Path("out/runs/Copy", label).glob("state-*.json"))]
    assert first == second
    assert json.loads(first)["cwd"] == str(tmp_path) and ("dtype" in json.loads(first)) is forked


@pytest.mark.parametrize(
    ("label", "error"),
    [
        ("builthangs", "no sign of life for 1 seconds; its process was ended, while its algorithm was built"),
        ("builtcrashes", "its process died with exit code 9, while its algorithm was built"),
        ("exits", "SystemExit: 0"),
    ],
)
def test_what_hangs_or_dies_when_it_is_built_fails_its_own_runs_and_the_others_go_on(tmp_path, label, error):
    study = study_of(label, "ppo", seeds=2, stall_timeout=1.0)
    assert run_study(study, tmp_path, workers=1) == 2
    results = collect(study, tmp_path)
    assert [run.error for run in results.cell("Copy", label)] == [error] * 2
    assert [run.status for run in results.cell("Copy", "ppo")] == ["done", "done"]


@pytest.mark.parametrize("how", ["raises", "hangs", "crashes"])
def test_an_environment_that_cannot_be_solved_fails_its_own_runs_and_the_others_go_on(tmp_path, how):
    mapping = study_to_mapping(make_study(environments=("Copy",), algorithms=("ppo",), seeds=1))
    mapping["environments"][f"solve{how}"] = {"id": "tokengym/Copy-v0", "kwargs": {"k": 2}}
    study = study_from_mapping({**mapping, "stall_timeout": 1.0})
    assert run_study(study, tmp_path, workers=1) == 1
    results = collect(study, tmp_path)
    assert [run.status for run in results.runs] == ["done", "failed"]
    assert "while the environment was solved" in results.runs[1].error


def test_a_run_whose_process_dies_after_its_seal_is_done(tmp_path):
    events = []
    assert run_study(study_of("leaves", seeds=1), tmp_path, on_event=events.append) == 0
    assert events[-1].kind == "done" and events[-1].score is not None


def test_what_a_run_started_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_study(study_of("orphans", "hangs", seeds=1, stall_timeout=1.0), tmp_path / "out", workers=1) == 1
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if children.exists():
        assert "left-behind" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_a_program_that_runs_a_study_without_a_guard_is_told_to_put_one(tmp_path):
    study = tmp_path / "s.yaml"
    study.write_text("total_tokens: 9\nenvironments: {Copy: }\nalgorithms: {ppo: }\n")
    call = "run_study(load_study('s.yaml'), 'out')"
    lines = [
        "from tokengym.experiments.study.runner import run_study",
        "from tokengym.experiments.study.file import load_study",
    ]
    (tmp_path / "program.py").write_text("\n".join([*lines, call]))
    told = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 1 and told.stderr.count("Traceback") == 1
    assert "put what it does under `if __name__ == '__main__':`" in told.stderr.splitlines()[-1]


def test_a_failed_run_is_tried_again(tmp_path):
    study = study_of("ppo", seeds=1)
    (spec,) = study.runs()
    run_folder(tmp_path, spec).begin(spec)
    run_folder(tmp_path, spec).fail("once", "…")
    assert run_study(study, tmp_path) == 0
    assert collect(study, tmp_path).failures() == []


def test_bad_input_stops_the_study_before_its_first_run_and_before_runs_to_do_are_told(tmp_path):
    told = []
    with pytest.raises(TokenGymError, match="unknown algorithm 'refused'"):
        run_study(study_of("ppo", "refused"), tmp_path, workers=1, on_plan=told.append)
    assert not (tmp_path / "runs").exists() and told == []


def test_a_study_made_in_python_is_checked_before_its_first_run(tmp_path):
    study = Study(
        name="mine",
        total_tokens=9,
        environments=(EnvironmentSpec(name="Copy"),),
        algorithms=(AlgorithmSpec(name="ppo", config={"epochs": 1.5}),),
    )
    with pytest.raises(TokenGymError, match=r"algorithm .ppo.: epochs is 1\.5; expected a whole number"):
        run_study(study, tmp_path, workers=1)


def test_a_corrupt_folder_stops_the_study_and_is_left_as_it_is(tmp_path):
    study = study_of("ppo")
    folder = write_run(tmp_path, study.runs()[1])
    (folder.path / "metrics.jsonl").write_text("")
    with pytest.raises(TokenGymError, match=r"seed-1 is corrupt: metrics\.jsonl differs"):
        run_study(study, tmp_path)
    assert not run_folder(tmp_path, study.runs()[0]).path.exists()


def test_a_changed_configuration_is_said_and_replaced_only_on_request(tmp_path):
    study = study_of("ppo", seeds=1)
    write_run(tmp_path, study.runs()[0])
    changed = study.with_changes(total_tokens=77)
    with pytest.raises(TokenGymError, match="total_tokens: 20000 there, 77 asked"):
        run_study(changed, tmp_path)
    assert run_study(changed, tmp_path, replace_changed=True) == 0
    assert plan(changed, tmp_path) == []


def test_two_processes_do_not_run_one_study_at_once(tmp_path):
    study = study_of("ppo", seeds=1)

    def run_inside(event):
        with pytest.raises(TokenGymError, match="another process is running the study"):
            run_study(study, tmp_path)

    run_study(study, tmp_path, on_event=run_inside)


def test_zero_workers_are_refused(tmp_path):
    with pytest.raises(TokenGymError, match="workers is 0; expected None or a whole number within 1"):
        run_study(study_of("ppo"), tmp_path, workers=0)
