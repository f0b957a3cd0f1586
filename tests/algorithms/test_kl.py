import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.agents import build_agent
from tokengym.agents.sampling import divergence
from tokengym.algorithms import DQN, RLOO, PathConsistency
from tokengym.algorithms.parts.kl import KLController, kl_estimate, kl_of_tokens
from tokengym.envs import make_task
from tokengym.envs.checking.errors import TokenGymError


def two_distributions(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, size, generator=generator, dtype=torch.float64)
    return torch.log_softmax(logits, -1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_k1_and_k3_have_the_kl_as_their_mean_and_k3_is_never_negative(seed):
    policy, reference = two_distributions(seed)
    exact = divergence(policy[None], reference[None])[0]
    for estimator in ("k1", "k3"):
        assert torch.allclose((policy.exp() * kl_estimate(policy - reference, estimator)).sum(), exact, atol=1e-12)
    assert (kl_estimate(policy - reference, "k3") >= 0).all()


def expected_loss_gradient(estimator, seed=0):
    logits = two_distributions(seed)[0].clone().requires_grad_()
    policy, reference = torch.log_softmax(logits, -1), two_distributions(seed)[1]
    estimates = kl_estimate(policy - reference, estimator)
    return torch.autograd.grad((policy.detach().exp() * estimates).sum(), logits)[0]


def exact_gradient(reverse, seed=0):
    logits = two_distributions(seed)[0].clone().requires_grad_()
    policy, reference = torch.log_softmax(logits, -1), two_distributions(seed)[1]
    kl = (reference.exp() * (reference - policy)).sum() if reverse else (policy.exp() * (policy - reference)).sum()
    return torch.autograd.grad(kl, logits)[0]


def test_as_a_loss_k2_has_the_gradient_of_the_kl_k3_of_the_reverse_one_and_k1_none():
    assert torch.allclose(expected_loss_gradient("k2"), exact_gradient(reverse=False), atol=1e-12)
    assert torch.allclose(expected_loss_gradient("k3"), exact_gradient(reverse=True), atol=1e-12)
    assert torch.allclose(expected_loss_gradient("k1"), torch.zeros(6, dtype=torch.float64), atol=1e-12)
    assert not torch.allclose(exact_gradient(reverse=False), exact_gradient(reverse=True), atol=1e-2)


def test_estimates_are_equal_for_arrays_and_tensors_and_stay_finite():
    ratios = np.array([-100.0, -1.0, 0.0, 2.0])
    for estimator in ("k1", "k2", "k3"):
        estimates = kl_estimate(ratios, estimator)
        np.testing.assert_allclose(estimates, kl_estimate(torch.as_tensor(ratios), estimator).numpy())
        assert np.isfinite(estimates).all() and estimates[2] == 0


def test_an_unknown_estimator_is_refused():
    with pytest.raises(TokenGymError, match="k4"):
        kl_estimate(np.zeros(1), "k4")


def test_the_adaptive_controller_follows_zieglers_rule():
    controller = KLController(0.15, target=6.0, horizon=10_000)
    controller.update(6.6, 512)
    assert controller.coef == pytest.approx(0.15 * (1 + 0.1 * 512 / 10_000))
    controller.update(60.0, 1000)
    assert controller.coef == pytest.approx(0.15 * (1 + 0.1 * 512 / 10_000) * (1 + 0.2 * 0.1))
    before = controller.coef
    controller.update(0.0, 1000)
    assert controller.coef == pytest.approx(before * (1 - 0.2 * 0.1))


def test_a_reference_speaks_at_the_temperature_of_the_policy():
    task = make_task("KeywordCover")

    def built(temperature):
        return build_agent("table", task.vocabulary, task.max_length, temperature=temperature)

    with pytest.raises(TokenGymError, match=r"temperature is 2 in the agent and 1 in the reference.*temperature=2\)"):
        RLOO(task, "table", temperature=2.0, kl_coef=0.1, reference=built(1.0))
    with pytest.raises(TokenGymError, match=r"temperature is 1 in the agent and 2 in the reference"):
        PathConsistency(task, "table", reference=built(2.0))
    for algorithm in (
        RLOO(task, "table", temperature=2.0, kl_coef=0.1, reference=built(2.0)),
        RLOO(task, "table", temperature=2.0, kl_budget=5.0),
    ):
        assert algorithm.update(algorithm.collect())["objective/kl"] == pytest.approx(0, abs=1e-6)
    DQN(task, "mlp-tiny", exploration="reference", reference=built(2.0))


def test_a_fixed_controller_stays():
    controller = KLController(0.05)
    controller.update(100.0, 1000)
    assert controller.coef == 0.05


class SmallTree:
    """All texts of three tokens out of three: log-probabilities of a policy with a row of logits for each prefix."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        shapes = [(3**depth, 3) for depth in range(3)]
        self.logits = [
            torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes
        ]
        self.reference = [
            torch.log_softmax(torch.randn(s, generator=generator, dtype=torch.float64), -1) for s in shapes
        ]
        self.reward = (torch.arange(27) == 5).double()  # one leaf pays

    def steps(self, rows):
        """Each leaf's log-probabilities token by token, (27, 3)."""
        leaf = torch.arange(27)
        return torch.stack([rows[t][leaf // 3 ** (3 - t), leaf // 3 ** (2 - t) % 3] for t in range(3)], -1)

    def policy(self):
        return self.steps([torch.log_softmax(one, -1) for one in self.logits])

    def ratios(self):
        return self.policy() - self.steps(self.reference)

    def gradient(self, value):
        return torch.cat([one.flatten() for one in torch.autograd.grad(value, self.logits)])

    def expected_loss_gradient(self, losses):
        """Of a loss of sampled texts: the probabilities of the samples carry no gradient."""
        return self.gradient((self.policy().sum(-1).exp().detach() * losses).sum())

    def kl(self):
        return (self.policy().sum(-1).exp() * self.ratios().sum(-1)).sum()


def test_over_several_tokens_the_sum_of_k2_has_not_the_gradient_of_the_kl_and_the_whole_texts_k2_has():
    tree = SmallTree()
    exact = tree.gradient(tree.kl())
    whole = tree.expected_loss_gradient(kl_estimate(tree.ratios().sum(-1), "k2"))
    summed = tree.expected_loss_gradient(kl_estimate(tree.ratios(), "k2").sum(-1))
    torch.testing.assert_close(whole, exact, atol=1e-12, rtol=0)
    assert (summed - exact).abs().max() > 0.1


def test_the_sum_of_k2_has_the_gradient_of_each_states_kl_with_the_states_as_they_come():
    tree = SmallTree()
    reach, partial = torch.ones(1, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for logits, reference in zip(tree.logits, tree.reference, strict=True):
        log_policy = torch.log_softmax(logits, -1)
        partial = partial + (reach * (log_policy.exp() * (log_policy - reference)).sum(-1)).sum()
        reach = (reach[:, None] * log_policy.exp().detach()).flatten()
    summed = tree.expected_loss_gradient(kl_estimate(tree.ratios(), "k2").sum(-1))
    torch.testing.assert_close(summed, tree.gradient(partial), atol=1e-12, rtol=0)


def test_at_the_regularised_optimum_of_a_sparse_reward_k1_in_the_reward_rests_and_the_sum_of_k2_pulls_away():
    tree, beta = SmallTree(), 0.2
    # π* ∝ π_ref e^{R/β}: logits of a prefix are log π_ref + log of the mean of e^{R/β} over the leaves below a token.
    values = (tree.reward / beta).exp()
    for depth in (2, 1, 0):
        values = values.reshape(-1, 3)
        tree.logits[depth] = (tree.reference[depth] + values.log()).requires_grad_()
        values = (tree.reference[depth].exp() * values).sum(-1)
    paid = tree.gradient((tree.policy().sum(-1).exp() * tree.reward).sum())
    in_the_reward = paid - beta * tree.gradient(tree.kl())
    whole = paid - beta * tree.expected_loss_gradient(kl_estimate(tree.ratios().sum(-1), "k2"))
    summed = paid - beta * tree.expected_loss_gradient(kl_estimate(tree.ratios(), "k2").sum(-1))
    assert in_the_reward.abs().max() < 1e-12 and whole.abs().max() < 1e-12
    assert summed.abs().max() > 0.01


def test_a_whole_episodes_estimate_stands_at_its_last_token():
    ratios = torch.tensor([1.0, 2.0, -0.5, 4.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    episode = torch.tensor([3, 3, 5, 8, 8, 8])
    estimates = kl_of_tokens(ratios, "k2", "sequence", episode=episode)
    assert estimates.tolist() == [0, 4.5, 0.125, 0, 0, 18]
    (gradient,) = torch.autograd.grad(estimates.sum(), ratios)
    assert gradient.tolist() == [3, 3, -0.5, 6, 6, 6]  # of ½(Σ r)²: the sum, at each of its terms
    assert torch.equal(kl_of_tokens(ratios, "k3"), kl_estimate(ratios, "k3"))
    assert kl_of_tokens(ratios, "exact", exact=episode.double()).tolist() == episode.tolist()
