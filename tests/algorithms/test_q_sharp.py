"""Q♯: it rests where what is said is the KL-regularised optimum to the policy that the data are of."""

import numpy as np
import pytest
import torch
from values_cases import (
    STATES,
    TREE,
    cloned,
    frequencies,
    gradients,
    learner_of,
    places,
    read,
    said_episodes,
    text_of,
    write,
)

from tokengym.algorithms import QSharp
from tokengym.envs import TokenGymError, solve
from tokengym.experiments.audit.tables import table_agent

ETA = 0.2


def exact():
    """The logits of the mean of e^((G − R_max)/η) by state and token, 0 for what is not said; γ is 1."""
    episodes = said_episodes()
    texts = [text_of(episodes, place) for place in range(len(episodes))]
    returns, largest = episodes.returns, episodes.returns.max()
    found = {}
    for state in STATES:
        found[state] = np.zeros(3)
        for token in range(3):
            after = [r for text, r in zip(texts, returns, strict=True) if text.startswith(f"{state}{token}")]
            if after:
                mean = np.exp((np.array(after) - largest) / ETA).mean()
                found[state][token] = np.log(mean) - np.log1p(-mean) if mean < 1 else 40.0
    return found


def said_by(learner):
    """What it says in each state."""
    output = read(learner.agent, "policy"), read(learner.agent, "q")
    logits = {state: output[0][state] - np.log1p(np.exp(-output[1][state])) for state in STATES}
    return {state: np.exp(row - row.max()) / np.exp(row - row.max()).sum() for state, row in logits.items()}


def optimal():
    """What the solver says: the optimum against the policy that the data are of, by state."""
    clone = table_agent(TREE)
    write(clone, "policy", cloned())
    solved = solve(TREE, beta=ETA, reference=clone.probabilities)
    best = table_agent(TREE, solved.policy("kl_optimal"))
    where, weights = places(best), best.readouts["policy"].weight.detach()
    return {state: torch.softmax(weights[where[state]], -1).numpy() for state in STATES}


def test_it_rests_where_what_is_said_is_the_optimum_of_the_solver():
    learner = learner_of(QSharp, eta=ETA)
    write(learner.agent, "policy", cloned())
    write(learner.agent, "q", exact())
    for head, gradient in gradients(learner).items():
        assert np.abs(gradient).max() < 1e-12, head
    for state, chances in said_by(learner).items():
        said = frequencies(state) > 0
        np.testing.assert_allclose(chances[said], optimal()[state][said], atol=1e-9)
    write(learner.agent, "q", {"": exact()[""] + 0.1})
    assert np.abs(gradients(learner)["q"]).max() > 1e-3


def test_learning_gets_there():
    learner = learner_of(QSharp, eta=ETA, learning_rate=0.1).learn(600)
    for state, chances in said_by(learner).items():
        np.testing.assert_allclose(chances, optimal()[state], atol=0.02)


def test_the_policy_that_acts_is_the_one_that_is_meant():
    learner = learner_of(QSharp, eta=ETA)
    write(learner.agent, "policy", cloned())
    write(learner.agent, "q", exact())
    first = said_by(learner)[""]
    observation = {"tokens": np.array([TREE.vocabulary.bos]), "length": np.array([1])}
    actions = [int(learner.predict(observation, deterministic=False)[0]) for _ in range(400)]
    np.testing.assert_allclose(np.bincount(actions, minlength=3) / 400, first, atol=0.08)


def test_replies_by_chance_and_an_eta_that_is_too_small_are_refused():
    with pytest.raises(TokenGymError, match="deterministic"):
        QSharp("SlipLock", "table")
    with pytest.raises(TokenGymError, match="eta is 0; expected"):
        QSharp("Copy", "table", eta=0)
