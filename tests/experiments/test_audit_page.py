"""The page of the audit says what a fresh run finds, and TRL's own losses are what they are known to be."""

import json
from pathlib import Path

import pytest
import torch

from tokengym.experiments.audit import LeafTree, Listing, Objective, Sampled, expected
from tokengym.experiments.audit.broken import rloo
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.ends import optimum_logits
from tokengym.experiments.audit.pages import makers, table_line, written
from tokengym.experiments.audit.trl import available, dpo_loss, group_loss, kto_loss, reference_free_loss

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROWS = json.loads((DOCS / "audit.json").read_text(encoding="utf-8"))
needs_trl = pytest.mark.skipif(not available, reason="TRL is not installed")
TREE = Listing.of(LeafTree({"0": 1.0, "10": 0.0, "11": 3.0}))
POLICY = TREE.moved(0.5, 3)
FRESH = Sampled(POLICY)
STALE = Sampled(POLICY, behaviour=TREE.moved(0.3, 1, POLICY))


def test_the_page_is_written_from_its_numbers():
    assert (DOCS / "audit.md").read_text(encoding="utf-8") == written(ROWS)


def test_the_page_holds_at_least_35_losses_and_every_verdict_on_the_specimens_is_right():
    assert len(ROWS) >= 35
    assert len({(row["origin"], row["name"]) for row in ROWS}) == len(ROWS)
    by_origin = {origin: [row for row in ROWS if row["origin"] == origin] for origin in ("TRL", "right", "broken")}
    assert len(by_origin["TRL"]) >= 35 and len(by_origin["broken"]) >= 12
    assert all(row["right"] for row in by_origin["right"])
    assert not any(row["right"] or row["leaves"] > 8 for row in by_origin["broken"])


FAST = (
    ("broken", "own_sample_in_baseline"),
    ("right", "trajectory_balance"),
    ("tokengym", "reinforce(baseline=value)"),
)


@pytest.mark.parametrize("place", FAST)
def test_rows_agree_with_a_fresh_run(place):
    row = next(row for row in ROWS if (row["origin"], row["name"]) == place)
    assert table_line(makers()[place]()) == table_line(row)


@needs_trl
def test_a_row_of_trl_agrees_with_a_fresh_run():
    place = ("TRL", "CPOTrainer(loss_type=simpo, cpo_alpha=0.0)")
    row = next(row for row in ROWS if (row["origin"], row["name"]) == place)
    assert table_line(makers()[place]()) == table_line(row)


def said(log_probs, mask):
    return torch.where(mask, log_probs, 0.0).sum(1)


def gradients(loss, sampled, size=4):
    return expected(loss, TREE, sampled, size).gradient


@needs_trl
@pytest.mark.parametrize("sampled", [FRESH, STALE], ids=["fresh", "stale"])
def test_grpo_of_trl_is_grpo(sampled):
    def clipped(log_probs, old_log_probs, rewards, mask):
        deviation = ((rewards - rewards.mean()).square().sum() / (len(rewards) - 1)).sqrt()
        lead = ((rewards - rewards.mean()) / (deviation + 1e-4))[:, None]
        ratio = torch.exp(torch.where(mask, log_probs - old_log_probs, 0.0))
        return -(said(torch.minimum(ratio * lead, ratio.clamp(0.8, 1.2) * lead), mask) / mask.sum(1)).mean()

    torch.testing.assert_close(
        gradients(group_loss("GRPO", loss_type="grpo"), sampled), gradients(clipped, sampled), atol=1e-9, rtol=0
    )


@needs_trl
def test_rloo_of_trl_is_unbiased_and_with_kl_the_regularised_return():
    torch.testing.assert_close(
        gradients(group_loss("RLOO", beta=0.0), FRESH), gradients(rloo, FRESH), atol=1e-12, rtol=0
    )
    found = compare(-gradients(group_loss("RLOO", beta=0.5), FRESH), Objective("kl_return", 0.5).gradient(TREE, POLICY))
    assert found.bias < 1e-10


@needs_trl
def test_what_trl_names_after_dr_grpo_still_divides_by_the_deviation_unless_told_not_to():
    right = Objective().gradient(TREE, POLICY)
    as_named = compare(-gradients(group_loss("GRPO", loss_type="dr_grpo", longest=2), FRESH), right)
    plain = compare(-gradients(group_loss("GRPO", loss_type="dr_grpo", scale_rewards="none", longest=2), FRESH), right)
    assert plain.error < 1e-10 and plain.scale == pytest.approx(0.75 / 2)
    assert as_named.error > 0.01


@needs_trl
def test_the_whole_episodes_weight_alone_mends_what_another_sampler_drew():
    """TRL's correction for its sampler: token weights are biased, whole ones are not until they are truncated."""

    def bias(mode, most):
        options = {"use_vllm": True, "vllm_importance_sampling_mode": mode, "vllm_importance_sampling_clip_max": most}
        loss = group_loss("GRPO", loss_type="dr_grpo", scale_rewards="none", **options)
        sampled = Sampled(POLICY, behaviour=TREE.moved(0.3, 1, POLICY), old=POLICY)
        return compare(-gradients(loss, sampled, 3), Objective().gradient(TREE, POLICY), None).error

    assert bias("sequence_truncate", 1e9) < 1e-10
    assert bias("token_truncate", 1e9) > 1e-3
    assert bias("sequence_truncate", 1.1) > 1e-3 and bias("sequence_mask", 1.1) > 1e-3


@needs_trl
def test_cispo_of_trl_has_a_fifth_of_the_gradient_by_default():
    small, whole = (
        gradients(group_loss("GRPO", loss_type="cispo", **options), FRESH) for options in ({}, {"epsilon_high": 5.0})
    )
    torch.testing.assert_close(5 * small, whole, atol=1e-12, rtol=0)


@needs_trl
@pytest.mark.parametrize(("kind", "rests"), [("sigmoid", True), ("robust", False), ("hinge", False), ("ipo", False)])
def test_where_dpo_of_trl_rests(kind, rests):
    """On exact chances of being preferred, DPO's gradient vanishes at π_ref·e^(R/β)/Z."""
    loss = dpo_loss(kind, beta=0.5, **({"label_smoothing": 0.1} if kind == "robust" else {}))
    at = Sampled(optimum_logits(Objective("kl_return", 0.5), TREE), behaviour=TREE.uniform())
    norm = float(gradients(loss, at, 2).norm())
    assert norm < 1e-12 if rests else norm > 1e-4


@needs_trl
@pytest.mark.parametrize("make", [kto_loss, lambda: reference_free_loss("CPO"), lambda: reference_free_loss("ORPO")])
def test_the_other_preference_losses_of_trl_run_and_climb_the_return_at_first(make):
    right = Objective().gradient(TREE, TREE.uniform())
    found = compare(-gradients(make(), Sampled(TREE.uniform()), 2), right)
    assert found.cosine > 0.2  # CPO also imitates, short answers most
