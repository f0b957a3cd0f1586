"""The page on what can be learned says what the runs say."""

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import write_run

from tokengym.envs import TASKS
from tokengym.experiments.report.results import collect, subset
from tokengym.experiments.study.file import load_study, study_from_mapping
from tokengym.experiments.suite import learning as suite_learning
from tokengym.experiments.suite.learning import page, rows, save_pictures, with_true_lines

ROOT = Path(__file__).resolve().parents[2]
FINAL = {"Copy": 1.0, "Lattice": 0.5, "Lock": 0.02}


@pytest.fixture
def results(tmp_path):
    study = study_from_mapping(
        {
            "name": "suite",
            "description": "One configuration a family.",
            "total_tokens": 20_000,
            "seeds": [7, 8, 9],
            "environments": {"Copy": {}, "Lattice": {}, "Lock": {"id": "tokengym/KLTree-v0"}},
            "algorithms": {
                "ppo-diagnostics": {"algorithm": "ppo", "environments": ["Copy", "Lock"]},
                "ppo-control": {
                    "algorithm": "ppo",
                    "environments": ["Lattice"],
                    "overrides": {"Lattice": {"gamma": 0.9}},
                },
            },
        }
    )
    for spec in study.runs():
        write_run(tmp_path, spec, final=FINAL[spec.environment])
    return collect(study, tmp_path)


def test_each_family_has_the_rows_of_its_own_environments(results):
    assert [row.environment for row in rows(results, "ppo-diagnostics")] == ["Copy", "Lock"]
    (row,) = rows(results, "ppo-control")
    assert (row.environment, row.tokens, row.is_expert) == ("Lattice", 20_000, False)
    assert row.score.low <= row.score.estimate <= row.score.high
    assert row.greedy == row.sampled == pytest.approx(0.1 + 0.9 * row.greedy_score)


def test_the_verdict_compares_with_the_untrained_policy_too(results):
    (row,) = rows(results, "ppo-control")
    assert row.untrained < 0.1 and row.verdict == "better than random"
    assert replace(row, untrained=row.score.low - 0.05).verdict.startswith("**does not clearly beat random**")
    low = replace(row.score, low=0.0)
    assert replace(row, score=low, scores=(0.0, 0.05, 0.8)).verdict.endswith("was learned on 1 of 3 seeds only")
    assert replace(row, score=low, scores=(0.0, 0.05, 0.08)).verdict.endswith("was not learned")
    assert replace(row, greedy_score=0.95).verdict == "solved by greedy play"
    assert replace(row, value_loss=0.001).verdict.endswith("the critic's loss fell to 0.001")


def test_the_committed_study_asks_of_every_base_environment_and_the_page_answers():
    study = load_study(ROOT / "experiments" / "studies" / "suite.yaml")
    # TextGym is whatever its user brings; the game that it plays by default only shows how. RandomWalks is what data
    # are recorded of: docs/studies/random-walks.md.
    bases = {name for name, entry in TASKS.items() if entry.variant_of is None} - {"TextGym", "RandomWalks"}
    assert bases <= {environment.name for environment in study.environments}
    assert all(study.budget(environment) <= 100_000 for environment in study.environments)
    text = (ROOT / suite_learning.PAGE).read_text(encoding="utf-8")
    answered = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")}
    assert {environment.name for environment in study.environments} <= answered
    for family in study.algorithms:
        assert all(f"`{name}: " in text for name in family.config)


def test_the_verdict_follows_the_scores_and_names_the_missing_ability(results):
    text = page(results, "command")
    line = {
        words[1].strip(): words[-2].strip()
        for words in (line.split("|") for line in text.splitlines())
        if len(words) > 7
    }
    assert line["Copy"] == "solved"
    assert line["Lattice"] == "better than random"
    assert line["Lock"].startswith("**does not clearly beat random**") and line["Lock"].endswith("was not learned")
    assert "3 seeds (7 to 9)" in text and "## Diagnostics" in text and "(../images/learning/control.png)" in text


def test_where_every_policy_earns_the_same_the_lines_are_the_suite_s(tmp_path):
    study = study_from_mapping(
        {
            "name": "same",
            "total_tokens": 1000,
            "seeds": [1],
            "environments": {"Probe2": {"random_return": -1, "optimal_return": 0}, "Copy": {}},
            "algorithms": {"ppo": {}},
        }
    )
    for spec in study.runs():
        write_run(tmp_path, spec)
    results = collect(study, tmp_path)
    assert with_true_lines(results).references("Probe2") == {"random": 0.0, "optimal": 0.0}
    assert with_true_lines(results).references("Copy") == results.references("Copy")
    same, other = rows(with_true_lines(results), "ppo")
    assert same.value_loss is not None and same.random_return == 0 and other.value_loss is None


def test_what_was_added_by_hand_stands_below_the_introduction(results):
    text = page(results, "command", "A word by hand.\n")
    assert text.index("# Can it") < text.index("A word by hand.") < text.index("## Diagnostics")


def test_a_picture_shows_one_family(results, tmp_path):
    pictures = save_pictures(results, tmp_path / "pictures")
    assert [picture.name for picture in pictures] == ["diagnostics.png", "control.png"]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    part = subset(results, ["Lattice"], ["ppo-control"])
    assert part.environments == ["Lattice"] and len(part.runs) == 3


def test_the_command_writes_the_page_and_refuses_a_missing_study(results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("docs/environments").mkdir(parents=True)
    assert suite_learning.main(["nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err
    monkeypatch.setattr(suite_learning, "load_study", lambda path: results.study)
    assert suite_learning.main(["suite.yaml", "--out", str(tmp_path)]) == 0
    assert Path("docs/environments/learning.md").read_text(encoding="utf-8").startswith("# Can it be learned?")
