import numpy as np
import pytest
import torch
from agent_cases import VOCABULARY, final_states, make_agent, random_tokens
from safetensors.torch import load, save

from tokengym.agents import build_agent
from tokengym.agents.models.table import PrefixIndex
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.vocabulary import Vocabulary


def learn_from(agent, tokens, lengths):
    """One pass with gradients, which takes room in the table."""
    none = torch.zeros(0, dtype=torch.int64)
    agent.evaluate(
        torch.from_numpy(tokens), torch.from_numpy(lengths), none, none, final_rows=torch.arange(len(tokens))
    )


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
    tokens, lengths = random_tokens(20), np.arange(2, 22)
    learn_from(agent, tokens, lengths)
    expected = final_states(agent, tokens, lengths).logits
    other = build_agent("table", VOCABULARY, 24, heads=("policy", "value"))
    # Other prefixes first, so that a wrong numbering would show.
    learn_from(other, random_tokens(20, seed=9), lengths)
    other.load_state_dict(load(save(agent.state_dict())))
    assert torch.equal(final_states(other, tokens, lengths).logits, expected)
    assert len(other.trunk.index) == len(agent.trunk.index)


def test_copies_share_the_numbering():
    agent = make_agent("table")
    clone = agent.clone_frozen()
    tokens = random_tokens(5, seed=3)
    learn_from(agent, random_tokens(5, seed=1), np.full(5, 8))
    learn_from(clone, random_tokens(5, seed=2), np.full(5, 8))
    learn_from(agent, tokens, np.full(5, 8))
    assert final_states(agent, tokens, np.full(5, 8)).logits.std() > 0.1
    assert torch.equal(
        final_states(agent, tokens, np.full(5, 8)).logits, final_states(clone, tokens, np.full(5, 8)).logits
    )


def test_unseen_prefixes_are_uniform_and_worth_nothing():
    agent = build_agent("table", VOCABULARY, 24, heads=("policy", "value"))
    tokens, lengths = random_tokens(2), np.array([3, 4])
    np.testing.assert_allclose(agent.probabilities(tokens, lengths), 1 / 7, rtol=1e-12)
    assert not final_states(agent, tokens, lengths).values.any()


def test_looking_takes_no_room_and_learning_does():
    agent = build_agent({"kind": "table", "capacity": 10}, VOCABULARY, 24)
    tokens, lengths = random_tokens(50), np.full(50, 8)
    agent.probabilities(tokens, lengths)
    assert len(agent.trunk.index) == 0
    learn_from(agent, tokens[:1], lengths[:1])
    assert len(agent.trunk.index) == 8
    with torch.no_grad():
        agent.readouts["policy"].weight.normal_()
    known, unknown = agent.probabilities(tokens[:1], lengths[:1]), agent.probabilities(tokens[1:2], lengths[1:2])
    assert known.std() > 0.01
    np.testing.assert_allclose(unknown, 1 / 7, rtol=1e-12)


def test_a_session_notices_that_a_prefix_was_learned_from():
    agent = build_agent("table", VOCABULARY, 24)
    tokens, lengths = random_tokens(3), np.full(3, 4)
    session = agent.session(3)
    assert not session.step(tokens, lengths).logits.any()
    learn_from(agent, tokens, lengths)
    with torch.no_grad():
        agent.readouts["policy"].weight.normal_()
    torch.testing.assert_close(session.step(tokens, lengths).logits, final_states(agent, tokens, lengths).logits)
    assert session.step(tokens, lengths).logits.std() > 0.1


def test_a_full_table_says_so():
    agent = build_agent({"kind": "table", "capacity": 10}, VOCABULARY, 24)
    with pytest.raises(TokenGymError, match=r"full: .* of 10 are taken .*capacity"):
        learn_from(agent, random_tokens(3), np.full(3, 8))


def test_the_default_size_leaves_memory_for_a_large_vocabulary():
    assert build_agent("table", VOCABULARY, 24).trunk.capacity == 65536
    many = Vocabulary.of([f"t{token}" for token in range(8192)])
    assert build_agent("table", many, 24).trunk.capacity == 1024
