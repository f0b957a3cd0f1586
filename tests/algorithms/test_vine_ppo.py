"""VinePPO: branches leave where they are told to, their means are the values, and A is Q − V in expectation."""

import dataclasses

import numpy as np
import pytest
import torch
from turn_cases import Turns, wavering

from tokengym.algorithms import A2C, Callback, VinePPO
from tokengym.algorithms.parts import branch_points, segment_advantages
from tokengym.envs import TokenGymError, make_task
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, table_agent
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.objectives import claim_gradient
from tokengym.experiments.audit.tables import action_values, regularised_values, rows_of, write

PLAIN = {"reward_scaling": False, "dtype": "float64", "loss_aggregation": "sum"}


def made(task, **given):
    return VinePPO(task, table_agent(task, wavering), **{**PLAIN, **given})


def exact(task, beta=0.0):
    """All episodes, their chances, and V before each token."""
    episodes, chances = all_episodes(task, wavering)
    return episodes, chances, regularised_values(episodes, chances, task.vocabulary.num_actions, beta)


def keys(episodes):
    flat = episodes.flat
    return [episodes.tokens[r, :c].tobytes() for r, c in zip(flat.row, flat.column, strict=True)]


def knows_values(algorithm, task, beta=0.0):
    """Let it have infinitely many branches: their mean is V."""
    episodes, _, values = exact(task, beta)
    known = dict(zip(keys(episodes), values, strict=True))

    def values_at(given, points):
        found = np.array([known[key] for key in keys(given)])[points]
        return found, np.zeros(len(found))

    algorithm.values_at = values_at
    return algorithm


@pytest.mark.parametrize("chance", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_means_of_branches_are_the_exact_values(chance, beta):
    task = Turns(chance)
    given = {"kl_coef": beta, "kl_reference": "uniform"} if beta else {}
    algorithm = made(task, branches=400, num_rows=64, **given)
    episodes, _, values = exact(task, beta)
    # One episode of each leaf, from its own start, as a collection would have them.
    collected = algorithm.collector.collect(algorithm.behaviour, num_episodes=12)
    known = dict(zip(keys(episodes), values, strict=True))
    points = np.arange(len(collected.flat))
    found, errors = algorithm.values_at(collected, points)
    wanted = np.array([known[key] for key in keys(collected)])
    assert (errors > 0).any()
    assert (np.abs(found - wanted) <= 5 * errors + 1e-9).all()
    assert np.sqrt((((found - wanted) / np.maximum(errors, 1e-9))[errors > 0] ** 2).mean()) < 1.6


@pytest.mark.parametrize(("at", "every"), [("token", 1), ("token", 2), ("token", 3), ("turn", 1), ("turn", 5)])
@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_the_gradient_is_exact_whichever_states_are_valued(at, every, beta):
    task = Turns()
    given = {"kl_coef": beta, "kl_reference": "uniform"} if beta else {}
    algorithm = knows_values(made(task, branch_at=at, branch_every=every, **given), task, beta)
    episodes, chances, _ = exact(task)
    found = expected_gradient(algorithm, drawn(episodes, chances))
    claim = ("kl_return", {"beta": beta}) if beta else ("return", {})
    comparison = compare(-found.vector, claim_gradient(task, wavering, claim[0], **claim[1]).flatten())
    assert comparison.error < 1e-10 and abs(comparison.scale - 1) < 1e-10


@pytest.mark.parametrize("chance", [False, True])
def test_the_advantage_of_a_token_is_q_less_v_in_expectation(chance):
    task = Turns(chance)
    episodes, chances, values = exact(task)
    algorithm = knows_values(made(task), task)
    advantages = algorithm.prepare(episodes).advantages.numpy()
    q = action_values(episodes, chances, task.vocabulary.num_actions)
    flat = episodes.flat
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys(episodes)))}
    state = np.array([numbers[key] for key in keys(episodes)]) * 2 + flat.action
    weight = chances[flat.episode]
    mean = (np.bincount(state, weight * advantages) / np.maximum(np.bincount(state, weight), 1e-300))[state]
    np.testing.assert_allclose(mean, q[np.arange(len(flat)), flat.action] - values, atol=1e-12)
    assert np.ptp(advantages) > 0.1


def test_with_exact_values_it_is_a2c_of_lambda_0():
    task = Turns()
    episodes, _, values = exact(task)
    agent = table_agent(task, wavering, ("policy", "value"))
    rows, first = np.unique(rows_of(agent, episodes), return_index=True)
    write(agent, "value", rows, values[first][:, None])
    a2c = A2C(task, agent, gae_lambda=0.0, entropy_coef=0.0, whiten_advantages=False, **PLAIN)
    vine = knows_values(made(task), task)
    torch.testing.assert_close(vine.prepare(episodes).advantages, a2c.prepare(episodes).advantages)


def test_advantages_are_linear_in_the_values_so_that_unbiased_values_do():
    task = Turns()
    episodes, _, values = exact(task)
    flat = episodes.flat
    points = branch_points(flat, flat.step, 2)
    noise = np.random.default_rng(0).normal(size=(2, len(points)))
    one, other, mean = (
        segment_advantages(flat, flat.reward, points, values[points] + given, 0.9)
        for given in (noise[0], noise[1], noise.mean(0))
    )
    np.testing.assert_allclose((one + other) / 2, mean, atol=1e-12)


def test_advantages_between_points_by_hand():
    task = Turns()
    episodes, _ = all_episodes(task, wavering)
    flat, gamma = episodes.flat, 0.9
    rewards = np.random.default_rng(1).normal(size=len(flat))
    points = branch_points(flat, flat.step, 3)
    assert sorted(set(flat.step[points].tolist())) == [0, 3]
    values = np.random.default_rng(2).normal(size=len(points))
    found = segment_advantages(flat, rewards, points, values, gamma)
    for token in range(len(flat)):
        last = int(np.flatnonzero(points <= token)[-1])
        total, weight, place = -values[last], 1.0, token
        while True:
            total += weight * rewards[place]
            weight *= gamma
            if flat.is_last[place]:
                break
            place += 1
            if place in points:
                total += weight * values[last + 1]
                break
        assert abs(found[token] - total) < 1e-12


@pytest.mark.parametrize("env", ["Turns", "Countdown", "Nim", "FrozenLake"])
def test_branches_repeat_what_was_said_and_draw_their_own_afterwards(env):
    task = Turns(chance=True) if env == "Turns" else make_task(env)
    masks = task.has_action_mask
    algorithm = VinePPO(task, num_rows=7, seed=1, action_masks=masks)
    episodes = algorithm.collector.collect(algorithm.behaviour, num_episodes=5)
    flat = episodes.flat
    points = np.flatnonzero(flat.step % 2 == 0)
    before = algorithm.collector.num_tokens
    found = algorithm.collector.branch(algorithm.behaviour, episodes, flat.episode[points], flat.step[points], 3)
    assert len(found) == 3 * len(points)
    told = found.flat
    for number in range(len(found)):
        point = points[number // 3]
        said = flat.step[point]
        first, begin = told.episode_offsets[number], flat.episode_offsets[flat.episode[point]]
        for name in ("action", "reward", "column"):
            np.testing.assert_array_equal(
                getattr(told, name)[first : first + said], getattr(flat, name)[begin : begin + said]
            )
        seen, own = found.tokens[told.row[first + said]], episodes.tokens[flat.row[point]]
        np.testing.assert_array_equal(seen[: told.column[first + said]], own[: flat.column[point]])
    drawn_tokens = found.num_tokens - int(np.repeat(flat.step[points], 3).sum())
    assert algorithm.collector.num_tokens - before == drawn_tokens, "what is said again costs nothing"
    if masks:
        legal = found.action_masks.unpack().numpy()
        assert legal[np.arange(len(told)), told.action].all()
    again = [tuple(told.action[a:b]) for a, b in zip(told.episode_offsets, told.episode_offsets[1:], strict=False)]
    assert len(set(again)) > len(set(again[::3])), "branches of a state differ"


def test_remembered_episodes_of_groups_are_entered_where_they_were(tmp_path):
    algorithm = VinePPO("Nim", seed=0, group_size=4, branches=2, rollout_tokens=40, replay_capacity=32)
    remembered = next(iter(algorithm.drawn(algorithm.collect())))
    flat = remembered.flat
    points = np.arange(len(flat))
    found = algorithm.collector.branch(algorithm.behaviour, remembered, flat.episode, flat.step, 1)
    told = found.flat
    place = told.episode_offsets[:-1] + flat.step
    for point, there in zip(points, place, strict=True):
        seen, own = found.tokens[told.row[there]], remembered.tokens[flat.row[point]]
        np.testing.assert_array_equal(seen[: told.column[there]], own[: flat.column[point]])
    # What they drew is saved with them.
    algorithm.save(tmp_path / "saved")
    loaded = VinePPO.load(tmp_path / "saved")
    mine, theirs = algorithm.replay.sample_groups(2, 4), loaded.replay.sample_groups(2, 4)
    np.testing.assert_array_equal(mine.streams, theirs.streams)
    with pytest.raises(TokenGymError, match="without streams"):
        algorithm.replay.add(dataclasses.replace(remembered, streams=None))


def test_tokens_of_branches_count():
    algorithm = VinePPO("LengthBias", seed=0, rollout_tokens=16, branches=2).learn(40)
    assert algorithm.num_timesteps == algorithm.collector.num_tokens
    seen = []

    class Kept(Callback):
        def on_update(self, algorithm, metrics):
            seen.append(metrics)

    other = VinePPO("LengthBias", seed=0, rollout_tokens=16, branches=2).learn(40, callback=Kept())
    assert 0 < sum(metrics["vine/tokens"] for metrics in seen) < other.num_timesteps == algorithm.num_timesteps


def test_states_that_cannot_be_entered_again_are_refused():
    class Lost(Turns):
        can_save_state = False

    with pytest.raises(TokenGymError, match="vine-ppo requires states that can be saved"):
        VinePPO(Lost())
    with pytest.raises(TokenGymError, match="whiten_rewards is True"):
        VinePPO("LengthBias", whiten_rewards=True)
