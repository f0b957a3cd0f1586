"""Monte-Carlo returns: the fixed point is the behaviour's exact Q, and what is said is the clone weighed by it."""

import numpy as np
import pytest
from values_cases import (
    STATES,
    TREE,
    backed_up,
    cloned,
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

from tokengym.algorithms import MCReturns
from tokengym.envs import TokenGymError
from tokengym.experiments import evaluate_agent
from tokengym.experiments.audit.enumeration import all_episodes
from tokengym.experiments.audit.tables import action_values, state_numbers, table_agent


def test_the_regression_rests_at_the_behaviours_exact_q():
    clone = table_agent(TREE)
    write(clone, "policy", cloned())
    episodes, chances = all_episodes(TREE, clone.probabilities)
    exact = action_values(episodes, chances, 3)[np.unique(state_numbers(episodes), return_index=True)[1]]
    q, _ = backed_up(mean)
    assert {tuple(row) for row in exact.round(9)} == {tuple(row) for row in np.array(list(q.values())).round(9)}
    learner = learner_of(MCReturns)
    write(learner.agent, "q", q)
    write(learner.agent, "policy", cloned())
    for head, gradient in gradients(learner).items():
        assert np.abs(gradient).max() < 1e-12, head
    write(learner.agent, "q", {"": q[""] + 0.1})
    assert np.abs(gradients(learner)["q"]).max() > 1e-3


@pytest.mark.parametrize("decoding", ["weighted", "greedy"])
def test_learning_gets_there_and_greed_for_it_is_one_step_of_improvement(decoding):
    learner = learner_of(MCReturns, decoding=decoding, learning_rate=0.1).learn(300)
    q, values = backed_up(mean)
    for state in STATES:
        said = frequencies(state) > 0
        np.testing.assert_allclose(read(learner.agent, "q")[state][said], q[state][said], atol=0.01)
    assert learner.required_heads() == (("q",) if decoding == "greedy" else ("policy", "q"))
    if decoding == "weighted":
        assert evaluate_agent(learner, TREE, deterministic=False).expected_return > values[""] + 0.1


def test_what_was_never_said_keeps_its_value_and_greed_falls_for_it_unless_it_is_held_down():
    falls, held = (learner_of(MCReturns, decoding="greedy", learning_rate=0.1, cql_coef=c).learn(300) for c in (0, 0.1))
    assert read(falls.agent, "q")["2"].argmax() == 2  # at 0, where all that is said is worth less
    assert read(held.agent, "q")["2"].argmax() == 1


@pytest.mark.parametrize("which", ["masked", "truncated"])
def test_the_loss_is_the_formula_written_a_second_time(which):
    learner, episodes = shaken(MCReturns, which, cql_coef=0.3, cloning_coef=0.7, gamma=0.9, reward_scaling=False)
    states, by_hand = list(states_of(episodes)), 0.0
    for n, (episode, tokens, token, _, legal) in enumerate(states):
        to_go = [paid for other, _, _, paid, _ in states[n:] if other == episode]
        earned = sum(0.9**k * paid for k, paid in enumerate(to_go))
        here = heads_at(learner.agent, tokens)
        by_hand += (here["q"][token] - earned) ** 2 - 0.3 * log_softmax(here["q"], legal)[token]
        by_hand -= 0.7 * log_softmax(here["logits"], legal)[token]
    prepared = learner.prepare(episodes)
    assert learner.loss(prepared.batch, prepared).total.item() == pytest.approx(by_hand / len(states), rel=1e-6)


def test_what_is_said_is_the_clone_weighed_by_q():
    learner = learner_of(MCReturns, beta=3.0).learn(20)
    said = learner.policy.probabilities(said_episodes().tokens[:1, :1], np.array([1]))[0]
    weighed = log_softmax(read(learner.agent, "policy")[""] + 3.0 * read(learner.agent, "q")[""], None)
    np.testing.assert_allclose(said, np.exp(weighed), atol=1e-12)


def test_options_that_do_nothing_are_refused():
    for values in ({"beta": 2.0}, {"cloning_coef": 0.5}):
        with pytest.raises(TokenGymError, match="since it does nothing while decoding is 'greedy'"):
            MCReturns(TREE, "table", dataset=said_dataset(), decoding="greedy", **values)
