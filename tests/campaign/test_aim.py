"""An aimed kill counts the changes of all processes of a command together, and ends them all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys
from tests.campaign import aim
root = sys.argv[1]
aim.install(root, root + "-count", at=int(sys.argv[2]))
open(root + "/a", "w")
if os.fork() == 0:
    os.setpgid(0, 0)  # as the run of a study does
    open(root + "/b", "w")
    open(root + "/c", "w")
    os._exit(0)
os.wait()
open(root + "/d", "w")
"""


@pytest.mark.parametrize(("at", "written"), [(1, ""), (2, "a"), (3, "ab"), (4, "abc"), (5, "abcd")])
def test_a_kill_meets_the_process_that_makes_the_change(at, written, tmp_path):
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "root"), str(at)],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if at < 5 else 0)
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == list(written)
