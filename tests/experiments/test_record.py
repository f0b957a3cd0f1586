"""The command `record`: whose episodes, how many, where they are kept, and what is refused before anything happens."""

import numpy as np
import pytest

from tokengym.algorithms import BC, DQN, EpisodeDataset
from tokengym.envs import make_task
from tokengym.experiments.commands.main import main


def test_episodes_of_several_players_are_kept_in_one_file_with_where_they_come_from(tmp_path, capsys):
    file = str(tmp_path / "copy.safetensors")
    words = ["record", "Copy", file, "--player", "optimal", "random", "--episodes", "21", "--kwargs", "num_tokens=3"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "optimal: 11 episodes" in told and "random: 10 episodes" in told and f"written to {file}" in told
    dataset = EpisodeDataset.load(file, make_task("Copy", num_tokens=3).vocabulary)
    assert dataset.about["players"] == {"optimal": 11, "random": 10} and dataset.about["kwargs"] == {"num_tokens": 3}
    returns = dataset.episodes.returns
    assert returns[:11].min() == returns.max() > returns[11:].mean()
    assert len(np.unique(dataset.episodes.starts)) == 21


def test_the_same_seed_gives_the_same_file_and_another_one_another(tmp_path):
    files = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        assert main(["record", "Nim", str(file), "--player", "random", "--episodes", "8", "--seed", str(seed)]) == 0
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other


def test_a_run_plays_with_its_masks_and_is_learnt_from(tmp_path):
    DQN("Nim", "mlp-tiny", seed=0, action_masks=True, learning_starts=8).learn(64).save(tmp_path / "run")
    file = str(tmp_path / "nim.safetensors")
    assert main(["record", "Nim", file, "--player", str(tmp_path / "run"), "--episodes", "8", "--group-size", "4"]) == 0
    dataset = EpisodeDataset.load(file)
    assert dataset.episodes.action_masks is not None and len(np.unique(dataset.episodes.starts)) == 2
    assert BC("Nim", "mlp-tiny", data=file, seed=0).learn(2).num_updates == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["Copy", "copy.json"], "expected a name that ends in .safetensors, or minari:ID"),
        (["Copy", "there.safetensors"], "there.safetensors is there already"),
        (["Copy", "a.safetensors", "--player", "nobody"], "player is 'nobody'; expected 'expert'"),
        (["Coppy", "a.safetensors"], "Copy"),
        (["Copy", "a.safetensors", "--episodes", "3", "--group-size", "2"], "expected a multiple of --group-size 2"),
        (["Copy", "a.safetensors", "--player", "random", "expert", "--episodes", "1"], "too few for 2 players"),
        (["Copy", "a.safetensors", "--episodes", "0"], "--episodes"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.safetensors").write_bytes(b"")
    assert main(["record", *words]) == 2
    said = capsys.readouterr().err
    assert told in " ".join(said.split()) and not (tmp_path / "a.safetensors").exists()


def test_a_dataset_of_minaris_is_written_and_read_again(tmp_path, monkeypatch):
    pytest.importorskip("minari", reason="Minari is not installed")
    from tokengym.algorithms.data import from_minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    words = ["record", "Copy", "minari:copy/random-v0", "--player", "random", "--episodes", "5"]
    assert main([*words, "--kwargs", "num_tokens=3"]) == 0
    assert len(from_minari("copy/random-v0", make_task("Copy", num_tokens=3))) == 5
