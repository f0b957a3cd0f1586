"""The losses of comparisons, against their equations worked out by hand and against one another."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.algorithms.parts.preference_losses import (
    PAIR_LOSSES,
    Completions,
    PairLossOptions,
    log_odds,
    ranking_hinges,
)

LOG_PROBS = st.floats(-20, -0.05)
BETAS = st.floats(0.01, 3)


def one(log_prob, length=1, reference=None):
    """What is thought of one completion, in float64."""
    given_reference = None if reference is None else torch.tensor([reference], dtype=torch.float64)
    return Completions(torch.tensor([log_prob], dtype=torch.float64), torch.tensor([length]), given_reference)


def loss(name, better, worse, **options):
    return float(PAIR_LOSSES[name](better, worse, PairLossOptions(**{"beta": 0.1, **options})))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@settings(max_examples=50, deadline=None)
@given(LOG_PROBS, LOG_PROBS, LOG_PROBS, LOG_PROBS, st.integers(1, 9), st.integers(1, 9), BETAS, st.floats(0.05, 0.45))
def test_every_loss_is_its_papers_equation(w, other, w_ref, l_ref, w_length, l_length, beta, share):
    better, worse = one(w, w_length, w_ref), one(other, l_length, l_ref)
    h = (w - w_ref) - (other - l_ref)
    p_w, p_l = w / w_length, other / l_length
    assert loss("dpo", better, worse, beta=beta) == pytest.approx(-math.log(sigmoid(beta * h)))
    smoothed = -(1 - share) * math.log(sigmoid(beta * h)) - share * math.log(sigmoid(-beta * h))
    assert loss("cdpo", better, worse, beta=beta, label_smoothing=share) == pytest.approx(smoothed)
    assert loss("ipo", better, worse, beta=beta) == pytest.approx((h - 1 / (2 * beta)) ** 2)
    led = sigmoid(beta * (p_w - p_l) - share)
    assert loss("simpo", better, worse, beta=beta, target_margin=share) == pytest.approx(-math.log(led))
    z = 10 * share
    both = 1.5 * (1 - sigmoid(beta * (w - w_ref - z))) + 0.5 * (1 - sigmoid(beta * (z - (other - l_ref))))
    told = {"better_weight": 1.5, "worse_weight": 0.5, "reference_point": z}
    assert loss("kto", better, worse, beta=beta, **told) == pytest.approx(both)
    odds = [math.exp(p) / (1 - math.exp(p)) for p in (p_w, p_l)]
    expected = -p_w - beta * math.log(sigmoid(math.log(odds[0] / odds[1])))
    assert loss("orpo", better, worse, beta=beta) == pytest.approx(expected, rel=1e-6)
    assert float(ranking_hinges(better, worse)) == pytest.approx(max(0.0, p_l - p_w))


@pytest.mark.parametrize("name", ["dpo", "cdpo", "ipo", "kto"])
def test_what_compares_with_a_reference_sees_ratios_alone(name):
    shifted = loss(name, one(-3, 2, -1), one(-7, 5, -2)), loss(name, one(-5, 3, -3), one(-6, 1, -1))
    assert shifted[0] == pytest.approx(shifted[1])


@pytest.mark.parametrize("name", ["simpo", "orpo"])
def test_what_compares_with_no_reference_needs_none(name):
    assert loss(name, one(-3, 2), one(-7, 5)) == loss(name, one(-3, 2, -1), one(-7, 5, -9))


def test_special_cases_equal_one_another():
    better, worse = one(-3.0, 4, -2.0), one(-5.0, 4, -1.0)
    assert loss("cdpo", better, worse, label_smoothing=0.0) == loss("dpo", better, worse)
    flat = one(-3.0, 4, 0.0), one(-5.0, 4, 0.0)
    assert loss("simpo", *flat, beta=0.4) == pytest.approx(loss("dpo", *flat, beta=0.1)), "equal lengths, no reference"


@pytest.mark.parametrize(("share", "beta"), [(0.1, 0.1), (0.3, 2.0)])
def test_smoothed_labels_balance_where_they_are_right(share, beta):
    h = math.log((1 - share) / share) / beta
    w = torch.tensor([h], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    options = PairLossOptions(beta=beta, label_smoothing=share)
    PAIR_LOSSES["cdpo"](Completions(w, torch.ones(1), zero), one(0.0, 1, 0.0), options).sum().backward()
    assert w.grad is not None and abs(float(w.grad)) < 1e-12


def test_the_gradients_are_those_of_the_papers():
    w, lost = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (-2.0, -3.0))
    reference = torch.tensor([-2.5], dtype=torch.float64)
    lengths = torch.tensor([2])

    def gradients(name, **options):
        total = PAIR_LOSSES[name](
            Completions(w, lengths, reference), Completions(lost, lengths, reference), PairLossOptions(**options)
        ).sum()
        return [float(g) for g in torch.autograd.grad(total, [w, lost])]

    pull = 0.5 * sigmoid(-0.5 * 1.0)  # β·σ(r̂_l − r̂_w), Rafailov et al. below equation 7
    assert gradients("dpo", beta=0.5) == pytest.approx([-pull, pull])
    gained = sigmoid(0.5 * (0.5 - 0.2))
    avoided = sigmoid(0.5 * (0.2 + 0.5))
    expected = [-0.5 * gained * (1 - gained), 0.5 * avoided * (1 - avoided)]
    assert gradients("kto", beta=0.5, reference_point=0.2) == pytest.approx(expected)
    # Hong et al., equations 8 to 10, in log P: δ·h with δ = 1/(1 + odds_w/odds_l), h = 1/(1 − P).
    p_w, p_l = math.exp(-1.0), math.exp(-1.5)
    delta = 1 / (1 + (p_w / (1 - p_w)) / (p_l / (1 - p_l)))
    expected = [-0.5 - 0.1 * delta / (1 - p_w) / 2, 0.1 * delta / (1 - p_l) / 2]
    assert gradients("orpo", beta=0.1) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_losses_and_gradients_are_finite_however_far_two_policies_are_apart(name, dtype):
    for said in (0.0, -1e-8, -1e4):
        for other in (0.0, -1e-8, -1e4):
            w, lost = (torch.tensor([x], dtype=dtype, requires_grad=True) for x in (said, other))
            reference, lengths = torch.full((1,), -3.0, dtype=dtype), torch.tensor([3])
            options = PairLossOptions(beta=2.5, label_smoothing=0.1, target_margin=1.0)
            said_of = Completions(w, lengths, reference), Completions(lost, lengths, reference)
            total = PAIR_LOSSES[name](*said_of, options)
            gradients = torch.autograd.grad(total.sum(), [w, lost])
            assert torch.isfinite(total).all() and all(torch.isfinite(g).all() for g in gradients)


def test_log_odds_are_exact_where_probabilities_are_near_either_end():
    p = torch.tensor([1e-12, 0.25, 0.5, 1 - 1e-9], dtype=torch.float64)
    torch.testing.assert_close(log_odds(torch.log(p)), torch.logit(p), rtol=1e-6, atol=0)


def test_completions_can_be_picked_more_than_once():
    said = Completions(torch.tensor([-1.0, -4.0]), torch.tensor([1, 2]), torch.tensor([-2.0, -2.0]))
    picked = said[torch.tensor([1, 0, 1])]
    assert picked.log_ratios.tolist() == [-2.0, 1.0, -2.0] and picked.means.tolist() == [-2.0, -1.0, -2.0]
