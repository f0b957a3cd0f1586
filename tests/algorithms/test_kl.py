import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.algorithms.kl import KLController, kl_estimate
from tokengym.algorithms.losses import divergence
from tokengym.envs.errors import TokenGymError


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


def test_a_fixed_controller_stays():
    controller = KLController(0.05)
    controller.update(100.0, 1000)
    assert controller.coef == 0.05
