"""Trajectory balance, path consistency, TBRM and A*-PO: by enumeration, at exact optima, and against one another."""

import itertools
import math

import numpy as np
import pytest
import torch

from tokengym.agents import RandomPlayer
from tokengym.algorithms import ALGORITHMS, APO, TBRM, PathConsistency, TrajectoryBalance
from tokengym.algorithms.offline import record
from tokengym.algorithms.parts import EpisodeGrid, path_returns, path_sums, sampled_soft_values
from tokengym.envs import FiniteTask, Initial, TokenGymError, Transition, Vocabulary, evaluate_policy, solve
from tokengym.envs.tasks.diagnostics import KLTree
from tokengym.envs.transforms import apply_transforms
from tokengym.experiments.audit import LeafTree, all_episodes, audit, drawn, expected_gradient, table_agent
from tokengym.experiments.audit.methods.setting import drawn_policy
from tokengym.experiments.audit.objectives import claim_gradient
from tokengym.experiments.audit.tables import regularised_values, rows_of, write

BETA = 0.3
NAMES = ("trajectory-balance", "path-consistency", "tbrm", "apo")
STOPPING = LeafTree.stopping(2, 3, [0.9, 0.2, 0.6, 0.35])
TREES = {"dense": KLTree, "sparse": lambda: KLTree(rewards="one_leaf"), "lengths": lambda: STOPPING}


class Masked(FiniteTask):
    """Three tokens are said out of four, of which one may never follow itself."""

    name = "Masked"
    turn_tokens = 1

    def __init__(self):
        self.vocabulary = Vocabulary.of(["0", "1", "2", "3"])

    def initial(self):
        return [Initial(1.0, "")]

    def transitions(self, state, action):
        said = f"{state}{action}"
        paid = math.sin(7 * sum(int(digit) * (place + 2) for place, digit in enumerate(said)))
        return [Transition(1.0, None if len(said) == 3 else said, paid)]

    def legal(self, state):
        return [token for token in range(4) if not state.endswith(str(token))]


def optimal_agent(task, episodes, reference=None, head=False):
    """A table whose logits are β-optimal and hold the optimal values: softmax(ℓ) = π* and V = β(lse ℓ − lse ℓ_ref)."""
    solved = solve(task, beta=BETA, reference=reference)
    policy = solved.policy("kl_optimal")
    agent = table_agent(task, policy, ("policy", "value") if head else ("policy",), BETA, reference)
    reached, chances = all_episodes(task, policy)
    worth = regularised_values(reached, chances, task.vocabulary.num_actions, BETA, reference)
    rows, first = np.unique(rows_of(agent, reached), return_index=True)
    # The logits of a reference that is an agent are log-probabilities, of level 0; those of the uniform one are 0.
    level = np.log(task.vocabulary.num_actions) if reference is None else 0.0
    with torch.no_grad():
        agent.readouts["policy"].weight[torch.from_numpy(rows)] += torch.from_numpy(worth[first] / BETA + level)[
            :, None
        ]
    return agent, solved.kl_optimal_return


def masked_optimal_agent(task, episodes):
    """Its logits are Q*/β over what may be said, whatever they are elsewhere; and what the start is worth."""

    def q(said):
        (paid,) = zip(*[[task.transitions(said, token)[0].reward] for token in range(4)], strict=True)
        after = [0.0 if len(said) == 2 else value(f"{said}{token}") for token in range(4)]
        return np.array(paid) + np.array(after)

    def value(said):
        legal = task.legal(said)
        return BETA * np.log(np.exp(q(said)[legal] / BETA).mean())

    agent, flat = table_agent(task), episodes.flat
    for row, place, column in zip(rows_of(agent, episodes), flat.row, flat.column, strict=True):
        said = "".join(str(token) for token in episodes.tokens[place, 1:column])
        write(agent, "policy", np.array([row]), q(said)[None] / BETA)
    return agent, value("")


def made(name, task, agent, **given):
    usual = {"kl_coef": BETA, **({} if "reference" in given else {"kl_reference": "uniform"})}
    return ALGORITHMS[name](task, agent, seed=0, **{**usual, **given})


def residuals(algorithm, episodes):
    prepared = algorithm.prepare(episodes)
    with torch.no_grad():
        return algorithm.residuals(algorithm.read(prepared.batch, prepared), prepared)


def gradient(algorithm, episodes):
    prepared = algorithm.prepare(episodes)
    algorithm.agent.zero_grad()
    algorithm.loss(prepared.batch, prepared).total.backward()
    return algorithm.agent.readouts["policy"].weight.grad.clone()


# The mathematics of paths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("length", [None, 1, 2, 9])
def test_path_returns_are_the_sums_that_loops_give(gamma, length):
    rng = np.random.default_rng(0)
    offsets = [0, 3, 4, 9]
    grid = EpisodeGrid(offsets)
    paid, values = (torch.tensor(rng.normal(size=9)) for _ in range(2))
    final = torch.tensor(rng.normal(size=3))
    found = path_returns(paid, grid, gamma, values, final, length)
    for first, end, last in zip(offsets[:-1], offsets[1:], final.tolist(), strict=True):
        for place in range(first, end):
            stop = end if length is None else min(place + length, end)
            total = sum(gamma ** (i - place) * paid[i].item() for i in range(place, stop))
            total += gamma ** (stop - place) * (last if stop == end else values[stop].item())
            assert found[place].item() == pytest.approx(total, abs=1e-12)
    whole = path_sums(paid, grid, gamma)
    assert torch.allclose(path_returns(paid, grid, gamma, values, 0 * final)[torch.tensor([0, 3, 4])], whole)


# The optimum ----------------------------------------------------------------------------------------------------------

OPTIONS = {
    "trajectory-balance": ({}, {"preset": "gvpo"}),
    "path-consistency": ({}, {"paths": "whole"}, {"path_length": 2}, {"values": "head"}, {"bootstrap": "target"}),
    "tbrm": ({},),
    "apo": ({},),
}
EVERY = [(name, options) for name in NAMES for options in OPTIONS[name]]


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize(("name", "options"), EVERY)
def test_at_the_optimum_the_residual_of_every_episode_is_0_whoever_said_it(name, options, tree):
    task = TREES[tree]()
    episodes, _ = all_episodes(task)
    for reference in (None, drawn_policy(task, 5)):
        agent, best = optimal_agent(task, episodes, reference, head=options.get("values") == "head")
        given = {} if reference is None else {"reference": table_agent(task, reference)}
        algorithm = made(name, task, agent, **options, **given)
        if name == "apo":
            algorithm.start_returns = dict.fromkeys(episodes.starts.tolist(), np.array([best]))
        found = residuals(algorithm, episodes)
        assert len(found) in (len(episodes), len(episodes.flat))
        assert found.abs().max() < 1e-9
        algorithm.agent.readouts["policy"].weight.data[:4] += torch.eye(4, task.vocabulary.num_actions)
        assert residuals(algorithm, episodes).abs().max() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_at_the_optimum_of_the_legal_tokens_too(name):
    task = Masked()
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 64, 0, action_masks=True, numbers="float64")
    agent, best = masked_optimal_agent(task, episodes)
    algorithm = made(name, task, agent, action_masks=True)
    if name == "apo":
        algorithm.start_returns = dict.fromkeys(episodes.starts.tolist(), np.array([best]))
    if name == "trajectory-balance":  # all of them from one prompt
        episodes.starts[:] = 0
    assert residuals(algorithm, episodes).abs().max() < 1e-6  # rewards were told in float32


@pytest.mark.parametrize("name", ["path-consistency", "tbrm"])
def test_behind_the_end_of_a_cut_episode_stands_its_value(name):
    whole = KLTree()
    agent, _ = optimal_agent(whole, all_episodes(whole)[0])
    task = apply_transforms(whole, [{"name": "time_limit", "max_tokens": 2}])
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 32, 0, numbers="float64")
    assert episodes.truncated.all()
    assert residuals(made(name, task, agent), episodes).abs().max() < 1e-6


# Expected gradients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
def test_fresh_groups_of_trajectory_balance_have_the_gradient_of_the_regularised_return(size):
    policy, reference = drawn_policy(STOPPING, 1), drawn_policy(STOPPING, 2)
    claimed = claim_gradient(STOPPING, policy, "kl_return", beta=BETA, reference=reference)
    for preset, scale in (("vargrad", 1 / BETA), ("gvpo", BETA)):
        algorithm = made(
            "trajectory-balance",
            STOPPING,
            table_agent(STOPPING, policy),
            reference=table_agent(STOPPING, reference),
            preset=preset,
            group_size=size,
        )
        found = expected_gradient(algorithm, drawn(*all_episodes(STOPPING, policy), size=size))
        expected = -(1 - 1 / size) * scale * claimed
        torch.testing.assert_close(found.of["readouts.policy.weight"], expected, rtol=0, atol=1e-12)


def test_gvpo_is_beta_squared_times_vargrad_on_every_batch():
    episodes, _ = all_episodes(STOPPING)
    for members in itertools.combinations_with_replacement(range(len(episodes)), 3):
        group = episodes.select(members)
        agents = [table_agent(STOPPING, drawn_policy(STOPPING, 3)) for _ in range(2)]
        vargrad, gvpo = (
            gradient(made("trajectory-balance", STOPPING, agent, preset=preset), group)
            for agent, preset in zip(agents, ("vargrad", "gvpo"), strict=True)
        )
        torch.testing.assert_close(gvpo, BETA**2 * vargrad, rtol=0, atol=1e-14)


def test_fresh_episodes_of_apo_have_the_gradient_of_the_regularised_return_whatever_the_start_is_valued():
    policy = drawn_policy(STOPPING, 1)
    claimed = claim_gradient(STOPPING, policy, "kl_return", beta=BETA)
    episodes, chances = all_episodes(STOPPING, policy)
    for value in (-3.0, 0.0, 2.0):
        algorithm = made("apo", STOPPING, table_agent(STOPPING, policy))
        algorithm.start_returns = dict.fromkeys(episodes.starts.tolist(), np.array([value]))
        found = expected_gradient(algorithm, drawn(episodes, chances))
        torch.testing.assert_close(found.of["readouts.policy.weight"], -BETA * claimed, rtol=0, atol=1e-12)


def test_tbrm_is_path_consistency_on_whole_episodes():
    episodes, _ = all_episodes(STOPPING)
    one, other = (table_agent(STOPPING, drawn_policy(STOPPING, 4)) for _ in range(2))
    first = gradient(made("tbrm", STOPPING, one), episodes)
    second = gradient(made("path-consistency", STOPPING, other, paths="whole"), episodes)
    assert first.abs().max() > 0.01
    torch.testing.assert_close(first, second, rtol=0, atol=1e-14)
    suffixes = gradient(made("path-consistency", STOPPING, other), episodes)
    assert not torch.allclose(first, suffixes, atol=1e-3)


@pytest.mark.parametrize(("name", "options"), [("path-consistency", {}), ("tbrm", {}), ("trajectory-balance", {})])
def test_the_audit_finds_them_right(name, options):
    found = audit(name, smallest=False, starts=1, kl_coef=0.5, **options)
    assert found.right and found.optimum < 1e-9
    assert [abs(end.regret) < 1e-9 for end in found.ends] == [True]


# A*-PO and the samples of the reference -------------------------------------------------------------------------------


def test_few_samples_of_the_reference_value_a_start_too_low_and_one_by_its_mean_return():
    episodes, chances = all_episodes(STOPPING)
    best = solve(STOPPING, beta=BETA).kl_optimal_return
    expected, counts = [], np.array([1, 2, 4, 6])
    for count in counts.tolist():
        total = 0.0
        for members in itertools.product(range(len(episodes)), repeat=count):
            chance = np.prod(chances[list(members)])
            total += chance * sampled_soft_values(episodes.returns[list(members)], BETA)
        expected.append(total)
    assert expected[0] == pytest.approx(float(chances @ episodes.returns), abs=1e-7)
    assert expected == sorted(expected) and expected[-1] < best
    # To first order the bias is β·Var(e^(R/β))/(2N·E[e^(R/β)]²).
    weights = np.exp(episodes.returns / BETA)
    mean = chances @ weights
    slope = BETA * (chances @ weights**2 - mean**2) / (2 * mean**2)
    off = np.abs((best - np.array(expected)) * counts / slope - 1)
    assert (np.diff(off[1:]) < 0).all() and off[-1] < 0.2


def test_off_policy_a_value_that_is_too_low_moves_the_end_of_apo():
    """Where the behaviour is another, the regression ends at π* only if the start is valued right."""
    episodes, chances = all_episodes(STOPPING)  # said uniformly
    agent, best = optimal_agent(STOPPING, episodes)
    algorithm = made("apo", STOPPING, agent)
    for value, moves in ((best, False), (best - 0.2, True)):
        algorithm.start_returns = dict.fromkeys(episodes.starts.tolist(), np.array([value]))
        found = expected_gradient(algorithm, drawn(episodes, chances))
        assert (found.largest > 1e-3) == moves


def test_what_the_reference_says_is_counted():
    algorithm = APO(KLTree(), "table", group_size=2, reference_samples=6, rollout_tokens=32)
    algorithm.learn(32)
    assert algorithm.num_episodes == 8 + 4 * 6 and algorithm.num_timesteps == 4 * algorithm.num_episodes
    assert len(algorithm.start_returns) == 4


def test_starts_are_valued_by_the_reference_from_there():
    task = KLTree(num_tokens=2, depth=2)
    reference = drawn_policy(task, 3, spread=2.0)
    given = {"reference": table_agent(task, reference), "reference_samples": 4_000, "value_beta": 0.5}
    algorithm = APO(task, table_agent(task), kl_coef=BETA, **given)
    found = sampled_soft_values(algorithm.reference_returns(np.array([5], np.uint64)), 0.5)
    episodes, chances = all_episodes(task, reference)
    exact = 0.5 * np.log(chances @ np.exp(episodes.returns / 0.5))
    assert found[0] == pytest.approx(exact, abs=0.02)


# Learning -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rewards", ["uniform", "one_leaf"])
def test_a_table_learns_the_optimum(name, rewards):
    task = KLTree(num_tokens=3, depth=2, rewards=rewards)
    solved = solve(task, beta=0.2)
    of_apo = {"group_size": 8, "rollout_tokens": 64} if name == "apo" else {}
    usual = {"kl_coef": 0.2, "kl_reference": "uniform", "rollout_tokens": 128, "num_rows": 64, "learning_rate": 0.1}
    algorithm = ALGORITHMS[name](task, "table", seed=0, **{**usual, **of_apo}).learn(15_000)
    found = evaluate_policy(task, algorithm.agent.probabilities).kl_regularised(0.2)
    assert solved.kl_optimal_return - found < 0.05 * (solved.kl_optimal_return - solved.random_return)


def test_half_of_what_is_learnt_from_is_remembered_in_whole_groups():
    algorithm = TrajectoryBalance(KLTree(), "table", group_size=4, rollout_tokens=64, replay_capacity=30)
    assert algorithm.replay.capacity == 28
    seen = []
    step = algorithm.gradient_step
    algorithm.gradient_step = lambda episodes: seen.append(episodes.starts.reshape(-1, 4)) or step(episodes)
    algorithm.learn(400)
    assert [len(groups) for groups in seen[:3]] == [4, 8, 8]
    assert all((groups == groups[:, :1]).all() for groups in seen)
    fresh, remembered = seen[1][:4, 0], seen[1][4:, 0]
    assert sorted(remembered) == sorted(seen[0][:, 0]) and not set(fresh) & set(remembered)


def test_what_cannot_be_is_refused():
    with pytest.raises(TokenGymError, match="tbrm requires deterministic transitions"):
        TBRM("SlipLock")
    with pytest.raises(TokenGymError, match=r"kl_coef is 0.*above 0"):
        PathConsistency("Copy", kl_coef=0.0)
    with pytest.raises(TokenGymError, match=r"replay_capacity is 3.*group_size is 4"):
        TrajectoryBalance("Copy", replay_capacity=3)
    with pytest.raises(TokenGymError, match=r"target_polyak.*bootstrap is 'own'"):
        PathConsistency("Copy", target_polyak=0.5)
    with pytest.raises(TokenGymError, match=r"path_length is 2.*paths is 'whole'"):
        PathConsistency("Copy", path_length=2, paths="whole")
