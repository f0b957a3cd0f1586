"""The study of on- and off-policy methods: its cells, its rule of tuning, a run, and what it prints."""

import json

import numpy as np
import pytest

from tokengym.algorithms import ALGORITHMS
from tokengym.envs import TokenGymError
from tokengym.experiments.zoo import old_data_report, on_off_policy
from tokengym.experiments.zoo.on_off_policy import Run, read_results


@pytest.fixture(scope="module")
def study():
    return on_off_policy.read()


def test_every_cell_can_be_built_and_no_seed_of_tuning_is_reported(study):
    found = list(on_off_policy.cells(study))
    assert len(found) == len(set(found)) > 60
    for cell in found:
        name, config = on_off_policy.configured(study, *cell)
        assert ALGORITHMS.config(name)().replace(**config).learning_rate is None, "rates are tuned, for all alike"
    assert not set(study["seeds"]) & set(study["tuning_seeds"]) and len(study["seeds"]) == 10


def test_a_run_tells_what_it_cost_and_what_the_policy_is_worth_exactly(study):
    tasks = {"dense": {**study["tasks"]["dense"], "tokens": 1024}}
    small = {**study, "points": 4, "tasks": tasks}
    found = on_off_policy.perform((small, Run("dense", "replayed", "v-trace", 0.1, 100)))
    tokens, steps, seconds, score = np.array(found["rows"]).T
    assert tokens.tolist() == [256, 512, 768, 1024] and steps.tolist() == [4, 8, 12, 16]
    assert (np.diff(seconds) > 0).all() and abs(score[0]) < 0.3 and score[-1] < 1
    again = on_off_policy.perform((small, Run("dense", "replayed", "v-trace", 0.1, 100)))
    assert [row[3] for row in again["rows"]] == score.tolist()


def made(study, worth, tmp_path):
    """Results in which a run's score is what ``worth(run)`` says."""
    results = read_results(tmp_path / "made" / "runs.jsonl")
    for cell in on_off_policy.cells(study):
        for rate in study["rates"]:
            for seed in study["tuning_seeds"] + study["seeds"]:
                run = Run(*cell, rate, seed)
                rows = np.ones((12, 4)) * np.arange(1, 13)[:, None]
                rows[:, 3] = worth(run) + 0.001 * (seed % 10)
                results.rows[run] = rows
    return results


def test_the_rate_is_chosen_by_the_seeds_of_tuning_alone(study, tmp_path):
    results = made(
        study, lambda run: {0.03: 0.2, 0.1: 0.6, 0.3: 0.5}[run.rate] if run.seed >= 100 else -run.rate, tmp_path
    )
    cell = ("dense", "stale", "topr")
    assert on_off_policy.chosen_rate(study, results, cell) == 0.1
    del results.rows[Run(*cell, 0.3, 102)]
    assert on_off_policy.chosen_rate(study, results, cell) is None
    assert Run(*cell, 0.3, 102) in on_off_policy.missing(study, results, "dense", tuning=True)
    assert cell not in on_off_policy.curves(study, results)


def test_what_is_ahead_and_behind_is_said_with_intervals_and_drawn(study, tmp_path):
    ahead = ("sparse", "replayed", "dqn")
    results = made(study, lambda run: 0.9 if run.cell == ahead else 0.4 if run.method == "ppo" else 0.5, tmp_path)
    found = on_off_policy.curves(study, results)
    text = old_data_report.tables(study, found)
    sparse = text.partition("### sparse reward")[2].partition("### turns")[0]
    assert "| `dqn` |  |  | **0.90** (" in sparse
    assert "Ahead of `rloo` on fresh data at the end, with 95%: `dqn` replayed (+0.4" in sparse
    behind = sparse.partition("Behind: ")[2]
    assert all(f"`ppo` {data} (-0.1" in behind for data in study["data"]) and "topr" not in behind
    old_data_report.pictures(study, found, tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {"on-and-off-policy.png", "on-and-off-policy-axes.png"}


def test_finished_runs_are_read_again(study, tmp_path):
    results = read_results(tmp_path / "new" / "runs.jsonl")
    results.add({"task": "dense", "data": "fresh", "method": "rloo", "rate": 0.1, "seed": 3, "rows": [[1, 2, 3, 0.5]]})
    again = read_results(tmp_path / "new" / "runs.jsonl")
    assert again.rows[Run("dense", "fresh", "rloo", 0.1, 3)].tolist() == [[1, 2, 3, 0.5]]
    assert Run("dense", "fresh", "rloo", 0.1, 3) not in on_off_policy.missing(study, again, "dense", tuning=True)


def test_a_line_that_was_cut_off_is_run_again_and_a_line_of_another_study_is_named(tmp_path):
    path = tmp_path / "runs.jsonl"
    row = {"task": "dense", "data": "fresh", "method": "rloo", "rate": 0.1, "seed": 3, "rows": [[1, 2, 3, 0.5]]}
    read_results(path).add(row)
    with path.open("a") as file:
        file.write(json.dumps({**row, "seed": 4})[:40])  # killed while it wrote
    again = read_results(path)
    assert [run.seed for run in again.rows] == [3]
    again.add({**row, "seed": 4})
    assert [run.seed for run in read_results(path).rows] == [3, 4]
    with path.open("a") as file:
        file.write(json.dumps({"seed": 5}) + "\n")
    with pytest.raises(TokenGymError, match=r"line 3 of .* is no run of this study"):
        read_results(path)
