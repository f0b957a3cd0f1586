"""The study of learning from poor data: its scale, its behaviours, and that runs that are there are not run again."""

import dataclasses
import json

import numpy as np
import pytest

from tokengym.experiments.student import interval
from tokengym.experiments.zoo import random_walks
from tokengym.experiments.zoo.walks_data import DATA, dataset_of, task_of
from tokengym.experiments.zoo.walks_pages import in_fifties


def test_the_scale_has_the_worst_the_mean_and_the_best_of_the_data_at_0_50_and_100():
    row = {"worst": -4.0, "behaviour": -1.0, "best": 1.0}
    assert [in_fifties(value, row) for value in (-4.0, -2.5, -1.0, 0.0, 1.0)] == [0, 25, 50, 75, 100]


def test_intervals_are_students():
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302652729911275 / np.sqrt(3), rel=1e-9)


def test_what_is_recorded_keeps_to_the_legal_tokens_and_half_of_it_is_better():
    data = dataclasses.replace(DATA["Maze"], episodes=40, randomness=(1.0, 0.0))
    dataset = dataset_of(data, task_of(data, 0), 0)
    first, second = dataset.episodes.returns[:20], dataset.episodes.returns[20:]
    assert len(dataset) == 40 and second.mean() > first.mean() + 20 and second.min() > -20
    assert dataset.episodes.flat.reward.min() == -1  # never into a wall


def test_nothing_is_tuned_on_what_is_reported_and_each_method_has_as_many_tries():
    assert all(not {*data.tuning_seeds} & {*data.seeds} for data in DATA.values())
    assert {len(settings) for _, settings in random_walks.METHODS.values()} == {1, 8}


def test_the_setting_is_taken_that_was_best_in_greedy_and_sampled_play_together():
    weight = {"ilql": (1.0, 2.0), "cql": (2.0, 1.0)}  # of the best setting in greedy play, 3, and in sampled play, 5

    def worth(run):
        greedy, sampled = weight.get(run.method, (0.0, 0.0))
        return {"greedy": greedy * (run.setting == 3), "sampled": sampled * (run.setting == 5)}

    rows = {run: worth(run) for run in random_walks.tuning()}
    assert random_walks.chosen(rows, "Maze", "ilql") == 5 and random_walks.chosen(rows, "Maze", "cql") == 3
    assert random_walks.chosen({}, "Maze", "cloning") == 0
    rows.pop(random_walks.Run("Maze", "ilql", 7, 100))
    assert random_walks.chosen(rows, "Maze", "ilql") is None and random_walks.chosen(rows, "Maze", "cql") == 3


class InThisProcess:
    """Stands in for the context of processes, which would not see what a test has put in place."""

    def __init__(self, *_):
        pass

    Pool = property(lambda self: InThisProcess)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    imap_unordered = staticmethod(map)


def test_a_run_is_written_once_and_tables_and_picture_come_of_it(tmp_path, monkeypatch, capsys):
    small = dataclasses.replace(DATA["RandomWalks"], episodes=20, updates=2, batch=4, tuning_seeds=(7,), seeds=(0, 1))
    data = {"RandomWalks": small}
    monkeypatch.setattr(random_walks, "DATA", data)
    methods = {"cloning": ("bc", [{}]), "ilql": ("ilql", [{"beta": 1.0}, {"beta": 4.0}])}
    monkeypatch.setattr(random_walks, "METHODS", methods)
    monkeypatch.setattr(random_walks.multiprocessing, "get_context", InThisProcess)
    for _ in range(2):
        assert random_walks.main([str(tmp_path)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [7, 7, 0, 1, 0, 1]
    text = capsys.readouterr().out
    assert "| ilql |" in text and "| cloning, RandomWalks |" in text
    assert (tmp_path / "random-walks.png").stat().st_size > 1000
