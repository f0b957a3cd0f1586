"""The audit of losses that are functions of log-probabilities: known facts, right ones and broken ones."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tokengym.envs import TokenGymError
from tokengym.experiments.audit import (
    LeafTree,
    Listing,
    Objective,
    Sampled,
    all_groups,
    audit_loss,
    expected,
)
from tokengym.experiments.audit.broken import BROKEN, RIGHT, rloo, weighted_rloo
from tokengym.experiments.audit.claims import Claim, compare
from tokengym.experiments.audit.counterexamples import counterexamples
from tokengym.experiments.audit.ends import end_of
from tokengym.experiments.audit.groups import drawn_groups, number_of_groups
from tokengym.experiments.audit.losses import tensors_of
from tokengym.experiments.audit.objectives import CLAIMS
from tokengym.experiments.audit.verdicts import beside_others, order_changes

LEAVES = np.random.default_rng(0).uniform(size=15)
TREE = Listing.of(LeafTree.stopping(3, 3, LEAVES.tolist()))
UNIFORM = Sampled(TREE.uniform())


def said(log_probs, mask):
    return torch.where(mask, log_probs, 0.0).sum(1)


def centred(rewards):
    return rewards - rewards.mean()


def whitened(rewards):
    return centred(rewards) / (centred(rewards).square().sum() / (len(rewards) - 1) + 1e-20).sqrt()


def own_mean(log_probs, rewards, mask):
    return -(centred(rewards) * said(log_probs, mask)).mean()


def dr_grpo(log_probs, rewards, mask):
    return own_mean(log_probs, rewards, mask) / 3


def grpo(log_probs, rewards, mask):
    return -(whitened(rewards) * said(log_probs, mask) / mask.sum(1)).mean()


def dapo(log_probs, rewards, mask):
    return -(whitened(rewards) * said(log_probs, mask)).sum() / mask.sum()


def rloo_of_tokens(log_probs, rewards, mask):
    return -(centred(rewards) * 4 / 3 * said(log_probs, mask)).sum() / mask.sum()


def opo(log_probs, rewards, mask):
    lengths = mask.sum(1)
    return -((rewards - (rewards * lengths).sum() / lengths.sum()) * said(log_probs, mask)).mean()


KNOWN = {rloo: (1, 1), own_mean: (1, 0.75), dr_grpo: (1, 0.25), grpo: (0.921, 1.18), dapo: (0.964, 1.21)}
KNOWN |= {rloo_of_tokens: (0.996, 0.48), opo: (0.996, 0.73)}


@pytest.mark.parametrize("loss", KNOWN, ids=lambda loss: loss.__name__)
def test_what_group_methods_do_in_expectation(loss):
    """The facts sheet's table: 15 leaves, four of a group, the uniform policy."""
    ascent = -expected(loss, TREE, UNIFORM, 4).gradient
    comparison = compare(ascent, Objective().gradient(TREE, TREE.uniform()))
    assert (comparison.cosine, comparison.scale) == pytest.approx(KNOWN[loss], abs=0.006)


def test_a_mean_over_the_tokens_of_a_batch_depends_on_how_long_the_others_are():
    """RLOO with a token mean beside four texts of one length: about 4/(8.3 + 4·length), where the sheet has less.

    Its .22 and .14 come closest to what the group's own mean makes of these, three quarters.
    """

    def of_a_batch(log_probs, rewards, mask, groups):
        own = groups[:, None] == groups
        others = (torch.where(own, rewards, 0.0).sum(1) - rewards) / (own.sum(1) - 1)
        return -((rewards - others) * said(log_probs, mask)).sum() / mask.sum()

    right, scales = Objective().gradient(TREE, TREE.uniform()), {}
    for length in (1, 3):
        alike = (TREE.lengths == length).nonzero()[:1, 0].repeat(4)
        found = compare(-expected(of_a_batch, TREE, UNIFORM, 4, context=alike).gradient, right)
        scales[length] = found.scale
        assert found.scale == pytest.approx(
            4 / (float(TREE.chances(TREE.uniform()) @ TREE.lengths.double()) * 4 + 4 * length), rel=0.05
        )
    assert scales[3] < scales[1] < KNOWN[rloo_of_tokens][1]


def test_what_top_p_leaves_out_no_weights_bring_back():
    policy = TREE.moved(0.5, 3)
    likely, order = torch.softmax(policy, 1).sort(1, descending=True)
    kept = torch.zeros_like(policy, dtype=torch.bool).scatter_(1, order, likely.cumsum(1) - likely < 0.7)
    behaviour = torch.where(kept, policy, -torch.inf)
    right = Objective().gradient(TREE, policy)
    for loss in (rloo, weighted_rloo):
        drawn = Sampled(policy, behaviour=behaviour, old=policy)
        assert compare(-expected(loss, TREE, drawn, 4).gradient, right).error > 0.1


def test_groups_are_multisets_with_the_multinomials_weights():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(5))
    groups = all_groups(probabilities, 3)
    assert len(groups) == number_of_groups(5, 3) == 35
    assert number_of_groups(16, 4) == 3876
    tuples: dict[tuple[int, ...], float] = {}
    for first in range(5):
        for second in range(5):
            for third in range(5):
                key = tuple(sorted((first, second, third)))
                tuples[key] = tuples.get(key, 0) + math.prod(probabilities[[first, second, third]])
    for members, probability in zip(groups.members.tolist(), groups.probabilities, strict=True):
        assert probability == pytest.approx(tuples[tuple(members)], abs=1e-15)
    with pytest.raises(TokenGymError, match="take groups of 2"):
        all_groups(probabilities, 3, max_groups=20)


def test_groups_of_several_starts_do_not_mix():
    groups = all_groups(np.array([0.1, 0.3, 0.6]), 2, np.array([0, 0, 1]))
    assert groups.members.tolist() == [[0, 0], [0, 1], [1, 1], [2, 2]]
    np.testing.assert_allclose(groups.probabilities, [0.025, 0.15, 0.225, 0.6], atol=1e-15)


def test_the_variance_is_that_of_single_groups():
    listing = Listing.of(LeafTree({"0": 1.0, "10": 0.0, "11": 3.0}, replies=True))
    policy = listing.moved(0.7, 2)

    def with_entropy(log_probs, entropies, rewards, mask):
        return rloo(log_probs, rewards, mask) - 0.1 * torch.where(mask, entropies, 0.0).sum()

    found = expected(with_entropy, listing, Sampled(policy), 2, with_variance=True)
    groups = all_groups(listing.chances(policy).numpy(), 2)
    tensors, mean, square = tensors_of(listing, Sampled(policy)), 0.0, 0.0
    for members, chance in zip(groups.members, groups.probabilities.tolist(), strict=True):
        at = policy.clone().requires_grad_()
        loss = with_entropy(
            listing.log_probs(at)[members],
            listing.entropies(at)[members],
            tensors["rewards"][members],
            listing.mask[members],
        )
        gradient = torch.autograd.grad(loss, at)[0]
        mean, square = mean + chance * gradient, square + chance * float(gradient.square().sum())
    torch.testing.assert_close(found.gradient, mean, atol=1e-12, rtol=0)
    assert found.variance == pytest.approx(square - float(mean.square().sum()), abs=1e-12)


def test_too_many_groups_are_drawn_by_strata_with_a_standard_error():
    listing = Listing.of(LeafTree.stopping(3, 2, LEAVES[:7].tolist()))
    policy = Sampled(listing.moved())
    exact = expected(rloo, listing, policy, 4)
    errors = []
    for seed in range(8):
        found = expected(rloo, listing, policy, 4, draws=2000, seed=seed)
        errors.append(((found.gradient - exact.gradient) / found.standard_error)[found.standard_error > 0])
    assert not exact.standard_error.any()
    # Eight independent draws of twelve numbers, in units of their own standard errors.
    assert 0.75 < float(torch.cat(errors).square().mean().sqrt()) < 1.25
    groups = drawn_groups(listing.chances(policy.logits).numpy(), 4, 2000)
    shares = np.bincount(groups.members[:, 0], groups.probabilities)
    np.testing.assert_allclose(shares, listing.chances(policy.logits).numpy(), atol=1e-15)


def test_a_loop_gives_what_vmap_gives():
    def asks_for_a_number(log_probs, rewards, mask):
        return rloo(log_probs, rewards, mask) * (1.0 if float(rewards.sum()) > -1 else 2.0)

    listing = Listing.of(LeafTree({"0": 1.0, "10": 0.0, "11": 3.0}))
    policy = Sampled(listing.moved())
    quick, slow = (expected(loss, listing, policy, 3, with_variance=True) for loss in (rloo, asks_for_a_number))
    assert (quick.vectorised, slow.vectorised) == (True, False)
    torch.testing.assert_close(quick.gradient, slow.gradient, atol=1e-14, rtol=0)
    assert quick.variance == pytest.approx(slow.variance, abs=1e-13)


@pytest.mark.parametrize("specimen", BROKEN, ids=lambda specimen: specimen.name)
def test_each_broken_loss_is_found_wrong_on_a_tree_of_at_most_eight_leaves(specimen):
    found = next(counterexamples(specimen.loss, Claim(**specimen.claim)), None)
    assert found is not None and found.leaves <= 8
    assert "the loss climbs" in str(found)


@pytest.mark.parametrize("specimen", RIGHT, ids=lambda specimen: specimen.name)
def test_no_right_loss_is_found_wrong(specimen):
    assert next(counterexamples(specimen.loss, Claim(**specimen.claim)), None) is None
    claim = Claim(**specimen.claim)
    if claim.objective != "max_rl":
        policy = TREE.moved(0.5, 3)
        ascent = -expected(specimen.loss, TREE, Sampled(policy), 4).gradient
        assert compare(ascent, claim.exact.gradient(TREE, policy)).bias < 1e-10


def test_a_whole_audit_of_a_right_loss():
    found = audit_loss(weighted_rloo, off_policy=True)
    assert found.right and found.vectorised and found.groups == 210
    assert found.stale.bias < 1e-10 < found.variance
    assert [end.kind for end in found.ends] == ["vertex"] * 2
    assert max(end.regret for end in found.ends) < 1e-5


def test_stale_episodes_without_weights_mislead_more_than_with():
    """Token weights mend some, the whole episode's all; the order of the facts sheet, on this instance."""

    def clipped(log_probs, old_log_probs, rewards, mask):
        ratio, lead = torch.exp(log_probs - old_log_probs), (centred(rewards) * 4 / 3)[:, None]
        return -said(torch.minimum(ratio * lead, ratio.clamp(0.8, 1.2) * lead), mask).mean()

    def of_tokens(log_probs, sampling_log_probs, rewards, mask):
        weights = torch.exp(log_probs.detach() - sampling_log_probs).clamp(max=2)
        return -(centred(rewards) * 4 / 3 * said(weights * log_probs, mask)).mean()

    def of_episodes(log_probs, sampling_log_probs, rewards, mask):
        weights = torch.exp(said(log_probs.detach() - sampling_log_probs, mask)).clamp(max=2)
        return -(centred(rewards) * 4 / 3 * weights * said(log_probs, mask)).mean()

    listing = Listing.of(LeafTree.full(2, 4, np.random.default_rng(0).uniform(size=16).tolist()))
    random = np.random.default_rng(1)
    policy, behaviour = (torch.from_numpy(0.3 * random.normal(size=(15, 2))) for _ in range(2))
    stale = Sampled(policy, behaviour=behaviour)
    right = Objective().gradient(listing, stale.logits)
    bias = {
        loss.__name__: compare(-expected(loss, listing, stale, 4).gradient, right).bias
        for loss in (rloo, clipped, of_tokens, of_episodes, weighted_rloo)
    }
    assert bias["weighted_rloo"] < 1e-10
    assert bias["of_episodes"] == pytest.approx(0.20, abs=0.01)
    assert bias["of_tokens"] == pytest.approx(bias["rloo"], abs=0.02) == pytest.approx(0.61, abs=0.02)
    assert bias["clipped"] == pytest.approx(1.26, abs=0.01)


def test_an_end_is_the_optimum_in_closed_form():
    listing = Listing.of(LeafTree({"0": 1.0, "10": 0.0, "11": 3.0}))
    objective = Objective("kl_return", 0.5)
    end = end_of(lambda logits: -objective.gradient(listing, logits), objective, listing, listing.moved(1.0, 4))
    assert end.kind == "interior" and abs(end.regret) < 1e-10 and end.norm < 1e-10
    weights = np.array([0.5 * np.exp(2.0), 0.25, 0.25 * np.exp(6.0)])
    np.testing.assert_allclose(end.policy[0, 0], weights[0] / weights.sum(), atol=1e-9)


def test_others_in_the_batch_change_a_normaliser_over_the_batch():
    def of_a_batch(log_probs, rewards, mask, groups):
        lead = rewards - torch.where(groups[:, None] == groups, rewards, 0.0).sum(1) / (groups[:, None] == groups).sum(
            1
        )
        return -(lead * said(log_probs, mask)).sum() / mask.sum()

    scales = {size: one.scale for size, one in beside_others(of_a_batch, Claim(group_size=2)).items()}
    assert len(scales) == 3 and len({round(scale, 3) for scale in scales.values()}) == 3


def test_an_order_that_matters_is_found():
    def first_only(log_probs, rewards, mask):
        return -(rewards[0] - rewards[1]) * said(log_probs, mask)[0]

    assert order_changes(first_only, TREE, UNIFORM, 4) > 0.01
    assert order_changes(rloo, TREE, UNIFORM, 4) < 1e-12
    found = audit_loss(first_only, group_size=2, with_ends=False)
    assert found.right and found.order > 0.01


def beside_the_next(log_probs, old_log_probs, rewards, mask):
    """Right: the baseline is another's reward, whoever stands next. On fresh data it is 0 in every order."""
    return -((rewards - rewards.roll(1)) * torch.exp(said(log_probs - old_log_probs, mask))).mean()


def the_first_alone(log_probs, rewards, mask):
    """Right, and always 0: the gradient alone is there."""
    own = said(log_probs, mask)[0]
    return -(rewards[0] - rewards[1:].mean()) * (own - own.detach())


@pytest.mark.parametrize("loss", [beside_the_next, the_first_alone])
def test_an_order_that_matters_for_the_gradient_alone_is_found(loss):
    found = audit_loss(loss, with_ends=False)
    assert found.right and found.order > 0.01 and found.counterexample is None


def test_which_of_two_copies_of_one_episode_is_followed_is_no_matter_of_order():
    def the_best_alone(log_probs, rewards, mask):
        return -said(log_probs, mask)[rewards.argmax()]

    distinct = Listing.of(LeafTree({"0": 1.0, "10": 0.0, "11": 3.0}))
    assert order_changes(the_best_alone, distinct, Sampled(distinct.uniform()), 6) == 0.0


def unsteady_gradient():
    """Always 0, with a gradient that grows from one call to the next."""
    calls = []

    def loss(log_probs, rewards, mask):
        calls.append(1)
        own = said(log_probs, mask)
        return -(rewards * len(calls) * (own - own.detach())).mean()

    return loss


def no_scalar(log_probs):
    return log_probs.sum(1)


def infinite(log_probs, rewards):
    return (log_probs.sum(1) / (rewards - rewards.mean()).square().sum()).mean()


def root(log_probs, rewards, mask):
    return (said(log_probs, mask) - said(log_probs, mask)).square().sum().sqrt()


def asks_too_much(log_probs, advantages):
    return log_probs.sum()


def asks_nothing(rewards):
    return rewards.sum()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (no_scalar, r"gave \(4,\)"),
        (infinite, r"loss is -?(nan|inf) in group 0 .* rewards are \["),
        (root, "gradient of log_probs is nan in group 0 of 15, row 0, column 0"),
        (asks_too_much, "asks for 'advantages'; it can ask for log_probs"),
        (asks_nothing, "no gradient"),
    ],
)
def test_what_is_wrong_with_a_loss_is_said(loss, message):
    listing = Listing.of(LeafTree({"0": 1.0, "10": 0.0, "11": 3.0}))
    with pytest.raises(TokenGymError, match=message):
        expected(loss, listing, Sampled(listing.uniform()), 4)


@pytest.mark.parametrize(
    "leaves", [{}, {"0": 1.0}, {"0": 1.0, "2": 0.0}, {"0": 1.0, "10": 0.0}, {"0": 1, "1": 1, "11": 0}]
)
def test_leaves_that_are_no_tree_are_refused(leaves):
    with pytest.raises(TokenGymError, match="leaves="):
        LeafTree(leaves)


def audited(loss, **claim):
    return audit_loss(loss, with_ends=False, **claim)


def rectified(log_probs, rewards, mask):
    return rloo(log_probs, rewards.clamp(min=0), mask)


def clipped_at_ten(log_probs, rewards, mask):
    return rloo(log_probs, rewards.clamp(-10, 10), mask)


def largest_to_go(log_probs, token_rewards, mask):
    to_go = torch.where(mask, token_rewards, 0.0).flip(1).cummax(1).values.flip(1)
    return -said(to_go * torch.where(mask, log_probs, 0.0), mask).mean()


def in_tenths(log_probs, rewards, mask):
    return rloo(log_probs, (rewards * 10).round() / 10, mask)


def divided_by_columns(log_probs, rewards, mask):
    return rloo(log_probs, rewards, mask) / log_probs.shape[1]


def truncated_at_ten(log_probs, sampling_log_probs, rewards, mask):
    weights = torch.exp(said(log_probs.detach() - sampling_log_probs, mask)).clamp(max=10)
    return -(weights * centred(rewards) * 4 / 3 * said(log_probs, mask)).mean()


@pytest.mark.parametrize(
    ("loss", "claim", "leaves"),
    [
        (rectified, {}, 3),
        (clipped_at_ten, {}, 3),
        (largest_to_go, {}, 3),
        (in_tenths, {}, 7),
        (divided_by_columns, {"scale": None}, 2),
        (truncated_at_ten, {"off_policy": True}, 3),
    ],
)
def test_what_shows_only_where_rewards_ratios_or_padding_are_unusual_has_a_counterexample(loss, claim, leaves):
    found = audited(loss, **claim)
    assert not found.right and found.counterexample is not None and found.counterexample.leaves == leaves
    assert "the loss climbs" in str(found.counterexample)


def test_what_rounding_leaves_of_zero_is_printed_as_zero():
    told = str(audited(own_mean, objective="kl_return", beta=0.5, rests=True, scale=None, group_size=2).counterexample)
    assert "no rest" in told and told.endswith("the objective (0, 0)")


def test_a_ratio_that_nothing_truncates_is_right_of_an_older_policy_however_far_off_it_is():
    assert audited(weighted_rloo, off_policy=True).right


def test_the_likelihood_of_success_is_of_an_order_less_where_the_mean_is_left_out():
    """What the guide to one's own loss says of the claim "max_rl"."""

    def of_successes(log_probs, rewards, mask):
        return -(rewards * said(log_probs, mask)).sum() / rewards.sum().clamp(min=1.0)

    def less_the_mean(log_probs, rewards, mask):
        lead = (rewards - rewards.mean()) / rewards.mean().clamp(min=1e-9)
        return -(lead * said(log_probs, mask)).mean()

    tree = Listing.of(LeafTree({"0": 1.0, "10": 0.0, "11": 1.0}))
    for loss, order in ((of_successes, 4), (less_the_mean, 3)):
        found = expected(loss, tree, Sampled(tree.moved(0.5, 3)), 4).gradient
        right = Objective("max_rl", size=order + 1).gradient(tree, tree.moved(0.5, 3))
        torch.testing.assert_close(-found, right, atol=1e-12, rtol=0)
    assert audited(less_the_mean, objective="max_rl").right and not audited(of_successes, objective="max_rl").right


def test_the_guide_names_every_claim_that_a_loss_can_make():
    guide = Path(__file__).resolve().parents[2] / "docs" / "concepts" / "your-own-loss.md"
    text = guide.read_text(encoding="utf-8")
    assert not [name for name in CLAIMS if name not in ("likelihood", "teacher") and f'`"{name}"`' not in text]


def test_one_of_a_group_alone_being_paid_is_what_raises_pass_at_k():
    def alone(log_probs, rewards, mask):
        return -torch.where(rewards.sum() == 1, (rewards * said(log_probs, mask)).sum(), 0.0)

    assert audited(alone, objective="pass_at_k").right
    assert not audited(rloo, objective="pass_at_k").right


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, log_probs, rewards, mask):
        return rloo(self.dropout(log_probs), rewards, mask)


def of_all(**given):
    return rloo(given["log_probs"], given["rewards"], given["mask"])


def in_place(log_probs, rewards, mask):
    log_probs *= mask
    rewards -= (rewards.sum() - rewards) / (len(rewards) - 1)
    return -(rewards * log_probs.sum(1)).mean()


@pytest.mark.parametrize("loss", [Module().eval(), of_all, in_place])
def test_losses_may_be_modules_take_everything_and_change_what_they_are_given(loss):
    assert audited(loss).right


class Counting:
    """Doubles its loss from its forty-first call on."""

    def __init__(self):
        self.calls = 0

    def __call__(self, log_probs, rewards, mask):
        self.calls += 1
        return rloo(log_probs, rewards, mask) * (2 if self.calls > 40 else 1)


class RunningMean:
    def __init__(self):
        self.mean = 0.0

    def __call__(self, log_probs, rewards, mask):
        loss = -((rewards - self.mean) * said(log_probs, mask)).mean()
        self.mean = 0.9 * self.mean + 0.1 * float(rewards.mean())
        return loss


def by_place(log_probs, rewards, mask, /):
    return rloo(log_probs, rewards, mask)


def broken_inside(log_probs, mask):
    return {}["advantages"]


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (Module(), r"and then .* for one and the same group; .*\.eval\(\)"),
        (RunningMean(), "for one and the same group"),
        (Counting(), "for one and the same group"),
        (unsteady_gradient(), "a gradient of .* for one and the same group"),
        (by_place, "takes log_probs by its place alone"),
        (broken_inside, r"raised KeyError: 'advantages' \(test_audited_losses.py, line .*log_probs \(4, 2\)"),
        (lambda log_probs: None, "gave NoneType; expected a tensor without dimensions"),
        (lambda log_probs: log_probs.sum(1), r"gave \(4,\)"),
        (lambda log_probs: (log_probs.sum(), {}), "gave tuple"),
        (lambda log_probs: log_probs.sum().float(), "gave float32; expected float64"),
        (lambda log_probs: torch.tensor(3), "gave int64"),
        (lambda log_probs: log_probs.sum().backward(), "raised|NoneType"),
    ],
)
def test_a_loss_that_is_no_function_to_a_scalar_is_refused_at_the_door(loss, told):
    with pytest.raises(TokenGymError, match=told):
        audited(loss)


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ({"objective": "kl_return"}, "has beta 0; expected the weight"),
        ({"objective": "kl_return", "beta": -1.0}, "beta is -1.0; expected a number of at least 0"),
        ({"beta": 0.5}, "'return' has no KL, which beta=0.5 would weigh; expected claim 'kl_return', or beta 0"),
        ({"group_size": 40}, "more than 2,000,000: take groups of 30 or a smaller task"),
        ({"objective": "likelihood"}, "of what a data set says, .* expected one of 'return', 'kl_return'"),
        ({"objective": "teacher"}, "of what a teacher says"),
        ({"objective": "kl_quantile", "rests": True}, "has beta 0"),
        ({"rests": True}, "objective='return' has none"),
        ({"scale": 0.0}, "scale is 0.0; expected None or a number above 0"),
        ({"group_size": -2}, "group_size is -2"),
        ({"group_size": 1.5}, "group_size is 1.5"),
        ({"level": "tokens"}, "expected 'token' or 'sequence'"),
        ({"off_policy": "yes"}, "off_policy is 'yes'"),
    ],
)
def test_what_a_loss_cannot_claim_is_refused(claim, told):
    with pytest.raises(TokenGymError, match=told):
        audited(rloo, **claim)


def test_a_task_that_is_given_is_the_one_audited_where_the_order_of_a_group_matters():
    def first_as_baseline(log_probs, rewards, mask):
        return -((rewards[1:] - rewards[0]) * said(log_probs, mask)[1:]).mean()

    assert audited(first_as_baseline, group_size=2, task=LeafTree.full(2, 2, (0, 1, 2, 5))).groups == 16
    assert audited(first_as_baseline, group_size=3, objective="max_rl", scale=None).groups == 27


def test_what_is_paid_on_the_way_is_paid_there():
    listing = Listing.of(LeafTree({"0": -3.0, "10": 40.0, "11": -1.0}, way={"1": 2.0}))
    np.testing.assert_array_equal(listing.token_rewards, [[-3, 0], [2, 40], [2, -1]])
    with pytest.raises(TokenGymError, match="way="):
        LeafTree({"0": 1.0, "1": 0.0}, way={"0": 2.0})
