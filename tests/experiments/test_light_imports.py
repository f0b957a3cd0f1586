"""What only reads or checks words imports none of the libraries that take seconds."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "stable_baselines3", "tokenizers", "matplotlib", "scipy", "tensorboard")

LIGHT = """
import sys
from tokengym.experiments.cli import main

for arguments in (
    ["list"],
    ["train"],
    ["train", "ppo", "--help"],
    ["train", "sac", "--help"],
    ["train", "sb3-dqn", "--help"],
    ["train", "ppo", "Copy", "--learning-rate", "fast"],
    ["train", "ppo", "Copy", "--learning-rate", "-1"],
    ["train", "ppo", "Copy", "--no-such-flag"],
    ["train", "poo", "Copy"],
):
    main(arguments)
    heavy = [name for name in {heavy!r} if name in sys.modules]
    assert not heavy, (arguments, heavy)
"""

CHECKED = """
import sys
from tokengym.algorithms import ALGORITHMS, check_config

for name in ALGORITHMS:
    assert check_config(name, {{"learning_rate": 1e-4}}).learning_rate == 1e-4
assert not [name for name in {heavy!r} if name in sys.modules]
"""


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program.format(heavy=HEAVY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_listing_help_and_wrong_flags_import_nothing_heavy():
    run(LIGHT)


def test_configurations_are_checked_without_torch():
    run(CHECKED)
