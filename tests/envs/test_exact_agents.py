"""The exact evaluation of agents: equal to enumerating their own probabilities, observation by observation."""

import numpy as np
import pytest
import torch
from enumeration import RandomTask, play

from tokengym.agents import build_agent
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.tasks.diagnostics.tree import KLTree
from tokengym.envs.tasks.games.wordle import WordleMini


def scattered_agent(spec, task, seed=0):
    """An agent far from uniform and from deterministic: its heads are drawn at random, in a table at every prefix."""
    agent = build_agent(spec, task.vocabulary, task.max_length, seed=seed)
    if spec != "gpt2-tiny":  # a table knows a prefix once it has learned from it, or been told of it
        evaluate_policy(
            task, lambda *prefixes: (agent.trunk.index.number(*prefixes), agent.probabilities(*prefixes))[1]
        )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.readouts.parameters():
            parameter.normal_(std=0.15 if spec == "gpt2-tiny" else 1.0, generator=generator)
    return agent


@pytest.mark.parametrize("spec", [{"kind": "table", "capacity": 2000}, "gpt2-tiny"])
@pytest.mark.parametrize(("context", "turn_tokens"), [("episode", 1), ("turn", 2)])
def test_an_agent_is_worth_what_enumerating_its_probabilities_gives(spec, context, turn_tokens):
    task = RandomTask(11, context=context, turn_tokens=turn_tokens)
    agent, reference = scattered_agent(spec, task), scattered_agent(spec, task, seed=1)
    known: dict = {}

    def one(player, history):
        """The player's probabilities at one observation, asked for by itself."""
        key = (id(player), history.observation)
        if key not in known:
            observation = np.array([history.observation], dtype=np.int32)
            row = player.probabilities(observation, np.array([observation.shape[1]], dtype=np.int32))[0]
            known[key] = row / row.sum()
        return known[key]

    played = play(task, lambda history: one(agent, history), lambda history: one(reference, history))
    evaluation = evaluate_policy(task, agent.probabilities, reference.probabilities)
    # Batches of another shape sum in another order: float32 for the model, nothing to sum for the table.
    close = {"rel": 1e-4, "abs": 1e-5} if spec == "gpt2-tiny" else {"rel": 1e-12, "abs": 1e-12}
    assert evaluation.expected_return == pytest.approx(played.expected_return, **close)
    assert evaluation.variance == pytest.approx(played.variance, **close)
    assert evaluation.kl == pytest.approx(played.kl, **close) and evaluation.kl > 0.1
    assert evaluation.entropy == pytest.approx(played.entropy, **close)


def test_the_kl_optimum_over_a_table_is_attained_by_no_other_player():
    task = KLTree(num_tokens=3, depth=3)
    reference = scattered_agent({"kind": "table", "capacity": 100}, task)
    solution = solve(task, beta=0.2, reference=reference.probabilities)
    best = evaluate_policy(task, solution.policy("kl_optimal"), reference.probabilities)
    assert solution.kl_optimal_return == pytest.approx(best.kl_regularised(0.2), rel=1e-12)
    assert solution.kl_optimal_kl == pytest.approx(best.kl, rel=1e-9)
    for other in (solution.policy("optimal"), solution.policy("random"), reference.probabilities):
        assert evaluate_policy(task, other, reference.probabilities).kl_regularised(0.2) < best.kl_regularised(0.2)


def test_masks_reach_the_agent():
    task = WordleMini(num_letters=3, word_length=2, num_words=4, num_guesses=2, words_only=True)
    agent = build_agent({"kind": "table", "capacity": 2000}, task.vocabulary, task.max_length)
    evaluation = evaluate_policy(task, agent.probabilities, masked=True)
    # A table that was never trained is uniform.
    assert evaluation.expected_return == pytest.approx(solve(task, masked=True).random_return, abs=1e-6)
    assert evaluation.kl == pytest.approx(0, abs=1e-6)
