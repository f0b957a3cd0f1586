"""An algorithm of somebody else: the guide's REINFORCE, registered, trained from the command line and compared."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tokengym.algorithms import ALGORITHMS, PPO, OnPolicy, StopAfter, load_algorithm, register_algorithm
from tokengym.envs.checking import TokenGymError
from tokengym.experiments.commands import main as cli

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "your-own-algorithm.md"
SOURCE = re.findall(r"```python\n(# vanilla\.py\n.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)[0]


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder that holds the guide's module, with nothing registered yet, and afterwards no longer."""
    (tmp_path / "vanilla.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = dict(ALGORITHMS._registered)
    yield tmp_path
    sys.modules.pop("vanilla", None)
    ALGORITHMS._registered.clear()
    ALGORITHMS._registered.update(before)


def test_the_guides_reinforce_has_at_most_sixty_lines():
    assert len(SOURCE.splitlines()) <= 60


def test_it_is_trained_from_the_command_line_and_its_checkpoint_imports_it_where_that_is_allowed(outside, capsys):
    command = ["train", "vanilla:vanilla", "Copy", "--agent", "table", "--total-tokens", "300", "--episodes", "20"]
    assert cli.main([*command, "--baseline-decay", "0.5", "--out", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["tokens"] >= 300
    sys.modules.pop("vanilla")
    ALGORITHMS._registered.clear()
    assert cli.main(["evaluate", "mine", "--episodes", "10"]) == 2
    assert "names the algorithm 'vanilla:vanilla'" in " ".join(capsys.readouterr().err.split())
    assert "vanilla" not in sys.modules
    assert cli.main(["evaluate", "mine", "--episodes", "10", "--allow-imports"]) == 0


def test_it_is_compared_beside_ppo_in_a_study(outside, capsys):
    study = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    Path("reinforced.yaml").write_text(study, encoding="utf-8")
    arguments = ["reinforced.yaml", "--budget", "100", "--seeds", "0", "--workers", "1", "--out", "out", "--json"]
    assert cli.main(["compare", *arguments]) == 0
    assert (outside / "out" / "runs" / "Copy" / "mine" / "seed-0" / "done.json").exists()
    sys.modules.pop("vanilla", None)
    ALGORITHMS._registered.clear()
    capsys.readouterr()
    assert cli.main(["compare", *arguments]) == 0
    assert "0 of 2 runs to do, 2 finished before" in capsys.readouterr().err, "what was made is known again"
    assert cli.main(["report", *[word for word in arguments if word not in ("--workers", "1")]]) == 0


def test_it_learns_and_goes_on_after_a_checkpoint_to_the_same_bits(outside):
    kind = ALGORITHMS["vanilla:vanilla"]
    whole = kind("Copy", "table", seed=1).learn(400)
    half = kind("Copy", "table", seed=1).learn(400, callback=StopAfter(200))
    half.save("half")
    gone_on = load_algorithm("half").learn(400)
    for one, other in zip(whole.agent.parameters(), gone_on.agent.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
    assert gone_on.baseline == whole.baseline
    returns = []
    learner = kind("TokenBandit", "table", seed=1, learning_rate=0.05)
    for _ in range(60):
        episodes = learner.collect()
        learner.update(episodes)
        returns.append(episodes.returns.mean())
    assert np.mean(returns[-10:]) > np.mean(returns[:10])


def test_an_unknown_field_of_it_names_the_nearest(outside):
    with pytest.raises(TokenGymError, match=r"ReinforceConfig field 'baseline_decai'.*baseline_decay"):
        ALGORITHMS["vanilla:vanilla"]("Copy", baseline_decai=1)
    with pytest.raises(TokenGymError, match="algorithm of module 'vanilla' 'vanila'"):
        ALGORITHMS["vanilla:vanila"]
    with pytest.raises(TokenGymError, match="no module 'nowhere'"):
        ALGORITHMS["nowhere:vanilla"]


def test_an_installed_package_declares_its_algorithms_and_is_imported_when_one_is_used(outside, capsys):
    info = outside / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tokengym.algorithms]\nvanilla = their_package:Reinforce\n")
    (outside / "their_package.py").write_text(SOURCE.replace("register_algorithm(", "(lambda *_: None)("))
    assert "vanilla" in ALGORITHMS and "vanilla" in list(ALGORITHMS)
    assert cli.main(["list"]) == 0
    assert "their_package:Reinforce" in capsys.readouterr().out and "their_package" not in sys.modules
    algorithm = ALGORITHMS["vanilla"]("Copy", "table")
    algorithm.save("saved")
    assert type(load_algorithm("saved")).__module__ == "their_package"
    sys.modules.pop("their_package")


class Mine(PPO):
    name = "mine"


@pytest.mark.parametrize(
    ("name", "algorithm", "says"),
    [
        ("Mine", Mine, "give small letters and digits"),
        ("ppo", Mine, "belongs to tokengym"),
        ("mine", object, "is no algorithm"),
        ("mine", "no colon", "give 'module:Class'"),
        ("other", Mine, "Mine.name is 'mine'; give it the same name"),
    ],
)
def test_what_cannot_be_registered_is_refused(name, algorithm, says):
    with pytest.raises(TokenGymError, match=re.escape(says)):
        register_algorithm(name, algorithm)


def test_a_base_without_a_name_shows_no_hyperparameters_and_what_derives_from_one_keeps_its_config():
    assert Mine.Config is PPO.Config and OnPolicy.Config is not PPO.Config
