"""What runs warn of: kept in their folders, and told by the study's report."""

import json
import warnings

import pytest
from synthetic import make_study, write_run, write_study

from tokengym.experiments.commands.main import main
from tokengym.experiments.report import collect, tables, write_report
from tokengym.experiments.study import WARNINGS, RunFolder
from tokengym.experiments.study.noting import noting_warnings

STUDY = """
name: warned
total_tokens: 60
seeds: 2
environments: {Copy: {agent: table}}
algorithms:
  dqn: {config: {rollout_tokens: 16, num_rows: 4, learning_starts: 100}}
  ppo: {config: {rollout_tokens: 16, num_rows: 4}}
"""


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(make_study().runs()[0])
    return folder


@pytest.mark.filterwarnings("always")
def test_each_warning_is_kept_once_with_where_the_run_stood_and_is_shown_as_ever(folder):
    spent = iter((3, 8))
    with pytest.warns(UserWarning) as shown:
        with noting_warnings(folder, lambda: next(spent)):
            for text in ("first", "first", "second\n line"):
                warnings.warn(text, UserWarning, stacklevel=1)
        warnings.warn("afterwards", UserWarning, stacklevel=1)
    assert [str(one.message) for one in shown] == ["first", "first", "second\n line", "afterwards"]
    assert folder.read(WARNINGS) == [
        {"tokens": 3, "category": "UserWarning", "text": "first"},
        {"tokens": 8, "category": "UserWarning", "text": "second line"},
    ]


@pytest.mark.filterwarnings("ignore:untold")
def test_what_filters_ignore_is_not_kept_and_no_file_is_made(folder):
    with noting_warnings(folder):
        warnings.warn("untold", UserWarning, stacklevel=1)
    assert not (folder.path / WARNINGS).exists()


@pytest.mark.filterwarnings("always")
def test_warnings_that_are_new_each_time_end_with_a_word_of_it(folder):
    with pytest.warns(UserWarning), noting_warnings(folder):
        for number in range(300):
            warnings.warn(f"step {number}", UserWarning, stacklevel=1)
    kept = [row["text"] for row in folder.read(WARNINGS)]
    assert kept[:100] == [f"step {number}" for number in range(100)]
    assert kept[100:] == ["more than 100 different warnings: the others are in the log alone"]


@pytest.mark.filterwarnings("always")
def test_a_run_that_goes_on_keeps_those_up_to_its_checkpoint_and_adds_none_twice(folder):
    spec = make_study().runs()[0]
    with pytest.warns(UserWarning):
        for tokens, text in ((10, "early"), (30, "late")):
            with noting_warnings(folder, lambda tokens=tokens: tokens):
                warnings.warn(text, UserWarning, stacklevel=1)
        folder.cut(spec, 20)
        assert [row["text"] for row in folder.read(WARNINGS)] == ["early"]
        with noting_warnings(folder, lambda: 20):
            warnings.warn("early", UserWarning, stacklevel=1)
    assert [row["text"] for row in folder.read(WARNINGS)] == ["early"]
    folder.begin(spec)
    assert not folder.read(WARNINGS)


def test_tables_tell_what_most_runs_warned_of_first_and_name_some_of_them(tmp_path):
    study = make_study(environments=("Copy",), algorithms=("ppo", "a2c"), seeds=3)
    for number, spec in enumerate(study.runs()):
        folder = write_run(tmp_path, spec)
        if number == 4:
            folder.append(WARNINGS, {"tokens": 1, "text": "a rare one"})
        if number != 5:
            folder.append(WARNINGS, {"tokens": 1, "text": "<b>ties</b>"})
    results = collect(study, tmp_path)
    table = tables.warning_table(results)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["5", "Copy/ppo/seed-0, Copy/a2c/seed-0, Copy/ppo/seed-1 and 2 more", "<b>ties</b>"],
        ["1", "Copy/ppo/seed-2", "a rare one"],
    ]
    assert table.note.startswith("5 of 6 runs warned")
    page = write_report(results, tmp_path, command="tokengym compare x").html.read_text()
    assert 'href="#warnings"' in page and "&lt;b&gt;ties&lt;/b&gt;" in page and "<b>ties" not in page


def test_a_report_without_warnings_has_no_such_part(tmp_path):
    study = make_study(environments=("Copy",), algorithms=("ppo",), seeds=1)
    write_study(tmp_path, study)
    results = collect(study, tmp_path)
    assert tables.warning_table(results) is None
    assert "#warnings" not in write_report(results, tmp_path, command="tokengym compare x").html.read_text()


def test_failed_runs_keep_what_they_warned_of(tmp_path):
    study = make_study(environments=("Copy",), algorithms=("ppo",), seeds=1)
    folder = RunFolder(tmp_path / "runs" / study.runs()[0].name)
    folder.begin(study.runs()[0])
    folder.append(WARNINGS, {"tokens": 1, "text": "before the end"})
    assert collect(study, tmp_path).runs[0].warnings == ("before the end",)
    folder.fail("ValueError: no", "Traceback …")
    assert collect(study, tmp_path).runs[0].warnings == ("before the end",)


def test_a_study_tells_what_its_runs_warned_of(tmp_path, capsys):
    (tmp_path / "warned.yaml").write_text(STUDY)
    words = ["compare", str(tmp_path / "warned.yaml"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "warning of 2 of 4 runs, Copy/dqn/seed-0 first: dqn: learning_starts is 100" in printed
    assert main([*words, "--json"]) == 0
    ((text, runs),) = json.loads(capsys.readouterr().out)["warnings"].items()
    assert text.startswith("dqn: learning_starts is 100") and runs == ["Copy/dqn/seed-0", "Copy/dqn/seed-1"]
