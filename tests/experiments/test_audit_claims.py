"""Claims of the audit other than the return: a teacher's."""

import pytest
import torch

from tokengym.algorithms.data import Batch
from tokengym.envs import TokenGymError
from tokengym.experiments.audit import LeafTree, all_episodes, audit_loss, optimum, table_agent
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.methods import audit
from tokengym.experiments.audit.methods.setting import drawn_policy
from tokengym.experiments.audit.objectives import claim_gradient
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
        audit_loss(lambda log_probs: -log_probs.sum(), "teacher", with_ends=False)
