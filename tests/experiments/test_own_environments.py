"""Environments of one's own in training and in a study, by the module that registers them."""

import sys

import gymnasium
import pytest

from tokengym.envs import FAMILIES, TASKS
from tokengym.experiments.commands.main import main

MODULE = """
import tokengym
from tokengym.envs import FiniteTask, Initial, Transition, Vocabulary


class Coin(FiniteTask):
    vocabulary = Vocabulary.of(["heads", "tails"])

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        return [Transition(1.0, None, float(action))]


tokengym.register_task("Coin", Coin)
"""
STUDY = """
name: coins
total_tokens: 128
seeds: [0]
evaluation: {episodes: 20, training_episodes: 10, points: 1}
environments:
  coin: {id: "coin_tasks:tokengym/Coin-v0", agent: table}
algorithms:
  ppo: {config: {rollout_tokens: 64, num_rows: 16}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the module and a study, as the working directory; forgotten afterwards."""
    (tmp_path / "coin_tasks.py").write_text(MODULE)
    (tmp_path / "coins.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield tmp_path
    sys.modules.pop("coin_tasks", None)
    TASKS.pop("Coin", None)
    FAMILIES.pop("custom", None)
    gymnasium.registry.pop("tokengym/Coin-v0", None)


def test_an_agent_is_trained_saved_and_evaluated(folder, capsys):
    arguments = ["--agent", "table", "--total-tokens", "128", "--episodes", "20", "--out", "run"]
    assert main(["train", "ppo", "coin_tasks:tokengym/Coin-v0", *arguments]) == 0
    checkpoint = next((folder / "run" / "checkpoints").iterdir())
    assert main(["evaluate", str(checkpoint), "--episodes", "20"]) == 0
    assert "Coin" in capsys.readouterr().out


def test_a_study_names_it_by_its_module_and_its_workers_import_it(folder, capsys):
    assert main(["compare", "coins.yaml", "--workers", "1"]) == 0
    assert (folder / "results" / "coins").is_dir()


def test_a_module_that_is_not_there_is_one_line(folder, capsys):
    assert main(["train", "ppo", "coin_task:tokengym/Coin-v0"]) == 2
    assert "there is no module 'coin_task' here" in " ".join(capsys.readouterr().err.split())
