"""Checkpoints and logs that are broken, in the way or left over, and a disk that is full."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_saving import assert_equal_bits, make

from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.runs import checkpoint
from tokengym.algorithms.runs.callbacks import Callback, SaveEvery, StopAfter
from tokengym.algorithms.runs.loggers import EventFile
from tokengym.envs.checking.errors import TokenGymError


def cut_short(folder):
    """What a checkpoint is like whose writing was cut off by other means than this library's."""
    (folder / checkpoint.MANIFEST).unlink()


def unreadable(text):
    return lambda folder: (folder / checkpoint.MANIFEST).write_bytes(text)


def a_folder(folder):
    (folder / checkpoint.MANIFEST).unlink()
    (folder / checkpoint.MANIFEST).mkdir()


BROKEN = {
    "no manifest": cut_short,
    "other format": lambda folder: (folder / checkpoint.MANIFEST).write_text('{"format": 99, "sha256": {}}'),
    "a list": unreadable(b"[1, 2]"),
    "a list of hashes": unreadable(b'{"format": 1, "sha256": [1]}'),
    "binary": unreadable(b"\x80\xff\x00"),
    "deep": unreadable(b"[" * 100_000),
    "a folder": a_folder,
    "no state": lambda folder: (folder / checkpoint.DATA).unlink(),
    "a list as state, sealed": lambda folder: checkpoint.write(folder, {}, [1]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_run_goes_on_from_the_checkpoint_before_a_broken_one_and_past_its_step(case, tmp_path):
    through = make(PPO, "table").learn(300)
    make(PPO, "table").learn(300, callback=[StopAfter(200), SaveEvery(tmp_path, 60)])
    newest = checkpoint.steps(tmp_path)[0]
    BROKEN[case](newest)
    with pytest.warns(RuntimeWarning, match=f"{newest.name}.* It is skipped"):
        resumed = PPO.load(tmp_path)
    assert resumed.num_timesteps == int(checkpoint.steps(tmp_path)[1].name[5:])
    resumed.learn(300, callback=SaveEvery(tmp_path, 60))
    assert_equal_bits(through, resumed)
    assert PPO.load(tmp_path).num_timesteps == through.num_timesteps


def test_only_whole_checkpoints_count_when_the_oldest_go(tmp_path):
    for name in ("step-notes", "step-000000000999.bak", "step-7"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "step-000000099999").write_text("mine")
    data = {"algorithm": "ppo"}
    for steps in (10, 20, 30, 40):
        checkpoint.write(tmp_path / checkpoint.step_name(steps), {}, data)
    cut_short(tmp_path / checkpoint.step_name(40))
    (tmp_path / checkpoint.step_name(50)).mkdir()
    checkpoint.prune(tmp_path, 2)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        "step-notes", "step-000000000999.bak", "step-7", "step-000000099999",
        *(checkpoint.step_name(steps) for steps in (20, 30, 40, 50)),
    }  # fmt: skip


def test_what_killed_writers_left_is_swept_and_what_they_moved_is_put_back(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    checkpoint.write(tmp_path / checkpoint.step_name(20), {}, {"algorithm": "ppo"})
    (tmp_path / checkpoint.step_name(20)).rename(tmp_path / f".{checkpoint.step_name(20)}.previous")
    checkpoint.write(tmp_path / checkpoint.step_name(30), {}, {"algorithm": "ppo"})
    for name in (f"writing-{ended.pid}", f"writing-{os.getppid()}", "previous"):
        (tmp_path / f".{checkpoint.step_name(30)}.{name}").mkdir()
    checkpoint.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        checkpoint.step_name(20), checkpoint.step_name(30), f".{checkpoint.step_name(30)}.writing-{os.getppid()}",
    }  # fmt: skip
    checkpoint.sweep(tmp_path, alone=True)
    assert {path.name for path in tmp_path.iterdir()} == {checkpoint.step_name(20), checkpoint.step_name(30)}


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_stands_where_a_checkpoint_comes_is_moved_aside(kind, tmp_path):
    place = tmp_path / checkpoint.step_name(60)
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    with pytest.warns(RuntimeWarning, match=r"is no checkpoint; it is now .*\.1"):
        make(PPO, "table").learn(60, callback=SaveEvery(tmp_path, 60))
    moved = place.with_name(f"{place.name}.1")
    assert (moved if kind == "file" else moved / "notes.txt").read_text() == "mine"
    assert PPO.load(tmp_path).num_timesteps == 60


def test_a_checkpoint_remembers_the_other_callbacks_whatever_their_order(tmp_path):
    class Counts(Callback):
        calls = 0

        def on_update(self, algorithm, metrics):
            self.calls += 1

        def state(self):
            return {}, {"calls": self.calls}

    make(PPO, "table").learn(120, callback=[SaveEvery(tmp_path, 60), Counts()])
    assert checkpoint.read(tmp_path)[1]["callbacks"]["Counts"] == {"calls": 2}


def test_no_log_is_renamed_over_another_one(tmp_path):
    for number in (2, 3):
        (tmp_path / f"metrics.jsonl.{number}").write_text(f"log {number}")
    for _ in range(3):
        make(PPO, "table").learn(60, log_dir=tmp_path)
        shutil.rmtree(tmp_path / "tensorboard")
    assert [(tmp_path / f"metrics.jsonl.{number}").read_text() for number in (2, 3)] == ["log 2", "log 3"]
    assert {path.name for path in tmp_path.glob("metrics*")} == {
        "metrics.jsonl", *(f"metrics.jsonl.{number}" for number in (1, 2, 3, 4))
    }  # fmt: skip


@contextlib.contextmanager
def files_of_at_most(size):
    """A disk that is full once a file has so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("size", "full"), [(1200, "metrics.jsonl"), (5000, "checkpoint")])
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_after_room_was_made(size, full, tmp_path):
    through = make(PPO, "table").learn(1200, log_dir=tmp_path / "through")
    saving = SaveEvery(tmp_path / "checkpoints", 60 if full != "checkpoint" else 600)
    make(PPO, "table").learn(1200, callback=[StopAfter(60), SaveEvery(tmp_path / "checkpoints", 60)], log_dir=tmp_path)
    written = (tmp_path / "metrics.jsonl").read_bytes()
    resumed = PPO.load(tmp_path / "checkpoints")
    if full != "checkpoint":
        resumed.save = lambda path: None  # type: ignore[method-assign]
    with files_of_at_most(size), pytest.raises(TokenGymError, match=rf"{full}.* cannot be written: .*Make room"):
        resumed.learn(1200, callback=saving, log_dir=tmp_path if full != "checkpoint" else None)
    assert (tmp_path / "metrics.jsonl").read_bytes().startswith(written)
    again = PPO.load(tmp_path / "checkpoints")
    assert again.num_timesteps == 60
    again.learn(1200, log_dir=tmp_path)
    assert_equal_bits(through, again)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (tmp_path / "through" / "metrics.jsonl").read_bytes()


def test_events_for_tensorboard_are_read_back_and_stop_clearly_on_a_full_disk(tmp_path):
    first, second = EventFile(tmp_path, 0), None
    first.write({"episode/return": 0.5, "time/rollout": 2.0}, 60)
    first.write({"episode/return": 0.7}, 120)
    first.close()
    second = EventFile(tmp_path, 60)
    second.write({"episode/return": 0.6}, 130)
    with files_of_at_most(300), pytest.raises(TokenGymError, match=r"tfevents.* cannot be written"):
        for _ in range(20):
            second.write({"episode/return": 0.6}, 140)
    second.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("episode/return")][:2] == [60, 130]


def test_a_pruning_that_was_killed_leaves_nothing_that_looks_like_a_checkpoint(tmp_path, monkeypatch):
    for steps in (10, 20):
        checkpoint.write(tmp_path / checkpoint.step_name(steps), {}, {"algorithm": "ppo"})

    def killed(path, **_):
        if path.exists():
            (path / checkpoint.MANIFEST).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.prune(tmp_path, 1)
    assert [path.name for path in checkpoint.steps(tmp_path)] == [checkpoint.step_name(20)]
    checkpoint.sweep(tmp_path, alone=True)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.step_name(20)]
