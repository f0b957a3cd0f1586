"""The suite's pages are those that its docstrings, its scores and the parts by hand give."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest

from tokengym.envs import FAMILIES, TASKS, make_task
from tokengym.envs.drawing.picture import Cell, Picture
from tokengym.envs.scores import SCORES_FILE, SuiteScores, suite_scores
from tokengym.experiments.suite import pages as suite_pages
from tokengym.experiments.suite.markdown import SECTIONS, Pages, best, number, read_sections, transcript
from tokengym.experiments.suite.scores import EPISODES, frames_of, measured_return, with_measured

PARTS = suite_pages.PAGES / "intro"
BASES = [name for name, entry in TASKS.items() if entry.variant_of is None]
STALE = "run `make pages`, or `python -m tokengym.experiments.suite.pages` with the names of what changed"


def test_the_pages_are_not_stale():
    pages = Pages(PARTS, suite_pages.PICTURES, suite_scores(), suite_pages.read_examples()).all()
    for name, text in pages.items():
        assert (suite_pages.PAGES / name).read_text(encoding="utf-8") == text, f"{name} is out of date: {STALE}"
    # The page on learning is written from a study's runs, by a command of its own.
    assert {path.name for path in suite_pages.PAGES.glob("*.md")} == {*pages, "learning.md"}


@pytest.mark.parametrize("written", [suite_scores, suite_pages.read_examples])
def test_every_environment_has_scores_and_an_example_in_the_catalogue_s_order(written):
    """Those that need an optional dependency may wait for somebody who has it."""
    assert list(written()) == [name for name, entry in TASKS.items() if entry.extra is None or name in written()], STALE


def test_scores_and_examples_are_written_as_they_are_read(tmp_path, monkeypatch):
    for path in (SCORES_FILE, suite_pages.EXAMPLES):
        suite_pages.write_json(tmp_path / path.name, json.loads(path.read_text(encoding="utf-8")))
        assert (tmp_path / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


def test_no_part_by_hand_and_no_picture_is_left_over():
    assert {path.stem for path in PARTS.iterdir()} <= {"README", "learning", *FAMILIES, *BASES}
    assert {path.stem for path in suite_pages.PICTURES.glob("*")} <= set(BASES)


@pytest.mark.parametrize("name", BASES)
def test_every_docstring_has_gymnasium_s_sections(name):
    task = TASKS[name].load()
    summary, sections = read_sections(inspect.getdoc(task) or "")
    assert summary and tuple(sections) == SECTIONS and all(sections.values())
    assert task.isolates and task.mirrors


@pytest.mark.parametrize("name", [name for name in BASES if not TASKS[name].missing])
def test_every_picture_shows_the_example(name):
    task, example = make_task(name), suite_pages.read_examples()[name]
    frames, path = frames_of(task, example.actions), suite_pages.PICTURES / f"{name}.png"
    assert path.exists() == bool(frames), STALE
    if frames:
        from PIL import Image

        with Image.open(path) as image:
            saved = np.asarray(image.convert("RGB"), np.float64)
        drawn = suite_pages.strip(frames)
        assert saved.shape == drawn.shape, STALE
        # The palette and another version's letters differ a little; another board differs a lot.
        assert np.abs(saved - drawn).mean() < 4, STALE


def test_a_missing_checkout_an_unknown_name_and_broken_scores_are_told(tmp_path, monkeypatch, capsys):
    assert suite_pages.main(["Latice"]) == 2
    assert "did you mean 'Lattice'" in capsys.readouterr().err
    monkeypatch.setattr(suite_pages, "PAGES", tmp_path / "nowhere")
    assert suite_pages.main([]) == 2
    assert "run this in a checkout" in capsys.readouterr().err


def test_the_command_writes_what_it_computed_and_keeps_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(suite_pages, "PAGES", tmp_path)
    monkeypatch.setattr(suite_pages, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(suite_pages, "EXAMPLES", tmp_path / "examples.json")
    monkeypatch.setattr(suite_pages, "SCORES_FILE", tmp_path / "scores.json")
    assert suite_pages.main(["Probe4"]) == 0
    assert suite_pages.main(["Probe5"]) == 0
    assert suite_pages.read_scores()["Probe4"].optimal == 1 and list(suite_pages.read_examples()) == [
        "Probe4",
        "Probe5",
    ]
    assert suite_pages.main(["--pages"]) == 0
    text = (tmp_path / "diagnostics.md").read_text(encoding="utf-8")
    assert "| `Probe5` | – | 2 | 1 | 0.0000 ± 1.0000 | 1.0000 ± 0.0000 | 0.8614 (0.9999, 0.6926) | 2 |" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (-0.38971, "−0.3897"),
        (-1e-17, "0.0000"),
        (3.81e-6, "3.8e−6"),
        (-13.552, "−13.5520"),
        (5e-4, "0.0005"),
    ],
)
def test_numbers_show_something(value, text):
    assert number(value) == text


def test_transcripts_are_columns_where_they_fit_and_paragraphs_elsewhere():
    turns = [("task", "x1 v0"), ("agent", "push"), ("task", "x2"), ("agent", "coast")]
    assert transcript(turns) == "the task shows   the agent says\nx1 v0            push\nx2               coast"
    assert transcript([("task", ""), ("agent", "a b")]) == "agent: a b"
    assert transcript([("task", "two\nlines"), ("agent", "no")]) == "task:  two\n       lines\nagent: no"


def test_frames_stand_side_by_side_and_wide_ones_below_one_another():
    for columns, axis in ((2, 1), (8, 0)):
        frames = [Picture((tuple(Cell(letter) for _ in range(columns)),)) for letter in "ab"]
        one, both = suite_pages.strip(frames[:1]), suite_pages.strip(frames)
        assert both.dtype == np.uint8 and both.shape[axis] == 2 * one.shape[axis] + 12
        assert both.shape[1 - axis] == one.shape[1 - axis]
        np.testing.assert_array_equal(both[: one.shape[0], : one.shape[1]], one)


def test_what_was_not_solved_has_no_deviation():
    assert SuiteScores(vocabulary=2, tokens=3, random=0.5).random_sd is None


def test_a_measured_return_is_the_solver_s_to_within_its_error():
    task = make_task("Haggle")
    solution = suite_scores()["Haggle"]
    mean, deviation = measured_return(task, "random", 1000)
    assert mean == pytest.approx(solution.random, abs=4 * solution.random_sd / 1000**0.5)
    assert deviation == pytest.approx(solution.random_sd, rel=0.1)
    best, spread = measured_return(task, "expert", 1000)
    assert best == pytest.approx(solution.optimal, abs=4 * solution.optimal_sd / 1000**0.5) and spread > 0
    assert measured_return(make_task("Gym"), "expert", 50) is None


def test_only_what_nobody_knows_is_measured(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "tokengym.experiments.suite.scores.measured_return", lambda task, player: asked.append(player) or (-2.0, 0.5)
    )
    task, known = make_task("Pendulum"), SuiteScores(vocabulary=9, tokens=200)
    measured = with_measured(known, task)
    assert (measured.random, measured.random_sd, measured.expert, measured.expert_sd) == (-2.0, 0.5, -2.0, 0.5)
    assert measured.episodes == EPISODES and asked == ["random", "expert"]
    assert with_measured(replace(known, random=-9.0), task).random == -9.0 and asked[2:] == ["expert"]
    solved = replace(known, random=-9.0, optimal=0.0)
    assert with_measured(solved, task) == solved and len(asked) == 3


@pytest.mark.parametrize("name", ["Wordle", "MountainCar", "Pendulum"])
def test_measured_scores_are_measured_again(name):
    known, task, episodes = suite_scores()[name], make_task(name), 100
    assert known.episodes == EPISODES and known.optimal is None
    players = [("expert", known.expert, known.expert_sd)]
    if known.random_sd is not None:
        players.append(("random", known.random, known.random_sd))
    for player, mean, deviation in players:
        error = deviation * (1 / episodes + 1 / EPISODES) ** 0.5
        assert measured_return(task, player, episodes)[0] == pytest.approx(mean, abs=4 * error), STALE


def test_a_bound_from_below_is_shown_as_one():
    known = SuiteScores(vocabulary=2, tokens=3, random=-2.0, random_sd=0.5, expert=-1.25, expert_sd=0.5, episodes=9)
    assert best(known) == "≥ −1.2500" and best(known, deviation=True) == "≥ −1.2500 ± 0.5000"
    assert best(SuiteScores(vocabulary=2, tokens=3, optimal=1.0)) == "1.0000"
    assert best(SuiteScores(vocabulary=2, tokens=3)) == "–"
