"""A copied algorithm goes on exactly like the original, and neither disturbs the other."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from tokengym.algorithms import ALGORITHMS
from tokengym.envs import TokenGymError, make_task

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}


def make(name):
    task = make_task("Copy", num_tokens=3, k=2)
    if name.startswith("sb3"):
        kinds_of_dqn = ("sb3-dqn", "sb3-qrdqn")
        return ALGORITHMS[name](task, seed=2, **({"learning_starts": 20} if name in kinds_of_dqn else {"n_steps": 8}))
    small = {"learning_starts": 20, "rollout_tokens": 20, "demonstrations": 20, "branches": 1}
    fields = {field.name for field in dataclasses.fields(ALGORITHMS.config(name))}
    return ALGORITHMS[name](task, agent="table", seed=2, **{key: small[key] for key in small if key in fields})


def weights(algorithm):
    module = algorithm.model.policy if algorithm.name.startswith("sb3") else algorithm.agent
    return [value.detach().numpy().copy() for value in module.state_dict().values()]


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_copied_algorithm_goes_on_like_the_original_and_apart_from_it(name, how):
    original = make(name)
    original.learn(60)
    twin = COPIES[how](original)
    before = weights(original)
    twin.learn(160)
    assert all(np.array_equal(one, other) for one, other in zip(before, weights(original), strict=True))
    original.learn(160)
    assert twin.num_timesteps == original.num_timesteps
    assert all(np.array_equal(one, other) for one, other in zip(weights(twin), weights(original), strict=True))
    assert not all(np.array_equal(one, other) for one, other in zip(before, weights(original), strict=True))


def test_what_no_copy_can_be_made_of_is_said():
    ppo = ALGORITHMS["sb3-ppo"](
        make_task("TextGeneration", reward=lambda prompts, completions, **_: [0.0] * len(prompts))
    )
    with pytest.raises(TokenGymError, match="cannot be copied"):
        copy.deepcopy(ppo)
