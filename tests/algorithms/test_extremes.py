"""Exponentials, logarithms and quotients at the ends of their ranges: values and gradients against closed forms."""

import math

import numpy as np
import pytest
import torch
from episode_cases import random_episodes

from tokengym.agents.sampling import action_log_probs, divergence, entropy, log_softmax
from tokengym.algorithms.data.replay import EpisodeReplay
from tokengym.algorithms.off_policy.sac import SAC
from tokengym.algorithms.on_policy.actor_critic import explained_variance
from tokengym.algorithms.parts.advantages import whiten
from tokengym.algorithms.parts.exponentials import bounded_exp, exp_excess, largest_exponent
from tokengym.algorithms.parts.kl import KLController, kl_estimate
from tokengym.algorithms.parts.losses import clipped_surrogate, value_errors
from tokengym.algorithms.parts.soft import soft_optimal_log_probs, soft_optimal_values

FAR = [-1e30, -1e4, -1e2, -89.0, -61.0, -1.0, 0.0, 1.0, 61.0, 88.0, 89.0, 1e2, 1e4, 1e30]


def value_and_gradient(function, at: float, dtype=torch.float32) -> tuple[float, float]:
    x = torch.tensor([at], dtype=dtype, requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert x.grad is not None
    return float(y.detach()), float(x.grad)


def exact_exp(x: float, dtype=torch.float32) -> float:
    return math.exp(min(x, largest_exponent(dtype)))


class TestClippedSurrogate:
    @pytest.mark.parametrize("log_ratio", FAR)
    @pytest.mark.parametrize("advantage", [-2.0, 0.0, 2.0])
    def test_value_and_gradient_are_those_of_the_closed_form(self, log_ratio, advantage):
        value, gradient = value_and_gradient(
            lambda x: clipped_surrogate(x, torch.tensor([advantage]), clip=0.2), log_ratio
        )
        ratio = exact_exp(log_ratio)
        clipped = min(max(ratio, 0.8), 1.2)
        moves = ratio * advantage <= clipped * advantage and advantage != 0
        assert value == pytest.approx(-min(ratio * advantage, clipped * advantage), rel=1e-5)
        assert gradient == pytest.approx(-ratio * advantage if moves else 0.0, rel=1e-5)

    def test_without_clipping_the_gradient_is_that_of_the_ratio(self):
        value, gradient = value_and_gradient(lambda x: clipped_surrogate(x, torch.ones(1), clip=math.inf), 80.0)
        assert value == gradient == pytest.approx(-math.exp(80.0), rel=1e-5)


class TestKlEstimates:
    @pytest.mark.parametrize("log_ratio", FAR)
    def test_k3_descends_towards_the_reference_from_both_sides(self, log_ratio):
        value, gradient = value_and_gradient(lambda r: kl_estimate(r, "k3"), log_ratio)
        ratio = exact_exp(-log_ratio)
        assert value == pytest.approx(ratio - 1 + log_ratio, rel=1e-5)
        assert gradient == pytest.approx(1 - ratio, rel=1e-5)

    @pytest.mark.parametrize("log_ratio", [-1e-3, 1e-5, 3e-4, -9e-3, 2e-2])
    def test_k3_of_nearly_equal_policies_is_not_rounding(self, log_ratio):
        exact = math.expm1(-log_ratio) + log_ratio if abs(log_ratio) > 1e-2 else log_ratio**2 / 2 - log_ratio**3 / 6
        value, gradient = value_and_gradient(lambda r: kl_estimate(r, "k3"), log_ratio)
        assert value == pytest.approx(exact, rel=1e-4)
        assert gradient == pytest.approx(-math.expm1(-log_ratio), rel=1e-5)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_k3_of_arrays_keeps_their_type_and_is_the_same(self, dtype):
        values = kl_estimate(np.array([-100.0, -70.0, 0.0, 1.0], dtype), "k3")
        largest = 88.0 if dtype == np.float32 else 100.0
        expected = [math.exp(largest) - 101, math.exp(70) - 71, 0.0, math.exp(-1)]
        assert values.dtype == dtype
        np.testing.assert_allclose(values, expected, rtol=1e-5)

    def test_double_precision_reaches_further(self):
        assert value_and_gradient(bounded_exp, 700.0, torch.float64) == (math.exp(700.0), math.exp(700.0))
        value, gradient = value_and_gradient(exp_excess, 1e4, torch.float64)
        assert math.isfinite(value) and gradient == pytest.approx(math.exp(709.0))

    def test_a_number_that_is_none_stays_one(self):
        assert math.isnan(float(bounded_exp(torch.tensor(math.nan))))
        assert math.isnan(float(exp_excess(torch.tensor(math.nan))))

    @pytest.mark.parametrize("kl", [0.0, 6.0, 1e30])
    def test_an_adaptive_coefficient_stays_positive_whatever_the_horizon(self, kl):
        controller = KLController(0.1, target=6.0, horizon=1)
        controller.update(kl, num_episodes=64)
        assert 0 < controller.coef < math.inf


class TestDistributions:
    @pytest.mark.parametrize("size", [1e2, 1e10, 1e30, 1e37])
    def test_one_token_that_outweighs_the_others_leaves_no_entropy(self, size):
        logits = torch.tensor([[size, 0.0, -size]], requires_grad=True)
        log_probs = log_softmax(logits, torch.tensor([[True, True, False]]))
        total = entropy(log_probs).sum()
        total.backward()
        assert logits.grad is not None
        assert float(total.detach()) == pytest.approx(0.0, abs=1e-30)
        assert torch.isfinite(log_probs).all() and logits.grad.abs().max() < 1e-30

    def test_logits_of_minus_infinity_are_forbidden_tokens(self):
        logits = torch.tensor([[0.0, 0.0, -torch.inf]])
        log_probs = log_softmax(logits)
        assert float(entropy(log_probs)) == pytest.approx(math.log(2))
        assert float(entropy(torch.log_softmax(logits, -1))) == pytest.approx(math.log(2))
        assert float(divergence(log_probs, log_softmax(torch.zeros(1, 3)))) == pytest.approx(math.log(3 / 2))
        assert float(divergence(torch.log_softmax(logits, -1), torch.log_softmax(logits, -1))) == 0.0

    def test_the_log_probability_of_a_forbidden_token_is_finite(self):
        logits = torch.tensor([[1e37, 0.0]])
        forbidden = action_log_probs(logits, torch.tensor([1]), torch.tensor([[True, False]]))
        assert float(forbidden) == torch.finfo(torch.float32).min

    @pytest.mark.parametrize("kl_coef", [1e-30, 1e-38, 1.0, 1e30])
    def test_the_soft_optimum_goes_to_the_best_legal_token_or_to_the_reference(self, kl_coef):
        q = torch.tensor([[1e10, 2e10, 9e10]])
        legal = torch.tensor([[math.log(0.25), math.log(0.75), -torch.inf]])
        value = float(soft_optimal_values(q, legal, kl_coef))
        probs = soft_optimal_log_probs(q, legal, kl_coef).exp()[0].tolist()
        greedy = kl_coef < 1e20
        assert value == pytest.approx(2e10 if greedy else 0.25 * 1e10 + 0.75 * 2e10, rel=1e-5 if greedy else math.inf)
        assert probs == pytest.approx([0.0, 1.0, 0.0] if greedy else [0.25, 0.75, 0.0])


class TestScales:
    @pytest.mark.parametrize("constant", [0.1, -3.3, 1e10, 1e30])
    @pytest.mark.parametrize("count", [1, 3, 1000])
    def test_values_that_do_not_vary_are_whitened_to_zero(self, constant, count):
        assert not whiten(np.full(count, constant)).any()
        np.testing.assert_allclose(whiten(np.full(count, constant), keep_mean=True), constant, rtol=1e-6)

    def test_no_values_are_whitened_to_none(self):
        assert len(whiten(np.zeros(0))) == 0

    def test_large_values_are_whitened_like_small_ones(self):
        np.testing.assert_allclose(whiten(np.array([-1e30, 1e30])), [-1, 1])

    def test_a_constant_target_explains_nothing(self):
        assert math.isnan(explained_variance(np.zeros(3, np.float32), np.full(3, 0.1, np.float32)))
        assert explained_variance(np.array([1e30, 2e30]), np.array([1e30, 2e30])) == 1.0

    @pytest.mark.parametrize("target", [-1e30, 0.0, 1e30])
    def test_a_value_far_from_its_target_is_pulled_with_its_whole_error(self, target):
        _, gradient = value_and_gradient(
            lambda v: value_errors(v, torch.tensor([target]), torch.zeros(1), clip=0.2), 3.0
        )
        assert gradient == pytest.approx(3.0 - target)

    @pytest.mark.parametrize("alpha", [0.0, 0.6, 60.0])
    def test_priorities_of_any_exponent_give_finite_weights(self, alpha):
        replay = EpisodeReplay(8, pad=0, prioritised="episode", alpha=alpha)
        replay.add(random_episodes(np.random.default_rng(0)))
        sample = replay.sample(4, beta=1.0)
        errors = np.zeros(sample.episodes.num_tokens)
        errors[0] = 1e30
        replay.prioritise(sample, errors)
        again = replay.sample(4, beta=1.0)
        assert np.isfinite(again.weights).all() and again.weights.max() <= 4


def test_a_tuned_temperature_whose_target_is_out_of_reach_stays_a_number():
    sac = SAC("Copy", entropy_target=1e6, alpha_learning_rate=100, learning_starts=0, rollout_tokens=8)
    sac.learn(24)
    assert 0 < sac.alpha < math.inf
