"""The campaign in its short form; `make campaign` runs the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("part", ["--kills-only", "--fuzz-only"])
def test_the_short_campaign_finds_nothing(part):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.campaign", "--short", part],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
