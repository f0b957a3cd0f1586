"""Scores in chunks equal those of whole distributions, in value and gradient, for every kind of model."""

import pytest
import torch
from agent_cases import LENGTH, VOCABULARY, make_agent, random_tokens, tiny_neox
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.agents.chunks import chunks
from tokengym.agents.masks import PackedMasks
from tokengym.agents.sampling import divergence, entropy, log_softmax
from tokengym.agents.scoring import score

KINDS = {
    "gpt2-tiny": "gpt2-tiny",
    "gru-tiny": "gru-tiny",
    "mlp-tiny": "mlp-tiny",
    "table": "table",
    "own head": tiny_neox,
}


def states(rows=5, seed=0):
    """Every state of some sequences, what was said there, and masks that allow it."""
    tokens = torch.from_numpy(random_tokens(rows, seed=seed)).long() % VOCABULARY.num_actions
    tokens[:, 0] = VOCABULARY.bos
    row, column = (
        index.flatten() for index in torch.meshgrid(torch.arange(rows), torch.arange(1, LENGTH), indexing="ij")
    )
    actions = tokens[row, column]
    masks = torch.rand(len(row), VOCABULARY.num_actions, generator=torch.Generator().manual_seed(seed)) < 0.6
    masks[torch.arange(len(row)), actions] = True
    return (tokens, torch.full((rows,), LENGTH), row, column), actions, masks


def gradients(agent, total):
    agent.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in agent.named_parameters() if p.grad is not None}


def by_whole_distributions(agent, where, actions, masks, reference):
    log_probs = log_softmax(agent.evaluate(*where, heads=("policy",)).logits, masks)
    with torch.no_grad():
        others = log_softmax(reference.evaluate(*where, heads=("policy",)).logits, masks)
    return log_probs.gather(1, actions[:, None])[:, 0], entropy(log_probs), divergence(log_probs, others)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_in_chunks_are_those_of_whole_distributions(kind, temperature, masked):
    spec = KINDS[kind]() if callable(KINDS[kind]) else KINDS[kind]
    agent = make_agent(spec, temperature=temperature).double()
    reference = make_agent(KINDS[kind]() if callable(KINDS[kind]) else KINDS[kind]).double()
    where, actions, masks = states()
    agent.evaluate(*where), reference.evaluate(*where)  # a table numbers what it meets with gradients
    weights = torch.randn(3, len(actions), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = by_whole_distributions(agent, where, actions, masks if masked else None, reference)
    wanted = gradients(agent, sum((w * e).sum() for w, e in zip(weights, expected, strict=True)))

    packed = PackedMasks.pack(masks.numpy()) if masked else None
    for chunk_bytes in (None, 10 * 4 * VOCABULARY.num_actions, 1):
        seen = agent.score(
            *where, actions, packed, reference=reference.reference_logits(*where), chunk_bytes=chunk_bytes
        )
        for values, right in zip((seen.log_probs, seen.entropy, seen.kl), expected, strict=True):
            torch.testing.assert_close(values, right, atol=1e-12, rtol=1e-12)
        total = sum((w * v).sum() for w, v in zip(weights, (seen.log_probs, seen.entropy, seen.kl), strict=True))
        found = gradients(agent, total)
        assert found.keys() == wanted.keys()
        for name in wanted:
            assert (found[name] - wanted[name]).norm() <= 1e-12 * (1 + wanted[name].norm()), name


def test_values_come_from_the_same_pass():
    agent = make_agent("gpt2-tiny")
    where, actions, _ = states()
    right = agent.evaluate(*where, final_rows=torch.tensor([1, 3]))
    seen = agent.score(*where, actions, final_rows=torch.tensor([1, 3]), heads=("policy", "value"), chunk_bytes=1)
    assert torch.equal(seen.values, right.values) and torch.equal(seen.final.values, right.final.values)


def test_half_precision_is_summed_in_float32():
    agent = make_agent("gpt2-tiny").bfloat16()
    where, actions, _ = states()
    for chunk_bytes in (None, 1):
        scores = agent.score(*where, actions, chunk_bytes=chunk_bytes)
        assert scores.log_probs.dtype == scores.entropy.dtype == torch.float32
        scores.log_probs.sum().backward()


def test_a_token_given_up_keeps_values_and_gradients_finite():
    logits = torch.tensor([[0.0, -1e38, 3e38], [0.0, -200.0, 5.0]], requires_grad=True)
    reference = torch.tensor([[1e38, 0.0, -1e38], [0.0, -300.0, 1.0]])
    scores = score(lambda x: x, logits, torch.tensor([1, 1]), 3, None, lambda part: reference[part], chunk_bytes=1)
    assert torch.isfinite(scores.log_probs).all() and torch.isfinite(scores.entropy).all()
    (scores.log_probs[1] + scores.entropy[1] + scores.kl[1]).backward()
    assert torch.isfinite(logits.grad).all()


def test_one_chunk_is_projected_once_and_several_twice():
    calls = []
    features = torch.randn(6, 4, requires_grad=True)

    def project(x):
        calls.append(len(x))
        return x

    for chunk_bytes, expected in ((None, [6]), (32, [2, 2, 2] * 2)):
        calls.clear()
        score(project, features, torch.zeros(6, dtype=torch.int64), 4, chunk_bytes=chunk_bytes).entropy.sum().backward()
        assert calls == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.integers(1, 2000), st.sampled_from([2, 4, 8]), st.integers(1, 10_000))
def test_chunks_cover_every_state_once_within_their_bytes(count, width, itemsize, limit):
    parts = chunks(count, width, itemsize, limit)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert all(part.stop - part.start <= max(1, limit // (width * itemsize)) for part in parts)
