"""Umbrella: one token decides, everything else is a coin flip."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.tasks.diagnostics.umbrella import Umbrella

EXACT = {"rel": 0, "abs": 1e-9}


@pytest.mark.parametrize(("length", "noise"), [(1, 1.0), (10, 1.0), (20, 0.0), (100, 1.0), (7, 2.5)])
def test_scores_and_variances_are_those_of_a_sum_of_flips(length, noise):
    solution = solve(Umbrella(length, noise))
    assert solution.random_return == pytest.approx(0.0, **EXACT)
    assert solution.optimal_return == pytest.approx(1.0, **EXACT)
    assert solution.optimal_variance == pytest.approx(length * noise**2, **EXACT)
    assert solution.random_variance == pytest.approx(length * noise**2 + 1, **EXACT)


def test_only_the_first_token_has_a_worth():
    task = Umbrella(length=5)
    solution = solve(task)
    bos, right = task.vocabulary.bos, task.right_token
    assert solution.q_values(np.array([[bos]]), np.array([1]))[0, [right, 1 - right]] == pytest.approx([1, -1], **EXACT)
    for first, worth in ((right, 1.0), (1 - right, -1.0)):
        q = solution.q_values(np.array([[bos, first, 0, 1]]), np.array([4]))[0]
        assert q == pytest.approx([worth, worth], **EXACT)


@pytest.mark.parametrize("instance_seed", [0, 1, 2, 3])
def test_without_noise_the_last_token_pays_for_the_first(instance_seed):
    task = Umbrella(length=3, noise=0.0, instance_seed=instance_seed)
    for first in (0, 1):
        engine = Engine(task, 1)
        engine.reset(None, np.array([0], dtype=np.uint64))
        paid = [engine.step(None, np.array([token])).rewards[0] for token in (first, 0, 1)]
        assert paid == [0, 0, 1 if first == task.right_token else -1]
    assert task.deterministic


def test_every_token_pays_a_flip():
    engine = Engine(Umbrella(length=2), 400)
    engine.reset(None, np.arange(400, dtype=np.uint64))
    first = engine.step(None, np.zeros(400, np.int64)).rewards
    assert set(first) == {-1.0, 1.0} and abs(first.mean()) < 4 / 400**0.5


def test_which_token_is_right_hangs_on_the_instance_seed():
    assert {Umbrella(instance_seed=seed).right_token for seed in range(10)} == {0, 1}


@pytest.mark.parametrize("wrong", [{"length": 0}, {"length": 10**7}, {"noise": -1.0}, {"noise": "some"}])
def test_impossible_days_are_refused(wrong):
    with pytest.raises(TokenGymError, match=next(iter(wrong))):
        Umbrella(**wrong)
