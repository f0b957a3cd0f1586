"""CQL: without its term it is DQN on the dataset, with much of it a clone, and what is unsaid is held below."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from values_cases import (
    SMALL,
    STATES,
    TREE,
    backed_up,
    frequencies,
    gradients,
    heads_at,
    learner_of,
    log_softmax,
    odd_episodes,
    read,
    said_dataset,
    shaken,
    states_of,
    write,
)

from tokengym.agents import RandomPlayer
from tokengym.agents.masks import PackedMasks
from tokengym.algorithms import CQL, DQN, EpisodeDataset
from tokengym.algorithms.data import ReplaySample
from tokengym.algorithms.off_policy import Replayed
from tokengym.algorithms.offline import record
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.transforms import TimeLimit

ONE_STEP = {"returns": "n_step", "n_step": 1}


@pytest.mark.parametrize("which", ["masked", "truncated"])
@pytest.mark.parametrize("options", [{}, ONE_STEP, {"dueling": True}, {"double": False, "gamma": 0.9}])
def test_without_its_term_it_is_dqn_on_the_dataset(which, options):
    learner, episodes = shaken(CQL, which, cql_coef=0.0, reward_scaling=False, **options)
    task, _ = odd_episodes(which)
    online = DQN(task, SMALL, dtype="float64", action_masks=which == "masked", reward_scaling=False, **options)
    online.agent.load_state_dict(learner.agent.state_dict())
    online.target.load_state_dict(learner.target.state_dict())
    ones = np.ones(len(episodes.flat), episodes.rewards.dtype)
    sample = ReplaySample(episodes, ones, np.arange(len(episodes)))
    drawn = online.prepare(Replayed.of(sample, online.learning_rewards(episodes), online.device))
    theirs = online.loss(drawn.parts[0], drawn)
    prepared = learner.prepare(episodes)
    ours = learner.loss(prepared.batch, prepared)
    torch.testing.assert_close(prepared.columns["targets"], drawn.columns["targets"], rtol=0, atol=0)
    assert ours.total.item() == theirs.total.item()
    ours.total.backward()
    theirs.total.backward()
    for mine, other in zip(learner.agent.parameters(), online.agent.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=0)


@pytest.mark.parametrize("returns", ["n_step", "trace"])
def test_where_nobody_recorded_what_the_last_state_allows_all_is_allowed_there(returns):
    task = TimeLimit(make_task("TicTacToe"), 2)
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 8, 0, action_masks=True)
    assert episodes.truncated.any()
    episodes.rewards[episodes.agent_mask] = np.arange(episodes.num_tokens) % 3
    everything = PackedMasks.full(len(episodes), task.vocabulary.num_actions)
    found = []
    for final in (everything, None, episodes.final_action_masks):
        data = EpisodeDataset(replace(episodes, final_action_masks=final), task.vocabulary)
        learner = CQL(task, dataset=data, action_masks=True, returns=returns, seed=0, batch_episodes=8)
        for parameter in learner.target.parameters():  # whose values are else 0 everywhere
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        found.append(learner.prepare(data.episodes).columns["targets"])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert not torch.equal(found[0], found[2])


def test_without_its_term_it_rests_at_the_best_that_is_said_where_nothing_unsaid_looks_better():
    learner = learner_of(CQL, cql_coef=0.0, **ONE_STEP)
    q, _ = backed_up(lambda q, weights: float(q.max()))
    write(learner.agent, "q", {state: np.where(frequencies(state) > 0, said, -9.0) for state, said in q.items()})
    learner.move_target(1.0)
    assert np.abs(gradients(learner)["q"]).max() < 1e-12


def test_unsaid_tokens_lead_dqn_astray_and_are_held_below():
    astray, held = (
        learner_of(CQL, cql_coef=coef, target_polyak=0.5, learning_rate=0.1, **ONE_STEP).learn(400)
        for coef in (0.0, 0.05)
    )
    assert read(astray.agent, "q")["2"].argmax() == 2  # unsaid, still at 0, and all that is said pays less
    assert read(astray.agent, "q")[""][2] == pytest.approx(0.0, abs=0.01)  # and is believed a token before
    q = read(held.agent, "q")["2"]
    assert q[2] < min(q[0], q[1]) and q.argmax() == 1


def test_with_much_of_its_term_it_is_a_clone():
    learner = learner_of(CQL, cql_coef=1000.0, learning_rate=0.1, **ONE_STEP).learn(600)
    for state in STATES:
        said = np.exp(log_softmax(read(learner.agent, "q")[state], None))
        np.testing.assert_allclose(said, frequencies(state), atol=0.03)


@pytest.mark.parametrize("which", ["masked", "truncated"])
def test_its_term_is_the_cross_entropy_of_q_over_what_may_be_said(which):
    found = []
    for coef in (0.0, 0.3):
        learner, episodes = shaken(CQL, which, cql_coef=coef)
        prepared = learner.prepare(episodes)
        found.append(learner.loss(prepared.batch, prepared).total.item())
    states = list(states_of(episodes))
    by_hand = -sum(
        log_softmax(heads_at(learner.agent, tokens)["q"], legal)[token] for _, tokens, token, _, legal in states
    )
    assert found[1] - found[0] == pytest.approx(0.3 * by_hand / len(states), rel=1e-9)


def test_options_that_do_nothing_are_refused():
    for values, says in (({"n_step": 2}, "returns is 'trace'"), ({**ONE_STEP, "trace_lambda": 0.5}, "'n_step'")):
        with pytest.raises(TokenGymError, match=says):
            CQL(TREE, "table", dataset=said_dataset(), **values)
