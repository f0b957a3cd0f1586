"""Logs of a run are bounded: at most so many rows, which depend on nothing but the tokens."""

import json
from types import SimpleNamespace

import pytest

from tokengym.algorithms.runs import JsonLines, RunLogger
from tokengym.algorithms.runs import loggers as module
from tokengym.algorithms.runs.callbacks import SaveEvery
from tokengym.algorithms.runs.loggers import MOST_ROWS, row_of


@pytest.fixture
def ten_rows(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 10)


def learn(folder, tokens, stop, total=1000):
    """Report updates of some tokens each, from the first beyond ``stop[0]`` to that at ``stop[1]``."""
    run = SimpleNamespace(spent=stop[0], total_timesteps=total, num_updates=stop[0] // tokens, num_episodes=0)
    with RunLogger(folder, run, tensorboard=False) as logger:
        while run.spent < stop[1]:
            run.spent += tokens
            run.num_updates += 1
            logger.log(run, {"loss": 1 / run.spent}, tokens, rollout=0.5, update=0.25)
    return rows(folder / "metrics.jsonl")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_short_run_has_a_row_for_each_update_and_a_long_one_ten_thousand(tmp_path):
    assert [row["updates"] for row in learn(tmp_path / "short", 10, (0, 1000))] == list(range(1, 101))
    long = learn(tmp_path / "long", 7, (0, 7 * 15_000), total=7 * 15_000)
    assert MOST_ROWS == 10_000 and len(long) == 10_000 and long[-1]["updates"] == 15_000
    assert (tmp_path / "long" / "timings.jsonl").read_text().count("\n") == 10_000


def test_a_row_is_the_first_update_that_ends_in_a_new_part_and_the_last_one_is_kept(tmp_path, ten_rows):
    kept = learn(tmp_path, 30, (0, 1020))
    assert [row["tokens"] for row in kept] == [120, 210, 300, 420, 510, 600, 720, 810, 900, 1020]
    assert all(row["loss"] == 1 / row["tokens"] for row in kept)
    timed = rows(tmp_path / "timings.jsonl")
    assert [row["tokens"] for row in timed] == [row["tokens"] for row in kept]
    assert timed[0]["time/rollout"] == 4 * 0.5 and timed[1]["time/update"] == 3 * 0.25
    assert timed[0]["time/tokens_per_second"] == pytest.approx(30 / 0.75)


@pytest.mark.parametrize("saved", [30, 90, 120, 600, 990])
def test_an_interrupted_run_keeps_the_same_rows(tmp_path, ten_rows, saved):
    learn(tmp_path / "whole", 30, (0, 1020))
    learn(tmp_path / "run", 30, (0, saved + 60))
    learn(tmp_path / "run", 30, (saved, 1020))
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_what_a_shorter_run_or_an_earlier_version_wrote_is_thinned_to_the_new_total(tmp_path, ten_rows):
    learn(tmp_path, 30, (0, 1020))
    assert [row["tokens"] for row in learn(tmp_path, 30, (1020, 2010), total=2000)] == [
        210, 420, 600, 810, 1020, 1200, 1410, 1620, 1800, 2010
    ]  # fmt: skip
    path = tmp_path / "timings.jsonl"
    path.write_text("".join(f'{{"tokens": {n}}}\n' for n in range(1, 900)) + '{"kind": "machine", "tokens": 900}\n')
    JsonLines(path, 900, total=1000).close()
    assert rows(path) == [*({"tokens": n} for n in range(100, 900, 100)), {"kind": "machine", "tokens": 900}]


def test_a_part_holds_a_ten_thousandth_and_a_run_never_leaves_the_last():
    assert [row_of(tokens, 20_000) for tokens in (0, 1, 2, 3, 19_999, 20_000, 20_500)] == [
        0,
        0,
        1,
        1,
        9_999,
        10_000,
        10_000,
    ]


def test_checkpoints_lie_apart_where_a_run_is_quick_and_the_last_is_saved_anyway(tmp_path, monkeypatch):
    clock, saved = [0.0], []
    monkeypatch.setattr("tokengym.algorithms.runs.callbacks.time.monotonic", lambda: clock[0])
    run = SimpleNamespace(spent=0, save=lambda place: saved.append(run.spent))
    callback = SaveEvery(tmp_path, 10, keep=None, seconds=20.0, apart=5.0)
    callback.on_start(run)
    for seconds in (1, 1, 1, 3, 1, 25, 1):
        clock[0] += seconds
        run.spent += 10
        callback.on_update(run, {})
    run.spent += 5
    callback.on_end(run)
    assert saved == [40, 60, 75]
