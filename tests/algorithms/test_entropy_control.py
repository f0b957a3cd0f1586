"""KL-Cov and Clip-Cov: which tokens they pick, what is done at them, and why: dH/dη = −Cov(log π, A)."""

import numpy as np
import pytest
import torch

from tokengym.algorithms import GRPO, PPO, ReinforcePP
from tokengym.algorithms.parts import between, highest, token_covariances
from tokengym.envs import TokenGymError
from tokengym.experiments.audit import LeafTree, all_episodes, table_agent

TREE = LeafTree.stopping(2, 3, [0.5, 0.0, 1.0, 0.2])
TWO = {"epochs": 1, "minibatches": 2}


def entropy_of(logits):
    log_probs = torch.log_softmax(logits, -1)
    return -(log_probs.exp() * log_probs).sum()


def test_a_natural_step_changes_the_entropy_by_minus_the_covariance():
    logits = torch.tensor([0.125, 0.125, 0.25, 0.5], dtype=torch.float64).log().requires_grad_()
    worth = torch.tensor([1.0, -2.0, 0.3, 0.7], dtype=torch.float64)
    probabilities = torch.softmax(logits, -1)
    (gradient,) = torch.autograd.grad((probabilities * worth).sum(), logits)
    fisher = (torch.diag(probabilities) - torch.outer(probabilities, probabilities)).detach()
    step = torch.linalg.pinv(fisher) @ gradient
    (slope,) = torch.autograd.grad(entropy_of(logits), logits)
    # As often as they are said: 1, 1, 2 and 4 of 8 tokens.
    said = torch.tensor([0, 1, 2, 2, 3, 3, 3, 3])
    log_probs = torch.log_softmax(logits, -1).detach()[said]
    covariance = token_covariances(log_probs, worth[said]).mean()
    torch.testing.assert_close(slope @ step, -covariance, rtol=0, atol=1e-12)
    assert covariance > 0.1


def test_what_is_picked():
    values = torch.tensor([0.1, 5.0, -3.0, 2.0, 1.5, 0.9])
    assert torch.nonzero(highest(values, 0.34)).squeeze(1).tolist() == [1, 3]
    assert torch.nonzero(highest(values, 1e-9)).squeeze(1).tolist() == [1], "at least one"
    assert not highest(values, 0.0).any()
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([between(values, 1.0, 4.0, 0.2, generator) for _ in range(200)])
    assert (draws.sum(1) == 1).all()
    assert torch.nonzero(draws.any(0)).squeeze(1).tolist() == [3, 4], "each of those within the bounds, at some time"
    assert torch.nonzero(between(values, 1.0, 4.0, 1.0, generator)).squeeze(1).tolist() == [3, 4]
    assert not between(values, 6.0, 7.0, 1.0, generator).any()


def wavering(tokens, lengths):
    """A policy that says 1 the more often the longer it has spoken."""
    one = 1 / (1 + np.exp(1.2 - 0.9 * np.asarray(lengths)))
    return np.stack([1 - one, one], axis=1)


def prepared(kind, moved=True, **given):
    """A method, one batch of all leaves with returns that differ, and its targets, the table moved since."""
    agent = table_agent(TREE, wavering, ("policy", "value") if kind is PPO else ("policy",))
    size = {"group_size": 4} if kind is GRPO else {"reward_scaling": False}
    algorithm = kind(TREE, agent, dtype="float64", entropy_coef=0.0, **size, **TWO, **given)
    episodes, _ = all_episodes(TREE, wavering)
    targets = algorithm.prepare(episodes)
    if moved:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            weight = agent.readouts["policy"].weight
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return algorithm, targets


def gradient(algorithm, targets, part=None):
    loss = algorithm.loss(targets.batch if part is None else part, targets).total
    return torch.autograd.grad(loss, algorithm.agent.readouts["policy"].weight)[0]


KINDS = (GRPO, PPO, ReinforcePP)


@pytest.mark.parametrize("kind", KINDS)
def test_kl_cov_adds_the_kl_to_the_old_policy_at_the_tokens_of_highest_covariance(kind):
    plain, with_it = prepared(kind), prepared(kind, entropy_control="kl-cov", covariance_share=0.4, covariance_kl=0.7)
    algorithm, targets = with_it
    covariances = token_covariances(targets.batch.log_probs, targets.advantages)
    best = torch.topk(covariances, int(0.4 * len(covariances))).indices
    assert sorted(best.tolist()) == torch.nonzero(targets.watched).squeeze(1).tolist()
    new = targets.batch.score(algorithm.agent).log_probs
    ratio = (new - targets.batch.log_probs).exp()
    added = (targets.weights * 0.7 * (ratio - 1 - ratio.log()))[best].sum()
    expected = torch.autograd.grad(added, algorithm.agent.readouts["policy"].weight)[0]
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(gradient(*with_it) - gradient(*plain), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_clip_cov_takes_the_gradient_of_the_tokens_that_it_draws(kind):
    plain, (algorithm, targets) = (
        prepared(kind),
        prepared(kind, entropy_control="clip-cov", covariance_share=1.0, covariance_low=0.05, covariance_high=100.0),
    )
    covariances = token_covariances(targets.batch.log_probs, targets.advantages)
    assert targets.watched.tolist() == ((covariances >= 0.05) & (covariances <= 100)).tolist()
    assert 0 < targets.watched.sum() < len(covariances)
    without = plain[1]
    without.weights[targets.watched] = 0.0
    torch.testing.assert_close(gradient(algorithm, targets), gradient(plain[0], without), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("control", ["kl-cov", "clip-cov"])
def test_a_share_of_nothing_is_the_plain_method_bit_for_bit(kind, control):
    found = []
    for given in ({}, {"entropy_control": control, "covariance_share": 0.0}):
        algorithm = kind("LengthBias", seed=3, rollout_tokens=16, **given).learn(64)
        found.append(torch.cat([p.detach().flatten() for p in algorithm.agent.parameters()]))
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("control", ["kl-cov", "clip-cov"])
def test_parts_of_a_batch_add_up(control):
    algorithm, targets = prepared(GRPO, entropy_control=control, covariance_share=0.5)
    parts = targets.batch.parts(8, "episode")
    assert len(parts) > 1
    total = sum(gradient(algorithm, targets, part) for part in parts)
    torch.testing.assert_close(total, gradient(algorithm, targets), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"entropy_control": "kl-cov", "epochs": 1, "minibatches": 1}, "entropy_control is 'kl-cov'"),
        ({"covariance_share": 0.1}, "covariance_share is 0.1"),
        ({"entropy_control": "clip-cov", "covariance_kl": 2.0}, "covariance_kl is 2"),
        ({"entropy_control": "kl-cov", "covariance_low": 2.0}, "covariance_low is 2"),
        ({"entropy_control": "clip-cov", "covariance_low": 6.0}, "covariance_low is 6"),
    ],
)
def test_what_would_do_nothing_is_refused(given, name):
    with pytest.raises(TokenGymError, match=name):
        GRPO("LengthBias", **given)
