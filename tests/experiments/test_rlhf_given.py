"""Files and models that a pipeline is given are read before anything is tuned or bought."""

import json
from pathlib import Path

import numpy as np
import pytest

from tokengym.algorithms.reward_models import RewardModel, fit_from_tokens
from tokengym.envs import Vocabulary
from tokengym.experiments.commands.main import main

GOOD = {"prompt": "the sea", "chosen": "waves salt shore", "rejected": "the the the"}
PIPELINE = """
name: given
environment: {kwargs: {prompts: [the sea, the wood], reward: {name: length, target: 3}}}
sft: {data: texts.jsonl, updates: 2}
comparisons: {file: pairs.jsonl, held_out: 0}
reward_model: {config: {epochs: 1}}
methods: {dpo: {updates: 1}}
judgement: {episodes: 8, points: 1, samples: 1}
"""


def refused(capsys, text=PIPELINE, pairs=(GOOD,), texts=({"prompt": "the sea", "completion": "waves"},)):
    Path("texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    Path("given.yaml").write_text(text)
    assert main(["rlhf", "given.yaml", "--out", "out"]) != 0
    assert not list(Path("out").glob("seed-*/*")), "nothing was begun"
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([{"prompt": "the sea", "chosen": "waves"}], "rejected"),
        ([{**GOOD, "rejected": GOOD["chosen"]}], "equal|same"),
        ([], "empty|no comparisons|no lines"),
    ],
)
def test_a_bad_preference_file_is_refused_before_anything_is_tuned(pairs, told, capsys):
    message = refused(capsys, pairs=pairs)
    assert any(word in message for word in told.split("|")), message
    assert "comparisons" in message


def test_bad_texts_are_refused_before_anything_is_tuned(capsys):
    assert "sft" in refused(capsys, texts=[{"prompt": "the sea"}])


def test_a_reward_model_of_another_vocabulary_is_refused_before_anything_is_tuned(capsys):
    tokens = np.array([[0, 1, 2], [0, 2, 1]], np.int32)
    model = fit_from_tokens(
        tokens, np.array([3, 3]), np.array([0] * 8), np.array([1] * 8), vocabulary=Vocabulary.of(["a", "b"]),
        backbone="mlp-tiny", config={"epochs": 1, "validation": 0.25},
    )  # fmt: skip
    assert isinstance(model, RewardModel)
    model.save("other")
    text = PIPELINE.replace("reward_model: {config: {epochs: 1}}", "reward_model: {path: other}")
    assert "reward_model" in refused(capsys, text)


def test_what_a_pipeline_would_overrule_is_refused(capsys):
    assert "process" in refused(capsys, PIPELINE.replace("{epochs: 1}", "{process: true}"))
    assert "normalise" in refused(capsys, PIPELINE.replace("{epochs: 1}", "{normalise: none}"))
