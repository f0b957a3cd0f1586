"""Runs of what plays nothing: budgets in updates on the command line, in studies and in reports."""

import json

import pytest

from tokengym.envs import TokenGymError
from tokengym.experiments import run_study
from tokengym.experiments.commands.main import main
from tokengym.experiments.report import tables
from tokengym.experiments.report.plots import learning_curves
from tokengym.experiments.report.results import collect
from tokengym.experiments.study.file import study_from_mapping
from tokengym.experiments.study.folder import RunFolder

STUDY = {
    "name": "beside",
    "total_tokens": 100,
    "seeds": 1,
    "evaluation": {"points": 2, "episodes": 10, "training_episodes": 5},
    "environments": {"TokenBandit": {}},
    "algorithms": {"ppo": {}, "bc": {"total_updates": 20, "config": {"demonstrations": 16, "batch_episodes": 4}}},
}


def train(*words):
    return main(["train", *words, "--episodes", "10", "--json"])


def test_the_command_line_counts_updates_and_goes_on_from_them(tmp_path, capsys):
    words = ["bc", "Copy", "--demonstrations", "40", "--evaluations", "2", "--out", str(tmp_path / "run")]
    assert train(*words, "--total-updates", "20") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == 20
    rows = [row["tokens"] for row in RunFolder(tmp_path / "run").read("evaluations.jsonl") if row["kind"] == "training"]
    assert rows == [0, 10, 20]
    assert train(*words, "--total-updates", "30", "--resume") == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == 30


def test_a_budget_of_the_other_kind_is_refused(capsys):
    assert train("bc", "Copy", "--total-tokens", "20") == 2
    assert "the budget of bc is in updates: give --total-updates" in " ".join(capsys.readouterr().err.split())
    assert train("ppo", "Copy", "--total-updates", "20") == 2
    assert "the budget of ppo is in tokens: give --total-tokens" in " ".join(capsys.readouterr().err.split())


def test_a_study_gives_it_updates_and_leaves_it_out_of_pictures_by_tokens(tmp_path):
    study = study_from_mapping(STUDY)
    assert run_study(study, tmp_path, workers=1) == 0
    results = collect(study, tmp_path)
    spent = {run.spec.label: run.summary["tokens"] for run in results.runs}
    assert spent["bc"] == 20 and spent["ppo"] >= 100
    texts = [[cell.text for cell in row] for row in tables.run_table(results).rows]
    assert [row[4] for row in texts if row[1] == "bc"] == ["20 updates"]
    assert "bc: after so many updates" in tables.score_table(results).note
    lines = [len(learning_curves(results, by=by, of="score").axes[0].lines) for by in ("tokens", "seconds")]
    assert lines[0] < lines[1]


@pytest.mark.parametrize(
    ("algorithms", "says"),
    [
        ({"bc": {}}, "bc plays nothing, so that tokens are no budget of it: give it total_updates"),
        ({"ppo": {"total_updates": 5}}, "the budget of ppo is the environment's total_tokens: leave it out"),
    ],
)
def test_a_study_with_the_wrong_kind_of_budget_is_refused(algorithms, says):
    with pytest.raises(TokenGymError, match=says):
        study_from_mapping({**STUDY, "algorithms": algorithms})


def test_a_study_of_what_plays_nothing_needs_no_tokens():
    study = study_from_mapping({**STUDY, "total_tokens": 0, "algorithms": {"bc": {"total_updates": 7}}})
    assert [run.total_tokens for run in study.runs()] == [7]


def test_data_that_a_replay_cannot_begin_with_are_told_before_there_is_a_folder(tmp_path, capsys):
    other, right = tmp_path / "other.safetensors", tmp_path / "right.safetensors"
    assert main(["record", "Nim", str(other), "--episodes", "8", "--player", "random"]) == 0
    assert main(["record", "Copy", str(right), "--episodes", "8", "--player", "random"]) == 0
    run = ["dqn", "Copy", "--agent", "table", "--total-tokens", "60", "--out", str(tmp_path / "run")]
    run += ["--learning-starts", "0"]
    wrong = (([str(other)], "another vocabulary"), ([str(tmp_path / "nowhere.safetensors")], "no dataset"))
    for data, says in (
        *wrong,
        ([str(right), "--replay-capacity", "4", "--batch-episodes", "4"], "are to be remembered"),
    ):
        assert train(*run, "--data", *data) == 2
        assert says in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert train(*run, "--data", str(right)) == 0, "the mended command begins the run"
