"""A full disk while a study runs or its report is written: one line, nothing sealed wrongly, and it goes on."""

import errno
from pathlib import Path

import fake_jobs
import pytest

from tokengym.experiments.commands.main import main
from tokengym.experiments.study import pool
from tokengym.experiments.study.folder import RunFolder
from tokengym.experiments.study.full_disk import is_disk_full

STUDY = "total_tokens: 10\nseeds: [0]\nenvironments: {Copy: }\nalgorithms: {ppo: {}, full: {algorithm: ppo}}\n"
FULL = Path("/dev/full")


@pytest.fixture(autouse=True)
def in_a_folder_with_a_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "JOBS", fake_jobs)
    Path("s.yaml").write_text(STUDY)


def refusal(capsys, *arguments):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1 and "make room" in error and "the same command goes on" in error
    return error


def test_a_run_that_finds_no_room_ends_the_study_unsealed_and_the_same_command_goes_on(capsys):
    error = refusal(capsys, "compare", "s.yaml", "--workers", "1")
    assert "the disk is full" in error
    run = Path("results/s/runs/Copy/full/seed-0")
    assert not (run / "done.json").exists() and not (run / "failed.json").exists()
    Path("room").touch()
    assert main(["compare", "s.yaml", "--workers", "1"]) == 0


@pytest.mark.parametrize("name", ["begin", "fail"])
def test_a_study_that_cannot_write_a_run_folder_says_so(name, capsys, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device", "config.yaml")

    Path("s.yaml").write_text(STUDY.replace("full", "raises"))
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, name, full)
        assert "No space left on device: config.yaml" in refusal(capsys, "compare", "s.yaml", "--workers", "1")
    assert main(["compare", "s.yaml", "--workers", "1"]) == 1  # its run that raises


@pytest.mark.skipif(not FULL.exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("name", ["report.html", "summary.json"])
def test_a_report_that_finds_no_room_says_so_and_is_written_when_there_is(name, capsys):
    Path("room").touch()
    assert main(["compare", "s.yaml", "--workers", "1"]) == 0
    capsys.readouterr()
    path = Path("results/s", name)
    path.unlink()
    path.symlink_to(FULL)
    refusal(capsys, "report", "s.yaml")
    path.unlink()
    assert main(["report", "s.yaml"]) == 0 and path.stat().st_size


def test_what_a_library_says_of_a_full_disk_is_understood():
    assert is_disk_full(Exception("I/O error: No space left on device (os error 28)"))
    assert not is_disk_full(OSError(errno.EACCES, "Permission denied"))
