"""ILQL: where it rests is worked out exactly, its loss is written a second time, and nothing unsaid is ever valued."""

import numpy as np
import pytest
import torch
from values_cases import (
    SAID,
    SMALL,
    STATES,
    TREE,
    backed_up,
    cloned,
    expectile,
    final_tokens,
    frequencies,
    gradients,
    heads_at,
    learner_of,
    log_softmax,
    mean,
    read,
    said_dataset,
    said_episodes,
    shaken,
    states_of,
    write,
)

from tokengym.algorithms import ILQL, MCReturns, load_algorithm
from tokengym.envs import TokenGymError
from tokengym.experiments.audit.enumeration import all_episodes
from tokengym.experiments.audit.tables import action_values, state_numbers, table_agent


def at_rest(tau, gamma=1.0, **config):
    """ILQL with the exact values of an expectile in its table, and these."""
    learner = learner_of(ILQL, expectile=tau, gamma=gamma, cql_coef=0.0, **config)
    q, values = backed_up(expectile(tau), gamma)
    for head in ("q", "q2"):
        write(learner.agent, head, q)
    write(learner.agent, "value", {state: [value] for state, value in values.items()})
    write(learner.agent, "policy", cloned())
    learner.move_target(1.0)
    return learner, q, values


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("tau", [0.5, 0.7, 0.95, 1 - 1e-6])
def test_it_rests_at_the_expectiles_backed_up_through_what_is_said(tau, gamma):
    learner, _, values = at_rest(tau, gamma)
    for head, gradient in gradients(learner).items():
        assert np.abs(gradient).max() < 1e-10, head
    write(learner.agent, "value", {"": [values[""] - 0.1]})
    assert np.abs(gradients(learner)["value"]).max() > 1e-3


def test_an_expectile_of_a_half_is_the_behaviours_own_value():
    clone = table_agent(TREE)
    write(clone, "policy", cloned())
    episodes, chances = all_episodes(TREE, clone.probabilities)
    exact = action_values(episodes, chances, 3)
    _, q_and_v = backed_up(expectile(0.5)), backed_up(mean)
    numbers = state_numbers(episodes)
    found = {tuple(np.round(row, 9)) for row in exact[np.unique(numbers, return_index=True)[1]]}
    assert found == {tuple(np.round(row, 9)) for row in q_and_v[0].values()}
    for state in STATES:
        np.testing.assert_allclose(backed_up(expectile(0.5))[0][state], q_and_v[0][state], atol=1e-12)


def test_towards_one_it_is_the_best_that_is_said_and_says_it():
    learner, q, values = at_rest(1 - 1e-6, beta=200.0)
    best, best_values = backed_up(lambda q, weights: float(q.max()))
    for state in STATES:
        np.testing.assert_allclose(q[state], best[state], atol=1e-4)
        assert values[state] == pytest.approx(best_values[state], abs=1e-4)
    assert values[""] == pytest.approx(-0.125, abs=1e-4)  # of the text 11, not of 22, which pays 0 and is never said
    episodes, chances = all_episodes(TREE, learner.policy.probabilities)
    assert episodes.flat.action[episodes.flat.episode == chances.argmax()].tolist() == [1, 1]
    assert chances.max() > 0.999
    behaviours = learner_of(MCReturns, beta=200.0)
    write(behaviours.agent, "q", backed_up(mean)[0])
    write(behaviours.agent, "policy", cloned())
    episodes, chances = all_episodes(TREE, behaviours.policy.probabilities)
    assert episodes.flat.action[episodes.flat.episode == chances.argmax()].tolist() == [2, 1]


def test_learning_gets_there():
    learner = learner_of(ILQL, expectile=0.9, gamma=1.0, cql_coef=0.0, target_polyak=0.5, learning_rate=0.1)
    learner.learn(400)
    q, values = backed_up(expectile(0.9))
    for state in STATES:
        said = frequencies(state) > 0
        for head in ("q", "q2"):
            np.testing.assert_allclose(read(learner.agent, head)[state][said], q[state][said], atol=0.01)
        assert read(learner.agent, "value")[state][0] == pytest.approx(values[state], abs=0.01)
        clone = np.exp(log_softmax(read(learner.agent, "policy")[state], None))
        np.testing.assert_allclose(clone, frequencies(state), atol=0.02)


def test_the_conservative_term_holds_what_is_unsaid_below_what_is_said():
    learner = learner_of(ILQL, cql_coef=0.05, target_polyak=0.5, learning_rate=0.1).learn(400)
    q = read(learner.agent, "q")["2"]
    assert q[2] < min(q[0], q[1]) - 0.5


@pytest.mark.parametrize("which", ["masked", "truncated"])
def test_the_loss_is_the_formula_written_a_second_time(which):
    config = {"expectile": 0.8, "cql_coef": 0.3, "cloning_coef": 0.7, "gamma": 0.9, "reward_scaling": False}
    learner, episodes = shaken(ILQL, which, **config)
    states = list(states_of(episodes))
    online = [heads_at(learner.agent, tokens) for _, tokens, _, _, _ in states]
    slow = [heads_at(learner.target, tokens) for _, tokens, _, _, _ in states]
    by_hand = 0.0
    for n, (episode, _, token, paid, legal) in enumerate(states):
        if n + 1 < len(states) and states[n + 1][0] == episode:
            following = online[n + 1]["values"]
        elif episodes.flat.terminated[episode]:
            following = 0.0
        else:
            following = heads_at(learner.agent, final_tokens(episodes, episode))["values"]
        target, here = paid + 0.9 * following, online[n]
        gap = min(slow[n]["q"][token], slow[n]["q2"][token]) - here["values"]
        by_hand += (here["q"][token] - target) ** 2 + (here["q2"][token] - target) ** 2
        by_hand += (0.2 if gap < 0 else 0.8) * gap**2
        by_hand -= 0.3 * (log_softmax(here["q"], legal)[token] + log_softmax(here["q2"], legal)[token])
        by_hand -= 0.7 * log_softmax(here["logits"], legal)[token]
    prepared = learner.prepare(episodes)
    assert learner.loss(prepared.batch, prepared).total.item() == pytest.approx(by_hand / len(states), rel=1e-9)
    assert (which == "truncated") == bool((~episodes.flat.terminated).any())


@pytest.mark.parametrize("which", ["masked", "truncated"])
def test_the_gradient_is_the_same_however_a_batch_is_cut(which):
    found = []
    for limit in (None, 30):
        learner, episodes = shaken(ILQL, which, micro_batch_tokens=limit)
        prepared = learner.prepare(episodes)
        parts = prepared.batch.parts(limit, learner.unit)
        assert (len(parts) > 1) == (limit is not None)
        for part in parts:
            learner.loss(part, prepared).total.backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in learner.agent.parameters()]))
    assert (found[0] - found[1]).norm() <= 1e-10 * found[0].norm()


def test_what_is_said_is_the_clone_weighed_by_the_advantage_and_is_saved(tmp_path):
    learner = learner_of(ILQL, beta=3.0).learn(20)
    tokens = said_episodes().tokens[:1, :1]
    said = learner.policy.probabilities(tokens, np.array([1]))[0]
    clone, q = read(learner.agent, "policy")[""], read(learner.agent, "q")[""]
    smaller = np.minimum(q, read(learner.agent, "q2")[""])
    weighed = np.exp(log_softmax(clone + 3.0 * (smaller - read(learner.agent, "value")[""]), None))
    np.testing.assert_allclose(said, weighed, atol=1e-12)
    learner.save(tmp_path / "saved")
    again = load_algorithm(tmp_path / "saved", env=TREE)
    np.testing.assert_array_equal(again.policy.probabilities(tokens, np.array([1]))[0], said)
    observation = {"tokens": np.pad(tokens[0], (0, TREE.max_length - 1)), "length": np.array([1])}
    assert learner.predict(observation, deterministic=True)[0] == said.argmax()


def test_a_dataset_that_values_cannot_be_learnt_from_stops_at_the_door():
    from dataclasses import replace

    from tokengym.algorithms import EpisodeDataset

    episodes = said_episodes()
    unpaid = EpisodeDataset(replace(episodes, rewards=np.zeros_like(episodes.rewards)), TREE.vocabulary)
    with pytest.raises(TokenGymError, match=r"holds no rewards: all of its \d+ tokens were paid 0, and ilql learns"):
        ILQL(TREE, "table", dataset=unpaid)
    rewards = episodes.rewards.copy()
    rewards[episodes.agent_mask] = np.nan
    with pytest.raises(TokenGymError, match="holds a reward that is nan"):
        ILQL(TREE, "table", dataset=EpisodeDataset(replace(episodes, rewards=rewards), TREE.vocabulary))
    with pytest.raises(TokenGymError, match="another vocabulary"):
        ILQL("Copy", "table", dataset=said_dataset())
    for field, value in (("expectile", 1.0), ("expectile", 0.0), ("beta", -1.0), ("target_polyak", 0.0)):
        with pytest.raises(TokenGymError, match=field):
            ILQL(TREE, "table", **{field: value})


def test_rewards_are_scaled_by_the_spread_of_the_datasets_returns_once():
    learner = learner_of(ILQL, gamma=1.0, reward_scaling=True)
    returns = np.array([paid for text, count in SAID.items() for paid in [_paid(text)] * len(text) * count])
    assert learner.reward_scale == pytest.approx(returns.std())
    scaled = learner.learning_rewards(said_episodes())
    np.testing.assert_allclose(scaled * learner.reward_scale, said_episodes().flat.reward)


def _paid(text):
    from values_cases import PAYS

    return PAYS[text]


def test_a_transformer_of_its_own_for_the_values():
    learner = ILQL(TREE, SMALL, dataset=said_dataset(), separate_critic=True).learn(3)
    assert learner.agent.critic_trunk is not None
