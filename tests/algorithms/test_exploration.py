"""Exploring behaviours: what is recorded is what was drawn from, with a reference beside, top-p and masks."""

import numpy as np
import pytest
import torch
from off_policy_cases import QUICK

from tokengym.agents import build_agent
from tokengym.agents.decoding import nucleus
from tokengym.algorithms import DQN, SAC
from tokengym.algorithms.configs import DQNConfig, SACConfig
from tokengym.envs import TokenGymError, make_task

SMALL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
HALF = {"epsilon": 0.5, "final_epsilon": 0.5, "learning_starts": 0}
WAYS = {
    "dqn": (DQN, {"kl_coef": 0.2}),
    "dqn, no KL": (DQN, {"tau": 0.2, "head_free": True}),
    "sac": (SAC, {"kl_coef": 0.2}),
    "sac, no KL": (SAC, {}),
}


def seen_by(episodes):
    """What was known before each of the agent's tokens, and what it said."""
    flat = episodes.flat
    known = np.arange(episodes.tokens.shape[1]) < flat.column[:, None]
    return np.where(known, episodes.tokens[flat.row], episodes.pad).astype(np.int32), flat.column, flat.action


@pytest.mark.parametrize("top_p", [1.0, 0.6])
@pytest.mark.parametrize("env", ["Copy", "Countdown"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_recorded_is_the_mixture_with_the_reference(way, env, top_p):
    kind, config = WAYS[way]
    masked = env == "Countdown"
    task = make_task(env)
    reference = build_agent(SMALL, task.vocabulary, task.max_length, seed=7)
    algorithm = kind(
        task, SMALL, **{**QUICK, **HALF, **config}, exploration="reference", top_p=top_p, action_masks=masked,
        reference=reference,
    )  # fmt: skip
    episodes = algorithm.collect()
    tokens, lengths, actions = seen_by(episodes)
    masks = None if not masked else episodes.action_masks.unpack().numpy()

    def share(agent):
        probs = torch.from_numpy(agent.probabilities(tokens, lengths, masks, heads=("policy",)))
        return nucleus(probs, top_p).numpy()

    expected = 0.5 * share(algorithm.agent) + 0.5 * share(reference)
    chosen = expected[np.arange(len(actions)), actions]
    np.testing.assert_allclose(episodes.flat.log_prob, np.log(chosen), atol=2e-4)
    np.testing.assert_allclose(algorithm.behaviour.probabilities(tokens, lengths, masks), expected, atol=1e-5)
    if masks is not None:
        assert bool(masks[np.arange(len(actions)), actions].all())


def test_a_reference_that_only_explores_is_no_part_of_what_is_learnt():
    """The values of a draw are those without it, and no KL is logged."""
    task = make_task("Copy")
    plain = SAC(task, "table", **{**QUICK, **HALF})
    exploring = SAC(task, "table", **{**QUICK, **HALF}, exploration="reference")
    plain.replay.add(plain.collect())
    draw = plain.draw()
    ours, theirs = exploring.prepare(draw), plain.prepare(draw)
    assert torch.equal(ours.columns["targets"], theirs.columns["targets"])
    assert "kl" not in ours.columns and ours.references == [None]
    assert "objective/kl" not in exploring.after_step(ours)


def naive_nucleus(probs, top_p):
    kept = np.zeros_like(probs)
    for row, said in enumerate(probs):
        before = 0.0
        for token in sorted(range(len(said)), key=lambda token: -said[token]):
            if before >= top_p:
                break
            kept[row, token] = said[token]
            before += said[token]
    return kept / kept.sum(1, keepdims=True)


@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.75, 0.999, 1.0])
def test_the_nucleus_is_the_likeliest_tokens_of_a_share(top_p):
    generator = torch.Generator().manual_seed(0)
    probs = torch.softmax(3 * torch.randn(50, 7, generator=generator, dtype=torch.float64), -1)
    np.testing.assert_allclose(nucleus(probs, top_p).numpy(), naive_nucleus(probs.numpy(), top_p), atol=1e-15)
    sure = torch.tensor([[0.0, 1.0, 0.0]])
    assert nucleus(sure, top_p).tolist() == [[0.0, 1.0, 0.0]]


def test_uniform_tokens_are_drawn_from_all_while_the_policy_keeps_to_its_nucleus():
    algorithm = SAC("Copy", "table", **{**QUICK, **HALF}, top_p=0.5)
    logits = torch.tensor([[5.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    probs = algorithm.exploring.probabilities(type("Output", (), {"logits": logits})(), None)
    assert probs[0].tolist() == pytest.approx([0.5 + 0.5 / 8] + [0.5 / 8] * 7)


def test_a_behaviour_goes_on_from_its_state():
    config = {**QUICK, **HALF, "exploration": "reference", "kl_coef": 0.2}
    one, other = (DQN("Copy", "table", seed=3, **config) for _ in range(2))
    one.collect()
    other.behaviour.load_state(*one.behaviour.state())
    other.collector.load_state(*one.collector.state())
    assert np.array_equal(one.collect().tokens, other.collect().tokens)
    evaluated = one.behaviour.seeded(1).probabilities(np.full((1, 4), one.task.vocabulary.bos, np.int32), np.array([1]))
    assert evaluated.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "config", "field"),
    [
        (DQNConfig, {"exploration": "reference", "kl_reference": "uniform"}, "exploration"),
        (DQNConfig, {"exploration": "reference", "exploration_temperature": 0.5}, "exploration_temperature"),
        (DQNConfig, {"top_p": 0.9}, "top_p"),
        (SACConfig, {"top_p": 0.0}, "top_p"),
    ],
)
def test_what_does_nothing_or_contradicts_is_refused(kind, config, field):
    with pytest.raises(TokenGymError, match=field):
        kind(**config)


def test_a_reference_that_says_nothing_is_refused_at_the_door():
    with pytest.raises(TokenGymError, match="no policy that could be drawn from"):
        DQN("Copy", exploration="reference")
