import numpy as np
import pytest
import torch
from agent_cases import VOCABULARY, final_states, make_agent, random_tokens
from safetensors.torch import load, save

from tokengym.agents import build_agent
from tokengym.agents.table import PrefixIndex
from tokengym.envs.errors import TokenGymError


def test_numbers_name_prefixes_exactly():
    tokens = np.random.default_rng(0).integers(0, 3, (200, 6))
    lengths = np.random.default_rng(1).integers(1, 7, 200)
    numbers = PrefixIndex(2000, 3).number(tokens, lengths)
    names = {}
    for row in range(200):
        for column in range(lengths[row]):
            prefix = tuple(tokens[row, : column + 1])
            assert names.setdefault(prefix, numbers[row, column]) == numbers[row, column]
    assert sorted(names.values()) == list(range(len(names)))
    assert not numbers[np.arange(6) >= lengths[:, None]].any()


def test_a_saved_table_knows_its_prefixes():
    agent = make_agent("table")
    tokens, lengths = random_tokens(20), np.arange(1, 21)
    expected = final_states(agent, tokens, lengths).logits
    other = build_agent("table", VOCABULARY, 24, heads=("policy", "value"))
    # Other prefixes first, so that a wrong numbering would show.
    final_states(other, random_tokens(20, seed=9), lengths)
    other.load_state_dict(load(save(agent.state_dict())))
    assert torch.equal(final_states(other, tokens, lengths).logits, expected)
    assert len(other.trunk.index) == len(agent.trunk.index)


def test_copies_share_the_numbering():
    agent = make_agent("table")
    clone = agent.clone_frozen()
    final_states(agent, random_tokens(5, seed=1), np.full(5, 8))
    final_states(clone, random_tokens(5, seed=2), np.full(5, 8))
    tokens = random_tokens(5, seed=3)
    assert torch.equal(
        final_states(agent, tokens, np.full(5, 8)).logits, final_states(clone, tokens, np.full(5, 8)).logits
    )


def test_unseen_prefixes_are_uniform_and_worth_nothing():
    agent = build_agent("table", VOCABULARY, 24, heads=("policy", "value"))
    tokens, lengths = random_tokens(2), np.array([3, 4])
    np.testing.assert_allclose(agent.probabilities(tokens, lengths), 1 / 7, rtol=1e-12)
    assert not final_states(agent, tokens, lengths).values.any()


def test_a_full_table_says_so():
    agent = build_agent({"kind": "table", "capacity": 10}, VOCABULARY, 24)
    with pytest.raises(TokenGymError, match=r"full: .* of 10 are taken .*capacity"):
        agent.probabilities(random_tokens(3), np.full(3, 8))
