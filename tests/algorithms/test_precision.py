"""float64 runs through: rewards, log-probabilities, advantages, targets and gradients are all float64."""

import dataclasses

import numpy as np
import pytest
import torch

from tokengym.algorithms import A2C, DQN, PPO, SAC
from tokengym.algorithms.configs import PPOConfig
from tokengym.envs import make_task


def learner_of(kind, dtype, **options):
    return kind(make_task("tokengym/Copy-v0", k=2), "gpt2-tiny", dtype=dtype, seed=0, **options)


def tensors_of(thing, found=None, name=""):
    """Every floating-point tensor and array within dataclasses, mappings and sequences, by its path."""
    found = {} if found is None else found
    if isinstance(thing, (torch.Tensor, np.ndarray)):
        if torch.as_tensor(thing[:0] if thing.ndim else thing).is_floating_point():
            found[name] = str(thing.dtype).removeprefix("torch.")
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        for field in dataclasses.fields(thing):
            tensors_of(getattr(thing, field.name), found, f"{name}.{field.name}")
    elif isinstance(thing, dict):
        for key, value in thing.items():
            tensors_of(value, found, f"{name}.{key}")
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (PPO, {"kl_coef": 0.1}),
        (A2C, {"loss_aggregation": "sequence", "whiten_rewards": True}),
        (DQN, {"learning_starts": 1, "prioritised": "token", "returns": "trace"}),
        (SAC, {"learning_starts": 1, "kl_coef": 0.1, "kl_reference": "uniform"}),
    ],
)
def test_all_that_is_learnt_from_has_the_precision_of_the_agent(kind, options, dtype):
    learner = learner_of(kind, dtype, **options)
    expected = "float64" if dtype == "float64" else "float32"
    episodes = learner.collect()
    found = tensors_of(episodes, name="episodes")
    learner.observe_returns(episodes)
    if getattr(learner, "replay", None) is not None:
        learner.replay.add(episodes)
        prepared = learner.prepare(learner.draw())
        parts = prepared.parts
    else:
        prepared = learner.prepare(episodes)
        parts = [prepared.batch]
    tensors_of(prepared, found, "prepared")
    loss = learner.loss(parts[0], prepared)
    tensors_of(loss, found, "loss")
    assert len(found) > 8
    # What tasks report beside rewards is for logs.
    assert {name: kind for name, kind in found.items() if kind != expected and "extras" not in name} == {}


def test_float64_decodes_what_it_learns_from():
    learner = learner_of(PPO, "float64")
    for _ in range(2):
        assert learner.update(learner.collect())["policy/initial_ratio_error"] < 1e-12


def test_float32_and_float64_learn_alike():
    weights = {}
    for dtype in ("float32", "float64"):
        learner = learner_of(PPO, dtype, config=PPOConfig(epochs=1, minibatches=1))
        learner.agent.load_state_dict(weights.setdefault("start", learner.agent.state_dict()))
        weights["start"] = {name: value.clone() for name, value in weights["start"].items()}
        learner.update(learner.collect())
        weights[dtype] = [p.detach().double() for p in learner.parameters]
    for single, double in zip(weights["float32"], weights["float64"], strict=True):
        torch.testing.assert_close(single, double, rtol=0, atol=2e-4)
