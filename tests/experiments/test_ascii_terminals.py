"""Terminals without Unicode: every command, its errors and its progress come out in ASCII that can be read."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import fake_jobs
import pytest

from tokengym.experiments.commands.main import main
from tokengym.experiments.streams import readable
from tokengym.experiments.study import pool

STUDY = "total_tokens: 10\nseeds: [0]\nenvironments: {Copy: }\nalgorithms: {ppo: {}, raises: {algorithm: ppo}}\n"


class Stream(io.TextIOWrapper):
    """A strict stream of ASCII, on a terminal or not."""

    def __init__(self, terminal=False, text=b""):
        super().__init__(io.BytesIO(text), encoding="ascii")
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    def written(self):
        self.flush()
        return self.buffer.getvalue().decode("ascii")


@pytest.fixture(params=[False, True], ids=["piped", "terminal"])
def run(request, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "JOBS", fake_jobs)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")

    def call(*arguments, text=b""):
        out, err = Stream(request.param), Stream(request.param)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "stdin", Stream(text=text))
            code = main(arguments)
        return code, re.sub(r"\x1b\[[0-9;]*m", "", out.written() + err.written())

    return call


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 0),
        (["list"], 0),
        (["list", "--all", "--family", "games"], 0),
        (["compare", "--list"], 0),
        (["train", "ppo", "--help"], 0),
        (["nonsense–…中"], 2),
        (["train", "ppo", "Copy", "--seed", "…"], 2),
        (["compare", "é.yaml"], 2),
        (["watch", "Maze", "--delay", "0"], 0),
        (["watch", "Lattice", "--agent", "optimal", "--delay", "0"], 0),
        (["play", "Maze"], 0),
        (["play", "KeywordCover"], 0),
    ],
    ids=str,
)
def test_every_command_ends_as_it_does_on_any_terminal(run, arguments, code):
    found, printed = run(*arguments, text=b"?\nhint\n\xc3\xa9\nquit\n")
    assert found == code and printed.strip() and "Traceback" not in printed


def test_a_study_shows_its_progress_its_tables_and_its_failures(run):
    Path("s.yaml").write_text(STUDY)
    code, printed = run("compare", "s.yaml", "--workers", "1")
    assert code == 1 and "score 0.500" in printed and "Aggregates" in printed and "loss is NaN" in printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0 … 5, and so on…", "0 ... 5, and so on~"),
        ("-1 – 2 ± 3 · 4 − 5", "-1 - 2 +- 3 . 4 - 5"),
        ("≥ 3 → 4 ≤ τ", ">= 3 -> 4 <= tau"),
        ("┌─┬─┐│▒│", "+-+-+|%|"),
        ("“a” ‘b’", "\"a\" 'b'"),
        ("␛[2J ␡", "^[[2J ^?"),
        ("中é", "\\u4e2d\\xe9"),
        ("plain", "plain"),
    ],
)
def test_signs_become_signs_like_them(text, shown):
    assert readable(text) == shown


def test_a_process_of_the_C_locale_writes_ascii(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "tokengym", "watch", "Maze"], cwd=tmp_path, env=environment, capture_output=True
    )
    assert done.returncode == 0 and done.stdout.isascii() and b"Traceback" not in done.stderr
