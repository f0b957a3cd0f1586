"""Claims of the audit other than the return: a teacher's, and of quantiles."""

import numpy as np
import pytest
import torch

from tokengym.algorithms.data import Batch
from tokengym.envs import TokenGymError, solve
from tokengym.envs.tasks.diagnostics import Copy
from tokengym.experiments.audit import LeafTree, Listing, Objective, all_episodes, audit_loss, optimum, table_agent
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.ends import best_value, optimum_logits
from tokengym.experiments.audit.methods import audit
from tokengym.experiments.audit.methods.setting import drawn_policy
from tokengym.experiments.audit.objectives import claim_gradient, quantiles
from tokengym.experiments.commands.main import main

QUICK = {"fixed_points": False, "smallest": False}
TREE = LeafTree.stopping(3, 2, [0.6, 0.3, 0.0, 1.0, 0.8, 0.1, 0.5])
KINDS = [(estimator, credit) for estimator in ("sampled", "exact") for credit in ("token", "to_go")]


def test_the_claim_of_a_teacher_is_the_kl_of_whole_episodes():
    policy, teacher = drawn_policy(TREE, 3), drawn_policy(TREE, 4)
    episodes, _ = all_episodes(TREE)
    batch = Batch.from_episodes(episodes)
    agent, other = table_agent(TREE, policy), table_agent(TREE, teacher)
    said, taught = (
        torch.zeros(len(episodes)).double().index_add(0, batch.episodes[batch.rows], batch.score(one).log_probs)
        for one in (agent, other)
    )
    worth = -(said.exp() * (said - taught.detach())).sum()
    by_hand = torch.autograd.grad(worth, agent.readouts["policy"].weight)[0]
    torch.testing.assert_close(claim_gradient(TREE, policy, "teacher", reference=teacher), by_hand, rtol=0, atol=1e-12)


def test_to_be_like_the_solved_teacher_is_to_climb_the_regularised_return():
    """KL(π‖π*) = (J* − J)/β, where the task takes no chances."""
    policy = drawn_policy(TREE, 3)
    for beta in (0.1, 0.7):
        to_teacher = claim_gradient(TREE, policy, "teacher", reference=optimum(TREE, beta))
        regularised = claim_gradient(TREE, policy, "kl_return", beta=beta)
        torch.testing.assert_close(beta * to_teacher, regularised, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("estimator", "credit"), KINDS)
def test_distillation_rests_at_its_teacher_and_is_the_gradient_of_the_kl_with_what_follows_alone(estimator, credit):
    found = audit("distill", TREE, smallest=False, starts=2, estimator=estimator, credit=credit)
    fresh = found.behaviours["fresh"].comparison
    assert found.claim.name == "teacher" and str(found.claim) == "−KL(π‖π_teacher)"
    assert found.right == (credit == "to_go")
    assert (fresh.error < 1e-12 and abs(fresh.scale - 1) < 1e-12) if found.right else 0.5 < fresh.error < 1
    assert found.optimum < 1e-12 and len(found.ends) == 2
    assert all(end.kind == "interior" and end.attracts and abs(end.regret) < 1e-9 for end in found.ends)


def test_where_every_text_has_one_token_a_tokens_own_grade_is_all_there_is():
    assert audit("distill", LeafTree({"0": 0.2, "1": 1.0, "2": 0.5}), **QUICK).right
    shown = audit("distill", TREE, fixed_points=False).smallest
    assert shown is not None and len(shown.leaves) == 3 and shown.behaviour == "fresh"


def test_a_teacher_of_ones_own_takes_the_solvers_place_in_method_and_claim_alike():
    teacher, policy = drawn_policy(TREE, 9, 1.0), drawn_policy(TREE, 2)
    found = audit("distill", TREE, reference=teacher, policy=policy, credit="to_go", **QUICK)
    assert found.right and found.optimum < 1e-12
    own, solved = (claim_gradient(TREE, policy, "teacher", reference=one) for one in (teacher, optimum(TREE, 0.1)))
    assert compare(own, solved).error > 0.1
    with pytest.raises(TokenGymError, match=r"teacher is 'runs/a'.*expected 'optimal', or reference="):
        audit("distill", TREE, teacher="runs/a", **QUICK)


def test_rewards_teach_distillation_nothing_so_the_return_is_not_what_it_climbs():
    found = audit("distill", TREE, claim="return", credit="to_go", **QUICK)
    assert not found.right and found.behaviours["fresh"].comparison.error > 0.01


def test_the_command_says_what_distillation_claims(capsys):
    assert main(["audit", "distill", "--no-fixed-points"]) == 0
    assert "distill claims −KL(π‖π_teacher): biased" in capsys.readouterr().out
    assert main(["audit", "distill", "--no-fixed-points", "--config", "credit=to_go"]) == 0
    assert "distill claims −KL(π‖π_teacher): unbiased on fresh data" in capsys.readouterr().out


def test_a_loss_that_is_a_function_has_no_teacher():
    with pytest.raises(TokenGymError, match="'teacher' is of a method that has one"):
        Objective("teacher").value(Listing.of(TREE), Listing.of(TREE).uniform())
    with pytest.raises(TokenGymError, match="claim 'teacher' is of"):
        audit_loss(lambda log_probs: -log_probs.sum(), "teacher", with_ends=False)


# Quantiles ------------------------------------------------------------------------------------------------------------

REWARDS = {"no two alike": [0.4, -2.0, 7.0, 0.1], "ties": [0.0, 1.0, 0.0, 0.5]}
CHANCES = [0.5, 0.25, 0.125, 0.125]
"""Of the four leaves 0, 10, 110 and 111 under the uniform policy."""
RANKS = {"no two alike": [0.875, 0.25, 1.0, 0.375], "ties": [0.625, 1.0, 0.625, 0.75]}


def trees(name):
    """A tree, and the one that pays the quantiles of its rewards, counted by hand."""
    return LeafTree.stopping(2, 3, REWARDS[name]), LeafTree.stopping(2, 3, RANKS[name])


def test_a_quantile_is_the_chance_of_at_most_as_much():
    for name, rewards in REWARDS.items():
        paid = np.array(rewards)
        np.testing.assert_allclose(quantiles(paid, paid, np.array(CHANCES)), RANKS[name], atol=1e-15)
    between = quantiles(np.array([-1.0, 0.3, 9.0]), np.array([2.0, 0.0]), np.array([3.0, 1.0]))
    assert between.tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("name", REWARDS)
def test_the_claim_of_quantiles_is_the_regularised_return_of_a_tree_that_pays_them(name):
    task, ranked = trees(name)
    policy = drawn_policy(task, 5)
    found, right = (
        claim_gradient(one, policy, claim, beta=0.3) for one, claim in ((task, "kl_quantile"), (ranked, "kl_return"))
    )
    torch.testing.assert_close(found, right, rtol=0, atol=1e-12)
    assert compare(claim_gradient(task, policy, "kl_return", beta=0.3), right).error > 0.01
    # The same for losses that are functions: value, the most of it, and its optimum.
    listing, other = Listing.of(task), Listing.of(ranked)
    objective, plain, at = Objective("kl_quantile", 0.3), Objective("kl_return", 0.3), listing.moved(0.5, 1)
    assert float(objective.value(listing, at)) == pytest.approx(float(plain.value(other, at)), abs=1e-12)
    assert best_value(objective, listing) == pytest.approx(solve(ranked, beta=0.3).kl_optimal_return, abs=1e-9)
    best, theirs = optimum_logits(objective, listing), optimum_logits(plain, other)
    torch.testing.assert_close(best.softmax(1), theirs.softmax(1), rtol=0, atol=1e-12)


def test_the_quantile_is_under_the_reference_whoever_speaks():
    task, reference, policy = trees("ties")[0], drawn_policy(trees("ties")[0], 8), drawn_policy(trees("ties")[0], 9)
    episodes, chances = all_episodes(task, reference)
    ranks = [chances[episodes.returns <= one].sum() for one in episodes.returns]
    paying = dict(zip([said(episodes, number) for number in range(4)], ranks, strict=True))
    found = claim_gradient(task, policy, "kl_quantile", beta=0.3, reference=reference)
    right = claim_gradient(LeafTree(paying), policy, "kl_return", beta=0.3, reference=reference)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-12)
    assert compare(claim_gradient(task, policy, "kl_quantile", beta=0.3), right).error > 1e-3


def said(episodes, number):
    return "".join(map(str, episodes.flat.action[episodes.flat.episode == number].tolist()))


@pytest.mark.parametrize("partition", ["continuous", "sampled"])
@pytest.mark.parametrize("task", [trees("ties")[0], trees("no two alike")[0], Copy(k=1, num_tokens=2)], ids=str)
def test_qrpo_is_what_it_claims_and_rests_there(task, partition):
    found = audit("qrpo", task, smallest=False, starts=1, kl_coef=0.3, partition=partition)
    fresh = found.behaviours["fresh"].comparison
    assert found.claim == Objective("kl_quantile", 0.3, size=2) and found.right
    assert fresh.scale == pytest.approx(0.3, abs=1e-12) and found.optimum < 1e-12
    assert [(end.kind, abs(end.regret) < 1e-9) for end in found.ends] == [("interior", True)]


def test_held_against_the_return_itself_qrpo_is_not_right_unless_returns_are_their_own_quantiles():
    task, ranked = trees("ties")
    apart = audit("qrpo", task, claim="kl_return", smallest=False, starts=1, kl_coef=0.3)
    assert not apart.right and apart.optimum > 1e-4
    assert all(end.kind == "interior" and end.regret > 0.01 for end in apart.ends)
    assert audit("qrpo", ranked, claim="kl_return", kl_coef=0.3, **QUICK).right


def test_ranks_among_what_no_number_of_samples_says_are_refused():
    task = trees("ties")[0]
    with pytest.raises(TokenGymError, match=r"qrpo ranks texts among .*; expected at most 100,000"):
        audit("qrpo", task, reference=drawn_policy(task, 3), **QUICK)


@pytest.mark.parametrize(("name", "given"), [("kl_quantile", {"alpha": 0.1}), ("teacher", {"beta": 0.1})])
def test_what_an_objective_has_not_is_refused(name, given):
    with pytest.raises(TokenGymError, match=f"claim '{name}' has no"):
        Objective(name, **given)
