"""Q♯: it rests where what is said is the KL-regularised optimum to the policy that the data are of."""

import numpy as np
import pytest
import torch
from values_cases import (
    PAYS,
    SAID,
    STATES,
    TREE,
    cloned,
    frequencies,
    gradients,
    learner_of,
    places,
    said_episodes,
    text_of,
    write,
)

from tokengym.algorithms import QSharp
from tokengym.envs import TokenGymError, solve
from tokengym.experiments.audit.enumeration import all_episodes
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
    """What the policy that acts says in each state."""
    episodes, _ = all_episodes(TREE)
    found = {}
    for episode, step, row, column in zip(
        episodes.flat.episode, episodes.flat.step, episodes.flat.row, episodes.flat.column, strict=True
    ):
        state = text_of(episodes, int(episode))[:step]
        found[state] = learner.policy.probabilities(episodes.tokens[row : row + 1], np.array([column]))[0]
    return {state: found[state] for state in STATES}


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


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_what_is_said_is_the_optimum_of_the_discounted_return_less_the_kl_to_the_data(gamma):
    """By the probabilities of whole texts: as often as the data say them, times e^(γ^t R/η), t the place of the pay."""
    tilted = {text: count * np.exp(gamma ** (len(text) - 1) * PAYS[text] / ETA) for text, count in SAID.items()}
    first = {token: sum(v for text, v in tilted.items() if text.startswith(token)) for token in "012"}
    best = {"": [first[token] / sum(first.values()) for token in "012"]}
    best |= {token: [tilted.get(token + last, 0.0) / first[token] for last in "012"] for token in "12"}
    learner = learner_of(QSharp, eta=ETA, gamma=gamma, learning_rate=0.1, final_learning_rate_fraction=0.01)
    for state, chances in said_by(learner.learn(1500)).items():
        np.testing.assert_allclose(chances, best[state], atol=0.01)


def test_learning_gets_there():
    learner = learner_of(QSharp, eta=ETA, learning_rate=0.1).learn(600)
    for state, chances in said_by(learner).items():
        np.testing.assert_allclose(chances, optimal()[state], atol=0.02)


def test_what_it_plays_is_drawn_from_that_policy():
    learner = learner_of(QSharp, eta=ETA)
    write(learner.agent, "policy", cloned())
    write(learner.agent, "q", exact())
    observation = {"tokens": np.array([TREE.vocabulary.bos]), "length": np.array([1])}
    actions = [int(learner.predict(observation, deterministic=False)[0]) for _ in range(400)]
    chances = said_by(learner)[""]
    assert (
        np.abs(np.bincount(actions, minlength=3) / 400 - chances) <= 4 * np.sqrt(chances * (1 - chances) / 400)
    ).all()


def test_replies_by_chance_and_an_eta_that_is_too_small_are_refused():
    with pytest.raises(TokenGymError, match="deterministic"):
        QSharp("SlipLock", "table")
    with pytest.raises(TokenGymError, match="eta is 0; expected"):
        QSharp("Copy", "table", eta=0)
