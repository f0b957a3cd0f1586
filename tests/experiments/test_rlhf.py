"""The whole pipeline on a tiny task: stages once, equal results for equal seeds, and going on after an interruption."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tokengym.algorithms import Callback
from tokengym.envs import TokenGymError
from tokengym.experiments.commands.main import main
from tokengym.experiments.rlhf import StageEvent, gather, load_pipeline, plan, run_pipeline

TEXT = """
name: tiny
environment: {id: Sentiment, kwargs: {length: 4}}
model: mlp-tiny
sft: {data: corpus, episodes: 60, updates: 12}
comparisons: {labels: 60, temperature: 0.1}
reward_model: {config: {epochs: 2}}
methods:
  ppo: {tokens: 240, config: {rollout_tokens: 48, kl_coef: 0.1}}
  dpo: {updates: 6}
  gold: {algorithm: a2c, tokens: 96, reward: gold}
  best-of-n: {n: [2, 4]}
judgement: {episodes: 24, points: 2, samples: 2}
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("pipeline") / "tiny.yaml"
    path.write_text(TEXT)
    return load_pipeline(path)


@pytest.fixture(scope="module")
def done(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StageEvent]]:
    out, events = tmp_path_factory.mktemp("done"), []
    run_pipeline(pipeline, out, on_event=events.append)
    return out, events


def facts(out: Path, pipeline: Any) -> dict[str, Any]:
    """What all stages found, times left out."""
    found = gather(pipeline, out).seeds[0].facts
    return {name: {key: value for key, value in one.items() if key != "seconds"} for name, one in found.items()}


def test_every_stage_is_done_in_its_order_and_shows_how_far_it_is(done: tuple[Path, list[StageEvent]], pipeline: Any):
    order = ["sft", "comparisons", "reward-model", "before", "ppo", "dpo", "gold", "best-of-n"]
    assert [event.stage for event in done[1] if event.kind == "finished"] == order
    assert {event.stage for event in done[1] if event.kind == "alive"} >= {"sft", "reward-model", "ppo", "dpo"}
    assert not gather(pipeline, done[0]).seeds[0].missing


def test_all_begin_from_the_tuned_model_at_a_kl_of_zero(done: tuple[Path, list[StageEvent]], pipeline: Any):
    found = facts(done[0], pipeline)
    assert found["before"]["final"]["kl"] == 0.0
    assert 0 < found["ppo"]["final"]["kl"] and 0 < found["dpo"]["final"]["kl"]
    assert found["best-of-n"]["final"]["kl"] == pytest.approx(np.log(4) - 3 / 4)
    assert found["ppo"]["tokens"] >= 240 and found["dpo"]["updates"] == 6 and found["dpo"]["tokens"] == 0
    assert [point["point"] for point in found["ppo"]["points"]] == [1, 2]
    assert all("proxy" in sample and 0 <= sample["gold"] <= 1 for sample in found["ppo"]["samples"])


def test_labels_are_bought_once_and_parted(done: tuple[Path, list[StageEvent]], pipeline: Any):
    found = facts(done[0], pipeline)["comparisons"]
    assert (found["train"], found["held_out"]) == (48, 12)
    assert 0.5 <= found["allowed_accuracy"] <= 1
    assert {"prompt", "better", "worse"} == found["examples"][0].keys()


@pytest.mark.parametrize("player", ["expert", "random"])
def test_a_player_of_the_task_is_imitated(player: str, tmp_path: Path):
    path = tmp_path / "copies.yaml"
    path.write_text(
        f"environment: {{id: Copy}}\nmodel: mlp-tiny\nsft: {{data: {player}, episodes: 24, updates: 2}}\n"
        "methods: {ppo: {tokens: 16, config: {rollout_tokens: 16}}}\njudgement: {episodes: 4, points: 1, samples: 1}\n"
    )
    run_pipeline(load_pipeline(path), tmp_path / "out")
    found = gather(load_pipeline(path), tmp_path / "out").seeds[0].facts["sft"]
    assert found["texts"] == 24 and found["updates"] == 2


def test_the_same_command_again_does_nothing(done: tuple[Path, list[StageEvent]], pipeline: Any):
    events: list[StageEvent] = []
    run_pipeline(pipeline, done[0], on_event=events.append)
    assert {event.kind for event in events} == {"kept"}


def test_a_method_that_was_interrupted_goes_on_to_the_same_bits(
    done: tuple[Path, list[StageEvent]], pipeline: Any, tmp_path: Path
):
    class Stop(Callback):
        def on_update(self, algorithm: Any, metrics: dict[str, float]) -> bool:
            return not (algorithm.name == "ppo" and algorithm.num_updates == 3)

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(pipeline, tmp_path, stop=Stop())
    assert gather(pipeline, tmp_path).seeds[0].missing[0] == "ppo"
    told: list[StageEvent] = []
    run_pipeline(pipeline, tmp_path, on_event=told.append)
    assert [event.stage for event in told if event.kind == "kept"] == ["sft", "comparisons", "reward-model", "before"]
    assert facts(tmp_path, pipeline) == facts(done[0], pipeline)


def test_what_was_done_under_other_settings_is_refused_and_done_again_where_asked(
    done: tuple[Path, list[StageEvent]], tmp_path: Path
):
    path, out = tmp_path / "tiny.yaml", tmp_path / "out"
    shutil.copytree(done[0], out)
    path.write_text(TEXT.replace("updates: 6", "updates: 7"))
    changed = load_pipeline(path)
    with pytest.raises(TokenGymError, match=r"updates is 7 \(the folder's is 6\)"):
        run_pipeline(changed, out)
    told: list[StageEvent] = []
    run_pipeline(changed, out, replace_changed=True, on_event=told.append)
    assert [event.stage for event in told if event.kind == "finished"] == ["dpo"]
    assert facts(out, changed)["dpo"]["updates"] == 7


def test_a_methods_folder_is_a_run_that_other_commands_take(done: tuple[Path, list[StageEvent]], capsys: Any):
    assert main(["evaluate", str(done[0] / "seed-0" / "methods" / "ppo"), "--episodes", "8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"gold", "proxy"} <= told["sampled"]["columns"].keys()


def test_the_command_writes_the_report_from_what_is_there(
    done: tuple[Path, list[StageEvent]], tmp_path: Path, capsys: Any
):
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT)
    assert main(["rlhf", str(path), "--out", str(done[0]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["methods"]["ppo"][0]["gold"] == facts(done[0], load_pipeline(path))["ppo"]["final"]["gold"]
    assert (done[0] / "report.html").stat().st_size > 50_000
    assert main(["rlhf", str(path), "--out", str(done[0]), "--report-only"]) == 0
    assert main(["rlhf", str(path), "--out", str(done[0]), "--seeds", "1", "--report-only"]) == 1


TRL = """
name: from-trl
environment:
  kwargs: {prompts: [the sea, the wood, the hill, the sky], reward_funcs: ["trl_rewards:reward_different_words"]}
comparisons: {file: preferences.jsonl, held_out: 0.25}
reward_model: {config: {epochs: 1}}
methods:
  ppo: {tokens: 64, config: {rollout_tokens: 32}}
  dpo: {updates: 2}
judgement: {episodes: 8, points: 1, samples: 1}
"""
REWARD = '''
def reward_different_words(completions, **kwargs):
    """A reward function with TRL's signature."""
    said = [completion.split() for completion in completions]
    return [len(set(words)) / max(len(words), 1) for words in said]
'''
PAIRS = [
    {"prompt": "the sea", "chosen": "waves salt shore", "rejected": "the the the"},
    {"prompt": "the wood", "chosen": "trees leaf moss", "rejected": "wood wood"},
    {"prompt": "the hill", "chosen": "snow stone cold", "rejected": "the hill"},
    {"prompt": "the sky", "chosen": "moon star night", "rejected": "sky"},
]


def test_a_preference_file_and_a_reward_function_of_trl_work_and_the_model_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("from-trl.yaml").write_text(TRL)
    Path("trl_rewards.py").write_text(REWARD)
    Path("preferences.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    assert main(["rlhf", "from-trl.yaml", "--out", "out"]) == 0
    found = gather(load_pipeline("from-trl.yaml"), "out").seeds[0].facts
    assert (found["comparisons"]["train"], found["comparisons"]["held_out"]) == (3, 1)
    assert found["ppo"]["final"]["proxy"] is not None
    assert main(["export", "out/seed-0/methods/dpo", "model"]) == 0

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained("model"), AutoModelForCausalLM.from_pretrained("model")
    ids = tokenizer("the sea", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape[1] == ids.shape[1]


@pytest.mark.filterwarnings("ignore")  # of TRL's own, of what it will rename
def test_trl_s_own_trainer_goes_on_from_the_exported_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trl = pytest.importorskip("trl", reason="needs TRL")
    datasets = pytest.importorskip("datasets", reason="needs TRL")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("from-trl.yaml").write_text(TRL)
    Path("trl_rewards.py").write_text(REWARD)
    Path("preferences.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    assert main(["rlhf", "from-trl.yaml", "--out", "out"]) == 0
    assert main(["export", "out/seed-0/methods/dpo", "model"]) == 0

    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings = trl.DPOConfig(
        output_dir="trl", max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True, bf16=False,
        save_strategy="no", gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained("model")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    trainer = trl.DPOTrainer(
        model=model,
        args=settings,
        train_dataset=datasets.Dataset.from_list(PAIRS),
        processing_class=AutoTokenizer.from_pretrained("model"),
    )
    assert np.isfinite(trainer.train().training_loss)
    assert any(not torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_plans_of_two_seeds_share_nothing(pipeline: Any, tmp_path: Path):
    first, second = (plan(pipeline, tmp_path, seed) for seed in (0, 1))
    assert not {stage.key for stage in first} & {stage.key for stage in second}
