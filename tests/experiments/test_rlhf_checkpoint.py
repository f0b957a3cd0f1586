"""The pipeline `smollm2`, with a tiny Llama in a folder in the place of the real model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open

from tokengym.algorithms import load_algorithm
from tokengym.algorithms.configs.on_policy import RATIO_TOLERANCES
from tokengym.envs import TokenGymError, build_tokenizer
from tokengym.experiments.commands.main import main
from tokengym.experiments.rlhf import check_pipeline, find_pipeline, gather, load_pipeline, run_pipeline
from tokengym.experiments.rlhf.file import data_file
from tokengym.experiments.rlhf.setting import Setting

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small Llama whose tokenizer learnt the pipeline's own texts."""
    place = tmp_path_factory.mktemp("model") / "llama"
    lines = data_file("smollm2.jsonl").read_text(encoding="utf-8").splitlines()
    corpus = ["{prompt}{completion}".format(**json.loads(line)) for line in lines]
    tokenizer = build_tokenizer({"kind": "bpe", "corpus": corpus, "vocab_size": 300})
    tokenizer.save_pretrained(place)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=24,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    return str(place)


def small(model: str) -> Any:
    """The packaged pipeline on that folder, with budgets of seconds."""
    pipeline = load_pipeline(find_pipeline("smollm2")).with_model(model)
    longer = {**pipeline.environment.kwargs, "max_length": 64}
    ppo, dpo = (next(method for method in pipeline.methods if method.name == name) for name in ("ppo", "dpo"))
    few = {**ppo.config, "rollout_tokens": 100, "num_rows": 8}
    return replace(
        pipeline,
        environment=replace(pipeline.environment, kwargs=longer),
        sft=replace(pipeline.sft, updates=3, config={**pipeline.sft.config, "overlong": "drop"}),
        comparisons=replace(pipeline.comparisons, labels=24),
        methods=(replace(ppo, tokens=200, config=few), replace(dpo, updates=2)),
        judgement=replace(pipeline.judgement, episodes=12, points=1, samples=2),
    )


@pytest.fixture(scope="module")
def done(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done")
    run_pipeline(small(model), out)
    return out


def test_the_pipeline_runs_from_the_folder_to_the_judgement(done: Path, model: str):
    found = gather(small(model), done).seeds[0]
    assert not found.missing
    assert found.facts["sft"]["texts"] > 0 and found.facts["before"]["final"]["kl"] == 0.0
    for name in ("ppo", "dpo"):
        assert found.facts[name]["final"]["kl"] > 0 and found.facts[name]["final"]["proxy"] is not None


def test_the_ratio_stays_within_its_tolerance_and_the_peak_is_told(done: Path, model: str):
    found = gather(small(model), done).seeds[0]
    assert 0 < found.facts["ppo"]["ratio_error"] < RATIO_TOLERANCES["float32"] == found.facts["ppo"]["ratio_tolerance"]
    assert "ratio_error" not in found.facts["dpo"]
    assert found.costs["ppo"]["peak_gb"] > 0.1 and found.costs["ppo"]["cpu_seconds"] > 0


def test_only_adapters_are_saved_and_all_stand_on_the_same_folder(done: Path, model: str):
    seed = done / "seed-0"
    for folder in (seed / "sft", seed / "methods" / "ppo", seed / "methods" / "dpo"):
        agent = load_algorithm(folder).agent
        assert agent.lora is not None and agent.config()["base"]["folder"] == model
    with safe_open(next((seed / "reward-model" / "model").glob("*.safetensors")), "np") as file:
        names = list(file.keys())
    assert any("lora_A" in name for name in names) and not any(name.startswith("bases/") for name in names)


def test_judging_asks_prompts_that_nothing_was_learnt_on(done: Path, model: str):
    setting = Setting(small(model), 0, done / "seed-0")
    asked, judged = (set(task.unwrapped.prompts.texts) for task in (setting.paid, setting.judged))
    tuned = {json.loads(line)["prompt"] for line in data_file("smollm2.jsonl").read_text().splitlines()}
    assert asked and judged and not asked & judged and not tuned & (asked | judged)
    assert setting.paid.model is setting.judged.model is setting.reward_model


def test_the_export_has_the_agents_logits_in_plain_transformers(done: Path, tmp_path: Path):
    run = done / "seed-0" / "methods" / "ppo"
    assert main(["export", str(run), str(tmp_path / "out"), "--episodes", "8"]) == 0
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    agent = load_algorithm(run).agent
    ids = [tokenizer.bos_token_id, *tokenizer("The tea is", add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        logits = plain(torch.tensor([ids])).logits[0, -1].double().softmax(0).numpy()
    ours = agent.probabilities(np.array([ids], np.int32), np.array([len(ids)]))[0]
    np.testing.assert_allclose(logits, ours, atol=1e-6)


def test_a_model_that_is_not_there_is_refused_with_how_to_make_it(tmp_path: Path, capsys: Any):
    nowhere = str(tmp_path / "nowhere")
    assert main(["rlhf", "smollm2", "--model", nowhere, "--out", str(tmp_path / "out")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "there is no such folder" in told and "tokengym model smollm2" in told
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there_is_refused_before_anything_is_run(model: str, tmp_path: Path):
    with pytest.raises(TokenGymError, match=r"device is 'nodevice', which names none"):
        run_pipeline(small(model).with_device("nodevice"), tmp_path / "out")
    assert not list((tmp_path / "out").glob("seed-*"))


def test_another_model_brings_its_tokenizer_where_the_task_had_the_models(model: str):
    pipeline = load_pipeline(find_pipeline("smollm2"))
    other = pipeline.with_model(model)
    assert other.model == other.environment.kwargs["tokenizer"] == model
    check_pipeline(other)
    apart = replace(pipeline, environment=replace(pipeline.environment, kwargs={"tokenizer": {"kind": "words"}}))
    assert apart.with_model(model).environment.kwargs == {"tokenizer": {"kind": "words"}}
