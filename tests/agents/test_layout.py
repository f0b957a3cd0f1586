"""What several sequences begin with is read once: features and gradients are those of reading each of them whole."""

import numpy as np
import pytest
import torch
from agent_cases import LENGTH, VOCABULARY, make_agent, random_tokens, tiny_llama
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.agents.models.layout import Layout

KINDS = {"gpt2": "gpt2-tiny", "llama": "llama-tiny", "shared keys and values": tiny_llama}


def sequences(prompts=3, members=4, prompt=15, seed=0):
    """Groups of sequences that continue the same prompt, and the number of each group."""
    tokens = random_tokens(prompts * members, seed=seed).astype(np.int64) % VOCABULARY.num_actions
    groups = np.repeat(np.arange(prompts), members)
    tokens[:, :prompt] = tokens[::members, :prompt][groups]
    tokens[:, 0] = VOCABULARY.bos
    return torch.from_numpy(tokens), torch.from_numpy(groups)


def states(tokens, first=1):
    rows, columns = np.indices((len(tokens), LENGTH - first))
    return torch.from_numpy(rows.ravel()), torch.from_numpy(columns.ravel() + first)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_features_and_gradients_are_those_of_whole_sequences(kind, checkpointing):
    spec = KINDS[kind]() if callable(KINDS[kind]) else KINDS[kind]
    agent = make_agent(spec).double()
    agent.trunk.checkpointing = checkpointing
    tokens, groups = sequences()
    where = (tokens, torch.full((len(tokens),), LENGTH), *states(tokens))
    assert Layout.of(tokens, groups).firsts is not None
    weights = torch.rand(
        len(where[2]) + 2, agent.trunk.feature_size, generator=torch.Generator().manual_seed(0)
    ).double()

    found = []
    for given_groups in (None, groups):
        agent.zero_grad()
        (features,) = agent.features(*where, final_rows=torch.tensor([1, 7]), groups=given_groups)
        (features * weights).sum().backward()
        found.append((features, {name: p.grad for name, p in agent.named_parameters() if p.grad is not None}))
    (whole, expected), (shared, gradients) = found
    torch.testing.assert_close(shared, whole, rtol=1e-10, atol=1e-10)
    assert gradients.keys() == expected.keys() and any(grad.any() for grad in expected.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-9, msg=name)


def test_a_group_reads_its_prompt_once():
    tokens, groups = sequences(prompts=3, members=4, prompt=15)
    layout = Layout.of(tokens, groups)
    assert layout.shared >= 15  # the first tokens said may be equal by chance
    packed = layout.packed(lambda read, at: read[..., None].double())
    assert len(packed) == 3 * layout.shared + 12 * (LENGTH - layout.shared) < tokens.numel()


@pytest.mark.parametrize(
    "groups",
    [None, torch.arange(12), torch.zeros(12, dtype=torch.int64)],
    ids=["no groups", "each alone", "nothing in common"],
)
def test_sequences_without_a_common_beginning_are_read_whole(groups):
    tokens, _ = sequences(prompt=1)
    tokens[:, 0] = torch.arange(12) % VOCABULARY.size
    assert Layout.of(tokens, groups).firsts is None


def test_short_beginnings_are_not_worth_the_copies():
    tokens, groups = sequences(prompt=2)
    tokens[:, 2] = torch.arange(12) % VOCABULARY.num_actions
    assert Layout.of(tokens, groups).firsts is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 5), st.integers(1, LENGTH))
def test_every_token_stands_where_its_place_says(seed, prompts, members, prompt):
    tokens, groups = sequences(prompts, members, prompt, seed)
    layout = Layout.of(tokens, groups)
    packed = layout.packed(lambda read, at: read[..., None] * 100 + torch.arange(at.start, at.stop)[:, None])
    rows, columns = states(tokens, first=0)
    assert torch.equal(packed[layout.places(rows, columns), 0], tokens[rows, columns] * 100 + columns)
    if layout.firsts is not None:
        assert len(packed) <= 7 / 8 * tokens.numel()


def test_unequal_groups_share_what_spares_most():
    """Nine sequences share five tokens, two of them ten: 8·5 beats 1·10."""
    tokens, _ = sequences(prompts=1, members=9, prompt=5)
    tokens[:, 5] = torch.arange(9) % VOCABULARY.num_actions
    tokens[1, :10] = tokens[0, :10]
    tokens[8, 5] = 0
    assert Layout.of(tokens, torch.zeros(9, dtype=torch.int64)).shared == 5
