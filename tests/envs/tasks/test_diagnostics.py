"""Bandit, probes and Copy: closed-form scores, declared values, and sizes that are refused."""

import numpy as np
import pytest

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.registration import make_task
from tokengym.envs.tasks.diagnostics.basics import Copy, TokenBandit
from tokengym.envs.tasks.diagnostics.probes import Probe1, Probe2, Probe3, Probe4, Probe5

EXACT = {"rel": 0, "abs": 1e-9}


def play_expert(task, num_rows: int = 20) -> np.ndarray:
    engine = Engine(task, num_rows)
    engine.reset(None, np.arange(num_rows, dtype=np.uint64))
    returns = np.zeros(num_rows)
    while not engine.over.all():
        actions = engine.expert()
        assert actions is not None
        returns += engine.step(None, actions).rewards
    return returns


@pytest.mark.parametrize("num_arms", [2, 11, 40])
def test_a_bandit_pays_a_half_at_random_and_one_at_best(num_arms):
    solution = solve(TokenBandit(num_arms=num_arms))
    assert solution.random_return == pytest.approx(0.5, **EXACT)
    assert solution.optimal_return == pytest.approx(1.0, **EXACT)


def test_the_eleven_arms_pay_tenths_in_an_order_of_the_instance():
    assert sorted(TokenBandit().arm_rewards) == pytest.approx([i / 10 for i in range(11)], **EXACT)
    assert TokenBandit(instance_seed=1).arm_rewards == TokenBandit(instance_seed=1).arm_rewards
    assert TokenBandit(instance_seed=1).arm_rewards != TokenBandit(instance_seed=2).arm_rewards


def test_noise_adds_its_variance_and_a_scale_multiplies_the_reward():
    plain, noisy = solve(TokenBandit()), solve(TokenBandit(noise=0.7, reward_scale=3.0))
    assert noisy.random_return == pytest.approx(1.5, **EXACT)
    assert noisy.random_variance == pytest.approx(9 * plain.random_variance + 0.49, **EXACT)
    assert noisy.optimal_variance == pytest.approx(0.49, **EXACT)


X, Y, BOS = 2, 3, 4
PROBE_VALUES = [
    (Probe1, [BOS], [1, 1]),
    (Probe2, [BOS, X], [-1, -1]),
    (Probe2, [BOS, Y], [1, 1]),
    (Probe3, [BOS], [1, 1]),
    (Probe3, [BOS, 0], [1, 1]),
    (Probe3, [BOS, 1], [1, 1]),
    (Probe4, [BOS], [-1, 1]),
    (Probe5, [BOS, X], [1, -1]),
    (Probe5, [BOS, Y], [-1, 1]),
]


@pytest.mark.parametrize(("probe", "observation", "q"), PROBE_VALUES)
def test_probes_have_the_declared_q_and_v(probe, observation, q):
    solution = solve(probe())
    tokens, lengths = np.array([observation]), np.array([len(observation)])
    assert solution.q_values(tokens, lengths)[0] == pytest.approx(q, **EXACT)
    assert solution.values(tokens, lengths)[0] == pytest.approx(max(q), **EXACT)


@pytest.mark.parametrize(
    ("probe", "random", "optimal"), [(Probe1, 1, 1), (Probe2, 0, 0), (Probe3, 1, 1), (Probe4, 0, 1), (Probe5, 0, 1)]
)
def test_probes_have_the_declared_scores(probe, random, optimal):
    solution = solve(probe())
    assert solution.random_return == pytest.approx(random, **EXACT)
    assert solution.optimal_return == pytest.approx(optimal, **EXACT)


@pytest.mark.parametrize(("k", "num_tokens", "gap"), [(1, 2, 0), (3, 8, 0), (3, 8, 5), (4, 3, 1)])
def test_copy_pays_one_in_v_at_random_and_one_at_best(k, num_tokens, gap):
    solution = solve(Copy(k=k, num_tokens=num_tokens, gap=gap))
    assert solution.random_return == pytest.approx(1 / num_tokens, **EXACT)
    assert solution.optimal_return == pytest.approx(1.0, **EXACT)


def test_copy_shows_the_prompt_then_the_filler_and_pays_at_the_end():
    task = Copy(k=2, num_tokens=4, gap=3)
    engine = Engine(task, 1)
    engine.reset(None, np.array([3], dtype=np.uint64))
    prompt = engine.tokens[0, 1:3].tolist()
    assert task.vocabulary.names(engine.tokens[0, 3:6].tolist()) == ["<gap>"] * 3
    assert engine.lengths[0] == 6 and max(prompt) < 4
    first = engine.step(None, np.array([prompt[0]]))
    last = engine.step(None, np.array([(prompt[1] + 1) % 4]))
    assert (first.rewards[0], last.rewards[0]) == (0.0, 0.5)
    assert last.terminated[0] and last.turn_ended[0] and not first.turn_ended[0]


def test_what_copies_without_looking_gets_the_random_return():
    task = Copy()
    fixed = evaluate_policy(task, lambda tokens, lengths: np.eye(8)[np.zeros(len(tokens), dtype=int)])
    assert fixed.expected_return == pytest.approx(1 / 8, **EXACT)


@pytest.mark.parametrize("make", [TokenBandit, Copy, Probe1, Probe3, Probe4, Probe5])
def test_experts_play_optimally(make):
    assert play_expert(make()) == pytest.approx(np.ones(20), **EXACT)


@pytest.mark.parametrize(
    ("name", "random", "optimal", "variance"),
    [
        ("TokenBandit-noise", 0.5, 1.0, 1.0),
        ("TokenBandit-scale", 50.0, 100.0, 0.0),
        ("Copy-gap20", 1 / 8, 1.0, 0.0),
        ("Copy-gap100", 1 / 8, 1.0, 0.0),
        ("Copy-long", 1 / 4, 1.0, 0.0),
    ],
)
def test_variants_have_their_closed_scores(name, random, optimal, variance):
    solution = solve(make_task(name))
    assert solution.random_return == pytest.approx(random, **EXACT)
    assert solution.optimal_return == pytest.approx(optimal, **EXACT)
    assert solution.optimal_variance == pytest.approx(variance, **EXACT)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: TokenBandit(num_arms=1), "num_arms=1"),
        (lambda: TokenBandit(num_arms=-3), "num_arms=-3"),
        (lambda: TokenBandit(noise=-1.0), "noise=-1.0"),
        (lambda: TokenBandit(noise=float("nan")), "noise=nan"),
        (lambda: TokenBandit(reward_scale=float("inf")), "reward_scale=inf"),
        (lambda: Copy(k=0), "k=0"),
        (lambda: Copy(num_tokens=0), "num_tokens=0"),
        (lambda: Copy(k=9, num_tokens=8), "k=9, num_tokens=8"),
        (lambda: Copy(gap=-1), "gap=-1"),
    ],
)
def test_impossible_sizes_are_refused(wrong, says):
    with pytest.raises(TokenGymError, match=says):
        wrong()
