"""The runner: what is missing is run, what fails is recorded, and nothing else suffers."""

import fake_worker
import pytest
from synthetic import make_study, write_run

from tokengym.envs.errors import TokenGymError
from tokengym.experiments import runner
from tokengym.experiments.results import collect
from tokengym.experiments.runner import plan, run_folder, run_study
from tokengym.experiments.study_file import study_from_mapping, study_to_mapping


@pytest.fixture(autouse=True)
def without_torch(monkeypatch):
    monkeypatch.setattr(runner, "worker_process", fake_worker)


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


def test_a_failed_run_is_tried_again(tmp_path):
    study = study_of("ppo", seeds=1)
    (spec,) = study.runs()
    run_folder(tmp_path, spec).begin(spec)
    run_folder(tmp_path, spec).fail("once", "…")
    assert run_study(study, tmp_path) == 0
    assert collect(study, tmp_path).failures() == []


def test_bad_input_stops_the_study_before_its_first_run(tmp_path):
    with pytest.raises(TokenGymError, match="unknown algorithm 'refused'"):
        run_study(study_of("ppo", "refused"), tmp_path, workers=1)
    assert not (tmp_path / "runs").exists()


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
    with pytest.raises(TokenGymError, match="workers must be greater than 0, got 0"):
        run_study(study_of("ppo"), tmp_path, workers=0)
