"""The audit of a method that may say only a part of its tokens: NLPO within the likeliest of its lagged self."""

import numpy as np
import pytest
import torch

from tokengym.algorithms import NLPO
from tokengym.envs import evaluate_policy
from tokengym.experiments.audit import LeafTree, Listing, all_episodes, table_agent
from tokengym.experiments.audit.bounds import bounded_episodes, likeliest, within
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.methods import audit
from tokengym.experiments.audit.methods.resting import Flow
from tokengym.experiments.audit.methods.setting import Setting, drawn_policy
from tokengym.experiments.audit.objectives import Objective, claim_gradient, gradient_of
from tokengym.experiments.audit.tables import observations

PLAIN = {"whiten_advantages": False, "loss_aggregation": "constant"}
QUICK = {"fixed_points": False, "smallest": False}
TREE = LeafTree.stopping(3, 2, [0.6, 0.3, 0.0, 1.0, 0.8, 0.1, 0.5])
SMALL = LeafTree.stopping(2, 3, [0.5, 0.0, 1.0, 0.2])


def test_the_fewest_of_the_likeliest_that_make_up_a_share():
    said = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.25, 0.5, 0.25]])
    assert likeliest(said, 0.65).tolist() == [[True, True, False], [True, False, True], [True, True, False]]
    assert likeliest(said, 0.6)[1].tolist() == [False, False, True] and likeliest(said, 1e-9).sum() == 3


@pytest.mark.parametrize("top_p", [0.3, 0.7, 0.9])
def test_what_the_audit_keeps_to_is_what_the_method_says(top_p):
    policy = drawn_policy(TREE, 3, 1.0)
    own = NLPO(TREE, table_agent(TREE, policy, ("policy", "value")), dtype="float64", top_p=top_p).policy
    bounds = Setting("nlpo", TREE, {"top_p": top_p}).bounds(policy)
    seen = observations(all_episodes(TREE)[0])
    np.testing.assert_allclose(within(policy, bounds)(*seen), own.probabilities(*seen), atol=1e-12)
    assert Setting("nlpo", TREE, {"top_p": 1.0}).bounds(policy) is None


def test_within_its_bounds_nlpo_has_the_gradient_of_the_return_and_none_for_what_is_outside():
    policy = drawn_policy(TREE, 0)
    found = audit("nlpo", TREE, top_p=0.7, policy=policy, **PLAIN, **QUICK)
    assert found.right and found.bounded and found.held == "E[R] of the policy within its bounds"
    assert found.behaviours["fresh"].comparison.scale == pytest.approx(1 / 2, abs=1e-12)  # two tokens at most
    assert found.behaviours["fresh"].batches < 7 and found.critic < 1e-12
    # By hand, on a listing: the logits of what is outside are not there.
    listing = Listing.of(TREE)
    agent = table_agent(TREE, policy)
    bounds = Setting("nlpo", TREE, {"top_p": 0.7}).bounds(policy)
    claimed = gradient_of(agent, TREE, Objective(), bounds=bounds)
    chances = np.array([policy(tokens[None], np.array([length]))[0] for tokens, length in states(TREE)])
    logits = torch.from_numpy(np.log(chances)).requires_grad_()
    kept = torch.where(torch.from_numpy(likeliest(chances, 0.7)), logits, -torch.inf)
    each = torch.where(listing.mask, torch.log_softmax(kept, 1)[listing.state, listing.action], 0.0).sum(1).exp()
    right = torch.autograd.grad((each * listing.rewards).sum(), logits)[0]
    assert sorted(claimed[claimed != 0].tolist()) == pytest.approx(sorted(right[right != 0].tolist()), abs=1e-12)
    assert 0 < int((right == 0).sum()) < right.numel()
    whole = claim_gradient(TREE, policy, "return")
    assert compare(claimed, whole).error > 0.1, "of the whole policy it is another gradient"


def states(task):
    """What was read in each state of a listing, in its order."""
    episodes, _ = all_episodes(task)
    tokens, lengths = observations(episodes)
    rows = np.unique(np.column_stack([lengths, tokens]), axis=0)
    return [(row[1:].astype(np.int32), row[0]) for row in rows]


def test_with_a_kl_both_policies_are_within_the_bounds():
    found = audit("nlpo", TREE, top_p=0.7, kl_coef=0.3, **PLAIN, **QUICK)
    assert found.claim.name == "kl_return" and found.right and found.critic < 1e-12
    assert audit("nlpo", TREE, top_p=0.7, group_size=2, **PLAIN, **QUICK).right


def test_what_was_unlikely_at_the_start_is_never_found():
    free, kept = (audit("nlpo", SMALL, top_p=top_p, smallest=False, **PLAIN) for top_p in (1.0, 0.7))
    assert all(end.kind == "vertex" and abs(end.regret) < 1e-6 for end in free.ends)
    assert [end.kind for end in kept.ends] == ["interior"] * 3 and max(end.regret for end in kept.ends) > 0.5
    # The same by small steps of what the method does, its lagged copy always at its heels.
    flow, random = Flow(Setting("nlpo", SMALL, {"top_p": 0.7, **PLAIN})), np.random.default_rng(0)
    for number, end in enumerate(kept.ends):
        values = random.normal(size=flow.tables.shape) if number else np.zeros(flow.tables.shape)
        for _ in range(400):
            values = values + 0.5 * flow.plain(values) / np.maximum(flow.said(values), 1e-300)
        assert np.abs(flow.plain(values)).max() < 1e-12
        policy = flow.player(values)
        assert all_episodes(SMALL, policy)[1].max() == 1, "one text is all that may be said"
        best, uniform = 1.0, evaluate_policy(SMALL, table_agent(SMALL).probabilities).expected_return
        came = (best - evaluate_policy(SMALL, policy).expected_return) / (best - uniform)
        assert came == pytest.approx(end.regret, abs=1e-9)


def test_of_two_tokens_a_share_below_a_half_leaves_one_and_nothing_to_learn():
    found = audit("nlpo", SMALL, top_p=0.4, smallest=False, **PLAIN)
    assert found.vanishes and found.end == "no gradient anywhere"


def test_bounds_are_noted_with_every_token_and_without_them_nothing_is():
    policy = drawn_policy(TREE, 3)
    episodes, chances = bounded_episodes(TREE, policy, lambda tokens, lengths: likeliest(policy(tokens, lengths), 0.7))
    legal = episodes.action_masks.unpack().numpy()
    assert legal[np.arange(len(episodes.flat)), episodes.flat.action].all() and not legal.all()
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    free, _ = bounded_episodes(TREE, policy)
    assert free.action_masks is None and len(free) == 7
