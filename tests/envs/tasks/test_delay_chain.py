"""DelayChain: each chain pays once, at its own time."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import solve
from tokengym.envs.registration import make_task
from tokengym.envs.tasks.diagnostics.delay_chain import DelayChain

EXACT = {"rel": 0, "abs": 1e-9}


@pytest.mark.parametrize(
    ("delays", "bonus"), [((1, 3, 10, 30, 100), 0.1), ((2, 1), 0.5), ((4, 4, 4), 0.0), ((1, 1, 6, 2), 1.0)]
)
@pytest.mark.parametrize("instance_seed", [0, 1])
def test_chains_pay_one_and_the_best_the_bonus(delays, bonus, instance_seed):
    task = DelayChain(delays, bonus, instance_seed)
    solution = solve(task)
    assert solution.random_return == pytest.approx(1 + bonus / len(delays), **EXACT)
    assert solution.optimal_return == pytest.approx(1 + bonus, **EXACT)
    assert (task.random_return, task.optimal_return) == pytest.approx(
        (solution.random_return, solution.optimal_return), **EXACT
    )
    assert task.max_episode_tokens == max(delays)


def test_every_chain_pays_with_the_token_of_its_delay_and_never_again():
    task = DelayChain()
    engine = Engine(task, 5)
    engine.reset(None, np.zeros(5, dtype=np.uint64))
    rng = np.random.default_rng(0)
    rewards = [engine.step(None, np.arange(5)).rewards]
    while not engine.over.all():
        rewards.append(engine.step(None, rng.integers(5, size=5)).rewards)
    paid = np.array(rewards)
    assert paid.shape == (100, 5)
    assert [np.flatnonzero(chain).tolist() for chain in paid.T] == [[0], [2], [9], [29], [99]]
    assert paid.sum(axis=0) == pytest.approx([1.1 if chain == task.best_chain else 1.0 for chain in range(5)])


def test_a_short_chain_that_has_paid_is_worth_nothing_more():
    task = DelayChain((1, 3))
    bos = task.vocabulary.bos
    solution = solve(task)
    values = solution.values(np.array([[bos, 0, 0], [bos, 1, 0]]), np.array([3, 3]))
    assert values == pytest.approx([0.0, 1.1 if task.best_chain == 1 else 1.0], **EXACT)


def test_the_best_chain_hangs_on_the_instance_seed():
    assert {DelayChain(instance_seed=seed).best_chain for seed in range(60)} == set(range(5))


def test_variants_are_named_after_their_longest_delay():
    for longest in (10, 30):
        assert make_task(f"DelayChain-{longest}").max_episode_tokens == longest


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"delays": [3]}, r"delays=\[3\]"),
        ({"delays": "13"}, "delays='13'"),
        ({"delays": 5}, "delays=5"),
        ({"delays": [1, 0]}, r"delays\[1\]=0"),
        ({"delays": [1, 2.5]}, r"delays\[1\]=2.5"),
        ({"delays": [1, 10**6]}, "shorter delays"),
        ({"bonus": -0.1}, "bonus=-0.1"),
    ],
)
def test_impossible_chains_are_refused(wrong, says):
    with pytest.raises(TokenGymError, match=says):
        DelayChain(**wrong)
