"""The study of learning from poor data: its scale, its behaviours, and that runs that are there are not run again."""

import dataclasses
import json

import numpy as np
import pytest

from tokengym.experiments.student import interval
from tokengym.experiments.zoo import random_walks
from tokengym.experiments.zoo.walks_pages import in_fifties


def test_the_scale_has_the_worst_the_mean_and_the_best_of_the_data_at_0_50_and_100():
    row = {"worst": -4.0, "behaviour": -1.0, "best": 1.0}
    assert [in_fifties(value, row) for value in (-4.0, -2.5, -1.0, 0.0, 1.0)] == [0, 25, 50, 75, 100]


def test_intervals_are_students():
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302652729911275 / np.sqrt(3), rel=1e-9)


def test_what_is_recorded_keeps_to_the_legal_tokens_and_half_of_it_is_better():
    data = dataclasses.replace(random_walks.DATA["Maze"], episodes=40, randomness=(1.0, 0.0))
    dataset = random_walks.dataset_of(data, random_walks.task_of(data, 0), 0)
    first, second = dataset.episodes.returns[:20], dataset.episodes.returns[20:]
    assert len(dataset) == 40 and second.mean() > first.mean() + 20 and second.min() > -20
    assert dataset.episodes.flat.reward.min() == -1  # never into a wall


def test_a_run_is_written_once_and_tables_and_picture_come_of_it(tmp_path, monkeypatch, capsys):
    small = dataclasses.replace(random_walks.DATA["RandomWalks"], episodes=20, updates=2, batch=4)
    monkeypatch.setattr(random_walks, "DATA", {"RandomWalks": small})
    monkeypatch.setattr(random_walks, "SEEDS", (100, 101))
    monkeypatch.setattr(random_walks, "METHODS", {"cloning": ("bc", {}), "ilql": ("ilql", {})})
    for _ in range(2):
        assert random_walks.main([str(tmp_path)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [(row["seed"], row["method"]) for row in rows] == [
        (seed, method) for seed in (100, 101) for method in ("cloning", "ilql")
    ]
    assert "| ilql |" in capsys.readouterr().out and (tmp_path / "random-walks.png").stat().st_size > 1000
