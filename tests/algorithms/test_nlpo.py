"""NLPO: what may be said, PPO where that is everything, and the exact gradient of the policy within its bounds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from turn_cases import Turns, wavering

from tokengym.agents import AgentPolicy, LaggedPolicy, NucleusPolicy, Sampler
from tokengym.agents.policies.nucleus import nucleus
from tokengym.algorithms import NLPO, PPO
from tokengym.algorithms.data import Batch
from tokengym.envs import TokenGymError, make_task
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, table_agent


def bits(algorithm):
    return torch.cat([parameter.detach().flatten() for parameter in algorithm.agent.parameters()])


def test_the_likeliest_tokens_that_make_up_a_share():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.25, 0.25, 0.25, 0.25], [0.01, 0.01, 0.97, 0.01]]).log()
    assert nucleus(logits, 0.75).int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]]
    assert nucleus(logits, 0.96).int().tolist()[0] == [1, 1, 1, 1]
    assert nucleus(logits, 1e-9).sum(1).tolist() == [1, 1, 1], "there is always something to say"
    assert nucleus(logits, 1.0).all()
    legal = torch.tensor([[False, True, True, True]] * 3)
    assert nucleus(logits, 0.6, legal).int().tolist()[0] == [0, 1, 0, 0]
    assert torch.equal(nucleus(logits, 1.0, legal), legal)


@pytest.mark.parametrize(("env", "masks"), [("LengthBias", False), ("Countdown", True), ("FrozenLake", False)])
def test_where_everything_may_be_said_it_is_ppo_bit_for_bit(env, masks):
    given = {"rollout_tokens": 32, "epochs": 2, "minibatches": 2, "action_masks": masks, "seed": 4}
    ppo, nlpo = PPO(env, **given).learn(96), NLPO(env, top_p=1.0, **given).learn(96)
    assert torch.equal(bits(ppo), bits(nlpo))
    assert not torch.equal(bits(ppo), bits(NLPO(env, top_p=0.3, **given).learn(96)))


def test_nothing_is_said_but_what_the_lagged_policy_thinks_likely_and_it_lags():
    algorithm = NLPO("KeywordCover", seed=2, top_p=0.5, refresh_every=2, rollout_tokens=64, learning_rate=0.05)
    start = bits(algorithm).clone()
    lagged = []
    for update in range(4):
        lagged.append(torch.cat([p.detach().flatten() for p in algorithm.lagged.agent.parameters()]))
        episodes = algorithm.next_batch()
        legal = episodes.action_masks.unpack().numpy()
        flat = episodes.flat
        assert legal[np.arange(len(flat)), flat.action].all() and not legal.all()
        probabilities = np.stack(
            [
                algorithm.lagged.agent.probabilities(episodes.tokens[r : r + 1], np.array([c]))[0]
                for r, c in zip(flat.row[:20], flat.column[:20], strict=True)
            ]
        )
        held = (probabilities * legal[:20]).sum(1)
        assert (held >= 0.5 - 1e-6).all(), update
        algorithm.received(episodes)
        algorithm.update(episodes)
        algorithm.num_updates += 1
    assert torch.equal(lagged[0], start) and torch.equal(lagged[1], start)
    assert torch.equal(lagged[2], lagged[3]) and not torch.equal(lagged[2], start)


def likely(tokens, lengths):
    """Another table, whose top-p leaves a token out in some states and none in others."""
    return np.where(np.asarray(lengths)[:, None] % 2 == 0, [[0.95, 0.05]], [[0.4, 0.6]])


def test_the_gradient_is_that_of_the_return_of_the_policy_within_its_bounds():
    task = Turns()
    agent = table_agent(task, wavering, ("policy", "value"))
    within = NucleusPolicy(AgentPolicy(agent), LaggedPolicy(table_agent(task, likely), Sampler(0)), 0.9)
    episodes, chances = all_episodes(task, within.probabilities)
    assert len(episodes) == 3 < len(all_episodes(task, wavering)[0])
    flat = episodes.flat
    allowed = likely(None, flat.column) > 0.06
    assert not allowed.all() and allowed[np.arange(len(flat)), flat.action].all()
    episodes = replace(episodes, action_masks=allowed)
    given = {"reward_scaling": False, "whiten_advantages": False, "entropy_coef": 0.0, "loss_aggregation": "sum"}
    one = {"gae_lambda": 1.0, "value_coef": 0.0, "epochs": 1, "minibatches": 1}
    algorithm = NLPO(task, agent, dtype="float64", **given, **one)
    found = expected_gradient(algorithm, drawn(episodes, chances)).vector
    batch = Batch.from_episodes(episodes)
    log_probs = batch.score(agent).log_probs
    worth = torch.zeros(len(episodes), dtype=torch.float64).index_add(0, batch.episodes[batch.rows], log_probs)
    value = (worth.exp() * torch.from_numpy(episodes.returns)).sum()
    exact = torch.autograd.grad(value, agent.readouts["policy"].weight)[0].flatten()
    assert exact.abs().max() > 1e-3 and abs(float(worth.detach().exp().sum()) - 1) < 1e-12
    assert min(float((-found[i : i + len(exact)] - exact).abs().max()) for i in (0, len(found) - len(exact))) < 1e-10


def test_the_kl_is_of_both_policies_within_the_bounds():
    algorithm = NLPO("KeywordCover", seed=1, top_p=0.5, kl_coef=0.1, kl_reference="uniform", rollout_tokens=64)
    episodes = algorithm.next_batch()
    batch = Batch.from_episodes(episodes)
    scores = batch.score(algorithm.agent, reference=algorithm.reference.logits(batch))
    count = episodes.action_masks.unpack().sum(1)
    torch.testing.assert_close(scores.reference_log_probs, -count.float().log())


def test_it_plays_within_the_bounds_when_it_is_evaluated():
    algorithm = NLPO("KeywordCover", seed=1, top_p=0.3)
    task = make_task("KeywordCover")
    tokens = np.full((1, 1), task.vocabulary.bos, np.int32)
    given = algorithm.policy.probabilities(tokens, np.array([1]))
    assert (given == 0).any() and abs(given.sum() - 1) < 1e-6


@pytest.mark.parametrize("given", [{"top_p": 1.0, "refresh_every": 2}, {"sync_every": 2}, {"replay_capacity": 8}])
def test_what_would_do_nothing_is_refused(given):
    with pytest.raises(TokenGymError, match=f"{list(given)[-1]} is .* since it does nothing"):
        NLPO("LengthBias", **given)
