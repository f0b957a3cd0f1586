"""GiGPO: the step term is exact Q − V over all rollouts, ω = 0 is GRPO, and what is unbiased."""

import numpy as np
import pytest
import torch
from turn_cases import Turns, wavering

from tokengym.algorithms import GRPO, GiGPO
from tokengym.algorithms.parts import keys_before, visit_advantages
from tokengym.envs import TokenGymError
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, table_agent
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.objectives import claim_gradient
from tokengym.experiments.audit.tables import action_values, regularised_values

PLAIN = {"dtype": "float64", "epochs": 1, "minibatches": 1}


def half(tokens, lengths):
    return np.full((len(lengths), 2), 0.5)


def test_with_all_rollouts_the_step_term_is_q_less_v():
    task = Turns()
    episodes, chances = all_episodes(task, half)
    # As often as they are said of 16 rollouts, each of a chance of 1/4 or 1/16.
    times = np.round(chances * 16).astype(int)
    assert (np.abs(times - chances * 16) < 1e-12).all() and times.sum() == 16
    group = episodes.select(np.repeat(np.arange(len(episodes)), times))
    flat = group.flat
    algorithm = GiGPO(task, table_agent(task, half), group_size=16, preset="dr-grpo", step_weight=1.0, **PLAIN)
    without = GiGPO(task, table_agent(task, half), group_size=16, preset="dr-grpo", step_weight=0.0, **PLAIN)
    step = (algorithm.prepare(group).advantages - without.prepare(group).advantages).numpy()
    cell = np.unique(np.column_stack([keys_before(group), flat.action]), axis=0, return_inverse=True)[1].reshape(-1)
    mean = (np.bincount(cell, step) / np.bincount(cell))[cell]
    values = regularised_values(episodes, chances, 2)
    q = action_values(episodes, chances, 2)[np.arange(len(episodes.flat)), episodes.flat.action]
    places = zip(keys_before(episodes), episodes.flat.action, strict=True)
    of = dict(zip(places, q - values, strict=True))
    wanted = np.array([of[key] for key in zip(keys_before(group), flat.action, strict=True)])
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(mean, wanted, atol=1e-12)


@pytest.mark.parametrize("preset", ["grpo", "dr-grpo", "rloo", "gspo"])
def test_without_the_step_term_it_is_grpo_bit_for_bit(preset):
    found = []
    for kind, given in ((GRPO, {}), (GiGPO, {"step_weight": 0.0}), (GiGPO, {"step_weight": 1.0})):
        algorithm = kind("Lattice", seed=3, group_size=4, rollout_tokens=64, preset=preset, **given).learn(128)
        found.append(torch.cat([p.detach().flatten() for p in algorithm.agent.parameters()]))
    assert torch.equal(found[0], found[1])
    assert preset == "gspo" or not torch.equal(found[0], found[2])


def against_return(preset, weight, size=3):
    task = Turns()
    episodes, chances = all_episodes(task, wavering)
    agent = table_agent(task, wavering)
    algorithm = GiGPO(task, agent, group_size=size, preset=preset, step_weight=weight, **PLAIN)
    found = expected_gradient(algorithm, drawn(episodes, chances, size))
    return compare(-found.vector, claim_gradient(task, wavering, "return").flatten())


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_with_the_own_episode_left_out_of_both_terms_it_is_unbiased(weight):
    found = against_return("rloo", weight)
    assert found.error < 1e-10 and abs(found.scale - (1 + weight)) < 1e-10


def test_with_the_mean_of_all_visits_later_states_count_less():
    found = against_return("dr-grpo", 1.0)
    assert 1e-3 < found.error < 0.5 and found.scale > 0


def test_visits_by_hand():
    returns = np.array([1.0, 2.0, 4.0, 8.0, 3.0])
    state = np.array([0, 0, 0, 1, 2])
    episode = np.array([0, 0, 1, 1, 2])
    group = np.zeros(3, int)
    found, shared = visit_advantages(returns, state, episode, group)
    np.testing.assert_allclose(found, [1 - 7 / 3, 2 - 7 / 3, 4 - 7 / 3, 0, 0])
    assert abs(shared - 3 / 5) < 1e-12
    # The other visit of the same episode is left out with the own one; where nobody else came, something else stands.
    found, _ = visit_advantages(returns, state, episode, group, leave_out=True, elsewhere=np.array([9.0, 5.0, 0.5]))
    np.testing.assert_allclose(found, [1 - 4, 2 - 4, 4 - 1.5, 8 - 5, 3 - 0.5])
    divided, _ = visit_advantages(returns, state, episode, group, divide=True)
    np.testing.assert_allclose(divided[:3], (returns[:3] - 7 / 3) / returns[:3].std(ddof=1))
    assert divided[3] == divided[4] == 0
    apart, _ = visit_advantages(returns, state, episode, np.array([0, 1, 2]))
    np.testing.assert_allclose(apart, [-0.5, 0.5, 0, 0, 0])


@pytest.mark.parametrize("preset", ["opo", "pass-at-k", "max-rl", "gmpo"])
def test_presets_whose_baseline_visits_have_not_are_refused(preset):
    with pytest.raises(TokenGymError, match="preset is"):
        GiGPO("LengthBias", preset=preset)
