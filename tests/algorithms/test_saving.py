import json
import re
import shutil

import numpy as np
import pytest
import torch

from tokengym.algorithms.on_policy.a2c import A2C
from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.registry import load_algorithm
from tokengym.algorithms.runs import checkpoint
from tokengym.algorithms.runs.callbacks import SaveEvery, StopAfter
from tokengym.algorithms.runs.checkpoint import BrokenCheckpointError
from tokengym.algorithms.runs.loggers import read_json_lines
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.registration import make_task
from tokengym.envs.text.tokenizers import build_tokenizer

SMALL = {"gpt2-tiny": {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}}


def make(kind, agent="gpt2-tiny", **overrides):
    options = {"rollout_tokens": 60, "kl_coef": 0.05, "kl_target": 2.0} | overrides
    return kind("tokengym/Copy-v0", SMALL.get(agent, agent), seed=5, **options)


def assert_equal_bits(one, other):
    for (name, p), q in zip(one.agent.state_dict().items(), other.agent.state_dict().values(), strict=True):
        assert torch.equal(p, q), name
    assert one.return_scale.state() == other.return_scale.state()
    assert one.kl_controller.coef == other.kl_controller.coef
    assert torch.equal(one.generator.get_state(), other.generator.get_state())


@pytest.mark.parametrize("agent", ["gpt2-tiny", "table"])
@pytest.mark.parametrize("kind", [PPO, A2C])
def test_n_tokens_and_resume_and_n_tokens_equal_2n_tokens_bit_for_bit(kind, agent, tmp_path):
    through = make(kind, agent).learn(600, log_dir=tmp_path / "through")
    make(kind, agent).learn(600, callback=StopAfter(300), log_dir=tmp_path / "halves").save(tmp_path / "half")
    resumed = kind.load(tmp_path / "half")
    assert 300 <= resumed.num_timesteps < 400
    resumed.learn(600, log_dir=tmp_path / "halves")
    assert_equal_bits(through, resumed)
    one, other = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("through", "halves"))
    assert one == other


def test_the_same_seed_twice_gives_the_same_bits_and_another_seed_others():
    first, second = (make(PPO).learn(300) for _ in range(2))
    assert_equal_bits(first, second)
    other = PPO("tokengym/Copy-v0", SMALL["gpt2-tiny"], seed=6, rollout_tokens=60)
    assert not torch.equal(next(first.agent.parameters()), next(other.agent.parameters()))


def test_a_loaded_algorithm_predicts_the_same(tmp_path):
    algorithm = make(PPO).learn(120)
    algorithm.save(tmp_path / "saved")
    loaded = load_algorithm(tmp_path / "saved")
    assert isinstance(loaded, PPO) and loaded.config == algorithm.config
    tokens = np.full((3, algorithm.task.max_length), algorithm.task.vocabulary.pad, np.int32)
    tokens[:, 0], tokens[:, 1] = algorithm.task.vocabulary.bos, np.arange(3)
    lengths = np.full(3, 2)
    np.testing.assert_array_equal(
        algorithm.agent.probabilities(tokens, lengths), loaded.agent.probabilities(tokens, lengths)
    )
    observation = {"tokens": tokens, "length": lengths[:, None]}
    for deterministic in (True, False):
        np.testing.assert_array_equal(
            algorithm.predict(observation, deterministic=deterministic)[0],
            loaded.predict(observation, deterministic=deterministic)[0],
        )


def test_saving_again_replaces_the_checkpoint_and_nothing_else(tmp_path):
    algorithm = make(PPO)
    algorithm.save(tmp_path / "saved")
    algorithm.learn(60).save(tmp_path / "saved")
    assert PPO.load(tmp_path / "saved").num_timesteps >= 60
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(TokenGymError, match="is not a checkpoint"):
        algorithm.save(tmp_path / "notes")
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"


def cut_short(path):
    data = (path / checkpoint.TENSORS).read_bytes()
    (path / checkpoint.TENSORS).write_bytes(data[: len(data) // 2])


def altered(path):
    data = bytearray((path / checkpoint.TENSORS).read_bytes())
    data[-1] ^= 1
    (path / checkpoint.TENSORS).write_bytes(bytes(data))


def without_manifest(path):
    (path / checkpoint.MANIFEST).unlink()


def other_counters(path):
    text = (path / checkpoint.DATA).read_text()
    (path / checkpoint.DATA).write_text(text.replace('"seed": 5', '"seed": 6'))


DAMAGE = [
    (cut_short, "safetensors"),
    (altered, "safetensors"),
    (without_manifest, "manifest"),
    (other_counters, "json"),
]


@pytest.mark.parametrize(("damage", "named"), DAMAGE)
def test_a_broken_checkpoint_is_named_and_the_one_before_is_loaded(damage, named, tmp_path):
    make(PPO).learn(240, callback=SaveEvery(tmp_path, 60, keep=3))
    saved = sorted(tmp_path.glob("step-*"))
    assert len(saved) == 3
    damage(saved[-1])
    with pytest.raises(BrokenCheckpointError, match=f"{saved[-1].name}.*{named}"):
        PPO.load(saved[-1])
    with pytest.warns(RuntimeWarning, match=f"{saved[-1].name}.*skipped"):
        loaded = PPO.load(tmp_path)
    assert checkpoint.step_name(loaded.num_timesteps) == saved[-2].name


def test_where_no_checkpoint_is_whole_loading_says_so(tmp_path):
    make(PPO).learn(60, callback=SaveEvery(tmp_path, 60))
    cut_short(next(tmp_path.glob("step-*")))
    with pytest.warns(RuntimeWarning), pytest.raises(TokenGymError, match="None of the 1 checkpoints"):
        PPO.load(tmp_path)
    with pytest.raises(TokenGymError, match="no checkpoint at"):
        PPO.load(tmp_path / "nowhere")


def test_a_crash_between_the_renames_leaves_the_old_checkpoint_to_be_found(tmp_path):
    make(PPO).save(tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / ".saved.previous")
    assert PPO.load(tmp_path / "saved").num_timesteps == 0


def test_checkpoints_hold_any_array_and_no_pickle(tmp_path):
    arrays = {
        "starts": np.array([2**63 + 1, 7], np.uint64),
        "mask": np.array([True, False]),
        "view": np.arange(6).reshape(2, 3).T,
        "tied": torch.ones(2),
    }
    arrays["tied too"] = arrays["tied"]
    checkpoint.write(tmp_path / "any", arrays, {"count": 2**70})
    tensors, data = checkpoint.read(tmp_path / "any")
    for name, value in arrays.items():
        np.testing.assert_array_equal(tensors[name].numpy(), np.asarray(value))
    assert data == {"count": 2**70}
    assert sorted(path.suffix for path in (tmp_path / "any").iterdir()) == [".json", ".json", ".safetensors"]


def test_loading_as_another_algorithm_or_format_is_refused(tmp_path):
    make(PPO).save(tmp_path / "saved")
    with pytest.raises(TokenGymError, match="'ppo'; A2C loads 'a2c'"):
        A2C.load(tmp_path / "saved")
    manifest = json.loads((tmp_path / "saved" / checkpoint.MANIFEST).read_text())
    (tmp_path / "saved" / checkpoint.MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(TokenGymError, match="format 99"):
        PPO.load(tmp_path / "saved")


def test_a_resumed_log_drops_what_was_written_beyond_the_checkpoint(tmp_path):
    algorithm = make(PPO)
    algorithm.learn(300, callback=[StopAfter(120)], log_dir=tmp_path / "run").save(tmp_path / "saved")
    algorithm.learn(300, callback=StopAfter(240), log_dir=tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    with metrics.open("a") as file:
        file.write('{"tokens": 99')
    assert len(read_json_lines(metrics)) >= 4
    PPO.load(tmp_path / "saved").learn(300, log_dir=tmp_path / "run")
    make(PPO).learn(300, log_dir=tmp_path / "through")
    assert metrics.read_bytes() == (tmp_path / "through" / "metrics.jsonl").read_bytes()


def test_a_new_run_beside_an_old_log_keeps_the_old_one(tmp_path):
    make(PPO).learn(60, log_dir=tmp_path)
    old = (tmp_path / "metrics.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "tensorboard")
    make(A2C).learn(60, log_dir=tmp_path)
    assert (tmp_path / "metrics.jsonl.1").read_bytes() == old
    assert (tmp_path / "metrics.jsonl").read_bytes() != old


def test_a_checkpoint_that_is_sealed_but_incomplete_says_what_it_lacks(tmp_path):
    algorithm = make(PPO, "table").learn(60)
    algorithm.save(tmp_path / "whole")
    tensors, data = checkpoint.read(tmp_path / "whole")
    without_counters = {key: value for key, value in data.items() if key != "counters"}
    checkpoint.write(tmp_path / "counters", tensors, without_counters)
    with pytest.raises(TokenGymError, match=r"'ppo' lacks 'counters': .* take another checkpoint"):
        load_algorithm(tmp_path / "counters")
    name = next(name for name in tensors if name.startswith("agent/") and "policy" in name)
    checkpoint.write(tmp_path / "weights", {key: value for key, value in tensors.items() if key != name}, data)
    with pytest.raises(TokenGymError, match=r"'ppo' does not fit .*policy.*take another checkpoint"):
        load_algorithm(tmp_path / "weights")
    checkpoint.write(tmp_path / "kind", tensors, {key: data[key] for key in data if key != "algorithm"})
    with pytest.raises(TokenGymError, match="does not say of which algorithm"):
        load_algorithm(tmp_path / "kind")


def bonus(completions, **_):
    """A reward of the tests' own, which a string can name."""
    return [float(len(text)) for text in completions]


def test_an_importable_reward_is_saved_by_its_name(tmp_path):
    task = make_task("TextGeneration", reward=bonus)
    PPO(task, "table", rollout_tokens=8, num_rows=2).learn(8, callback=SaveEvery(tmp_path, 8))
    _, data = checkpoint.read(tmp_path)
    assert data["env"]["kwargs"] == {"reward": f"{__name__}:bonus"}
    assert PPO.load(tmp_path).task.scorer.function is bonus


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"reward": lambda completions, **_: [1.0] * len(completions)}, "reward=… (it was the function"),
        ({"tokenizer": build_tokenizer({"kind": "chars"})}, "tokenizer=… (it was an object of the class"),
        ({"reward": [bonus, lambda completions, **_: [1.0] * len(completions)]}, "reward=… (it was the function"),
    ],
)
def test_what_no_file_can_hold_is_asked_for_by_name_and_all_else_is_saved(arguments, told, tmp_path):
    task = make_task(
        "TextGeneration", max_new_tokens=np.int64(3), prompts=({"prompt": "the sea", "words": "waves"},), **arguments
    )
    algorithm = PPO(task, "table", rollout_tokens=8, num_rows=2)
    algorithm.learn(8, callback=SaveEvery(tmp_path, 8))
    with pytest.raises(TokenGymError, match=re.escape(told)):
        PPO.load(tmp_path)
    loaded = PPO.load(tmp_path, **arguments)
    assert loaded.num_timesteps == algorithm.num_timesteps and loaded.task.max_turn_tokens == 3
    loaded.save(tmp_path / "again")
    with pytest.raises(TokenGymError, match=re.escape(told)):
        load_algorithm(tmp_path / "again")
    assert_equal_bits(load_algorithm(tmp_path / "again", **arguments).learn(40), algorithm.learn(40))
    with pytest.raises(TokenGymError, match="env is given, and"):
        PPO.load(tmp_path, env=task, **arguments)
