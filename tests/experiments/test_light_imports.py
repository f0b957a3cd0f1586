"""What only reads or checks words imports none of the libraries that take seconds."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "stable_baselines3", "tokenizers", "matplotlib", "scipy", "tensorboard")

LIGHT = """
import sys
from tokengym.experiments.commands.main import main

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
from tokengym.agents import check_agent_spec
from tokengym.algorithms import ALGORITHMS, check_config

check_agent_spec({{"kind": "gru", "hidden_size": 32}})

for name in ALGORITHMS:
    assert check_config(name, {{"learning_rate": 1e-4}}).learning_rate == 1e-4
assert not [name for name in {heavy!r} if name in sys.modules]
"""

PACKAGES = """
import sys
import tokengym

packages = ("agents", "algorithms", "envs", "experiments")
assert set(packages) <= set(dir(tokengym)) and set(packages) <= set(tokengym.__all__)
assert "tokengym.algorithms" not in sys.modules and "tokengym.agents" not in sys.modules
assert "ppo" in tokengym.algorithms.ALGORITHMS
assert not hasattr(tokengym, "algorithm") and not hasattr(tokengym.algorithms, "PPPO")
assert tokengym.experiments.Study and tokengym.envs.Engine and tokengym.agents.check_agent_spec
for package in packages:
    module = getattr(tokengym, package)
    assert set(module.__all__) <= set(dir(module))
assert not [name for name in {heavy!r} if name in sys.modules]
for package in packages:
    module = getattr(tokengym, package)
    assert all(hasattr(module, name) for name in module.__all__)
assert tokengym.algorithms.PPO.name == "ppo"
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


def test_sub_packages_and_their_names_are_reached_from_the_front_door_and_imported_when_asked_for():
    run(PACKAGES)
