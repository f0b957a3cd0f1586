import json
from pathlib import Path

import pytest
import torch
import transformers

from tokengym.algorithms import ALGORITHMS, load_algorithm
from tokengym.experiments.commands.main import main

PROMPTS = ["the sea", "the wood", "a small boat"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    small = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
    ALGORITHMS["ppo"]("Copy", small, rollout_tokens=64).learn(64).save(
        folder / "copy" / "checkpoints" / "step-000000000064"
    )
    text = {"prompts": PROMPTS, "max_new_tokens": 3, "reward": {"name": "keyword", "words": ["sea"]}}
    from tokengym.envs import make_task

    llama = {**small, "kind": "llama"}
    ALGORITHMS["a2c"](make_task("TextGeneration", **text), llama, rollout_tokens=64).learn(64).save(folder / "text")
    ALGORITHMS["dqn"]("Copy", small, rollout_tokens=64).save(folder / "dqn")
    ALGORITHMS["ppo"]("Copy", rollout_tokens=64).save(folder / "mlp")
    ALGORITHMS["sb3-ppo"]("Copy", "mlp").save(folder / "sb3")
    ALGORITHMS["ilql"]("Copy", small, demonstrations=8).save(folder / "ilql")
    return folder


def test_a_run_is_exported_with_a_card_that_says_where_it_stands(runs: Path, tmp_path: Path, capsys):
    assert main(["export", str(runs / "copy"), str(tmp_path / "out")]) == 0
    assert "wrote" in capsys.readouterr().out
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "tokengym/Copy-v0" in card and "1 at optimal play (1)" in card and "rollout_tokens: 64" in card
    assert card.count("| greedy |") == 1 and card.count("| sampled |") == 1 and "exact" in card
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    task = load_algorithm(runs / "copy" / "checkpoints" / "step-000000000064").task
    assert model.config.vocab_size == task.vocabulary.size


def test_a_text_tasks_own_tokenizer_goes_along(runs: Path, tmp_path: Path):
    assert main(["export", str(runs / "text"), str(tmp_path / "out"), "--episodes", "8"]) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    algorithm = load_algorithm(runs / "text")
    ids = tokenizer("the sea", return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert ids[0].tolist() == algorithm.task.unwrapped.tokenizer.encode("the sea", add_special_tokens=False)
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(said[0]).startswith("the sea")


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("dqn", "no policy but the heads q"),
        ("mlp", "MLPTrunk, which no causal language model"),
        ("sb3", "a policy of Stable-Baselines3"),
        ("ilql", "ilql says its policy weighed by what it learnt of values"),
        ("nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line_and_nothing_is_written(runs, tmp_path, capsys, run, says):
    assert main(["export", str(runs / run), str(tmp_path / "out"), "--episodes", "2"]) == 2
    told = capsys.readouterr().err
    assert says in " ".join(told.split()) and "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_an_exported_policy_is_trained_on_as_any_checkpoint_folder(runs: Path, tmp_path: Path, capsys):
    assert main(["export", str(runs / "copy"), str(tmp_path / "out")]) == 0
    words = ["train", "ppo", "Copy", "--agent", str(tmp_path / "out"), "--total-tokens", "64", "--rollout-tokens", "64"]
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "more"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] >= 64


def test_a_wheel_that_is_not_there_is_refused(tmp_path: Path, capsys):
    assert main(["model", "smollm2", str(tmp_path / "out"), "--wheel", str(tmp_path / "no.whl")]) == 2
    assert "is no file" in capsys.readouterr().err
