"""The audit of the library's own methods finds what is known of them, by itself."""

import json

import numpy as np
import pytest
import torch

from tokengym.algorithms.data import Batch
from tokengym.envs import TokenGymError, evaluate_policy
from tokengym.envs.tasks.diagnostics import Copy, KLTree
from tokengym.experiments import audit
from tokengym.experiments.audit import LeafTree, all_episodes, drawn, fixed_point, regret, table_agent
from tokengym.experiments.audit.claims import compare
from tokengym.experiments.audit.following import follow, shortest_mean
from tokengym.experiments.audit.methods import audit as audited
from tokengym.experiments.audit.methods import listable
from tokengym.experiments.audit.methods.entry import number_of_episodes
from tokengym.experiments.audit.methods.resting import Flow
from tokengym.experiments.audit.methods.setting import Setting, drawn_policy
from tokengym.experiments.audit.objectives import claim_gradient
from tokengym.experiments.commands.main import main

PLAIN = {"whiten_advantages": False, "loss_aggregation": "constant"}
QUICK = {"fixed_points": False, "smallest": False}


def variable():
    return LeafTree.stopping(3, 2, [0.6, 0.3, 0.0, 1.0, 0.8, 0.1, 0.5])


# The claims -----------------------------------------------------------------------------------------------------------


def enumerated(task, policy, size, coefficients):
    """E[Σ_i c_i(returns)·∇log π(episode i)] over all groups of a size, by hand."""
    agent = table_agent(task, policy)
    episodes, chances = all_episodes(task, policy)
    weights = torch.zeros(len(episodes), dtype=torch.float64)
    numbered = np.arange(len(episodes))
    for place, (chance, group) in enumerate(drawn(episodes, chances, size)):
        del place
        members = [
            int(numbered[(episodes.tokens == row).all(axis=1)][0]) for row in _padded(group, episodes.tokens.shape[1])
        ]
        weights.index_add_(0, torch.tensor(members), chance * torch.as_tensor(coefficients(group.returns)))
    batch = Batch.from_episodes(episodes)
    said = torch.zeros(len(episodes), dtype=torch.float64)
    said = said.index_add(0, batch.episodes[batch.rows], batch.score(agent).log_probs)
    return torch.autograd.grad((weights * said).sum(), agent.readouts["policy"].weight)[0]


def _padded(group, width):
    tokens = np.full((len(group), width), group.pad, group.tokens.dtype)
    tokens[:, : group.tokens.shape[1]] = group.tokens
    return tokens


def rloo(returns):
    return (returns - (returns.sum() - returns) / (len(returns) - 1)) / len(returns)


def own_sample(returns):
    return (returns - returns.mean()) / len(returns)


def best_less_second(returns):
    order = np.argsort(returns, kind="stable")
    found = np.zeros(len(returns))
    found[order[-1]] = returns[order[-1]] - returns[order[-2]]
    return found


def maximum_likelihood(returns):
    mean = returns.mean()
    return (returns - mean) / mean / len(returns) if mean else np.zeros(len(returns))


@pytest.mark.parametrize("size", [2, 4])
def test_known_group_rules_have_the_gradients_of_the_claims(size):
    task = variable()
    policy = drawn_policy(task, 3)
    plain = claim_gradient(task, policy, "return")
    assert compare(enumerated(task, policy, size, rloo), plain).scale == pytest.approx(1, abs=1e-12)
    own = compare(enumerated(task, policy, size, own_sample), plain)
    assert own.unbiased and own.scale == pytest.approx((size - 1) / size, abs=1e-12)
    best = compare(enumerated(task, policy, size, best_less_second), claim_gradient(task, policy, "best", size=size))
    assert best.unbiased and best.scale == pytest.approx(1, abs=1e-12)
    binary = LeafTree.stopping(3, 2, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    policy = drawn_policy(binary, 3)
    found = compare(
        enumerated(binary, policy, size, maximum_likelihood), claim_gradient(binary, policy, "max_rl", size=size)
    )
    assert found.unbiased and found.scale == pytest.approx(1, abs=1e-10)


def test_of_two_prompts_each_has_its_own_best():
    task = Copy(k=1, num_tokens=2)
    policy = drawn_policy(task, 1)
    found = enumerated(task, policy, 2, best_less_second)
    assert compare(found, claim_gradient(task, policy, "best", size=2)).bias < 1e-12
    both = claim_gradient(task, policy, "pass_at_k", size=2)
    torch.testing.assert_close(both, claim_gradient(task, policy, "best", size=2), atol=1e-12, rtol=0)


# Methods --------------------------------------------------------------------------------------------------------------


def test_plain_policy_gradients_are_unbiased_on_fresh_data_alone():
    for name in ("a2c", "ppo"):
        found = audited(name, variable(), **PLAIN, **QUICK)
        assert found.right and found.behaviours["fresh"].comparison.scale == pytest.approx(1 / 2, abs=1e-12)
        assert found.critic < 1e-12 and len(found.batches) == 2
        assert all(change < 1e-12 for name, change in found.invariances.items() if name != "scale of rewards")
        assert found.invariances["scale of rewards"] < 1e-12
        for name in ("stale", "top-p .7", "temperature .7"):
            assert found.behaviours[name].comparison.error > 1e-3
        assert found.behaviours["fresh"].effective == 1 > found.behaviours["stale"].effective


def test_the_tokens_of_short_texts_weigh_more_the_fewer_are_in_a_batch():
    found = audited("a2c", variable(), whiten_advantages=False, smallest=True, fixed_points=False)
    errors = [one.error for one in found.batches.values()]
    assert not found.right and len(errors) == 3 and errors[0] > errors[1] > errors[2] > 1e-3
    assert found.smallest is not None and len(found.smallest.leaves) == 3


def test_whitening_depends_on_the_batch():
    found = audited("a2c", variable(), loss_aggregation="constant", **QUICK)
    assert not found.right and len(found.batches) == 3


def test_gae_with_a_wrong_critic_is_biased_less_the_larger_lambda_is():
    errors = [
        audited("a2c", variable(), critic="zero", gae_lambda=lam, groups=1, **PLAIN, **QUICK)
        .behaviours["fresh"]
        .comparison.error
        for lam in (0.0, 0.5, 0.95, 1.0)
    ]
    assert errors[0] > errors[1] > errors[2] > 1e-4 > 1e-12 > errors[3]
    right = audited("a2c", variable(), critic="exact", gae_lambda=0.0, groups=1, **PLAIN, **QUICK)
    assert right.right


def test_the_ladder_of_variances():
    rewards = 2 + np.random.default_rng(0).uniform(size=16)
    uniform = table_agent(LeafTree.full(2, 4, rewards.tolist())).probabilities

    def variance(rewards, **arguments):
        task = LeafTree.full(2, 4, rewards.tolist())
        found = audited("a2c", task, policy=uniform, groups=1, **arguments, **PLAIN, **QUICK)
        assert found.right
        return found.behaviours["fresh"].variance * 16  # the loss is divided by 4 tokens

    found = {
        "none": variance(rewards, critic="zero", gae_lambda=1.0),
        "mean": variance(rewards - rewards.mean(), critic="zero", gae_lambda=1.0),
        "values": variance(rewards, gae_lambda=1.0),
        "advantages": variance(rewards, gae_lambda=0.0),
    }
    # By hand: a token's ∇log π has squares 1/4 + 1/4 on two tokens, in four states of a text that no other has.
    tree = rewards.reshape(2, 2, 2, 2)
    values = [tree.mean(axis=tuple(range(depth, 4))).reshape([2] * depth + [1] * (4 - depth)) for depth in range(5)]
    here = [np.broadcast_to(value, tree.shape) for value in values]
    weights = {
        "none": [tree] * 4,
        "mean": [tree - tree.mean()] * 4,
        "values": [tree - here[depth] for depth in range(4)],
        "advantages": [here[depth + 1] - here[depth] for depth in range(4)],
    }
    ahead = sum(2 ** -(2 * depth) * ((here[depth + 1] - here[depth]) ** 2 / 2).mean() * 2**depth for depth in range(4))
    for name, of in weights.items():
        expected = sum((each**2).mean() / 2 for each in of) - ahead
        assert found[name] == pytest.approx(expected, abs=1e-9)
    assert found["none"] > found["mean"] > found["values"] > found["advantages"]


TREES = {
    "uniform": [0.637, 0.27, 0.041, 0.017],
    "normal": [0.126, -0.132, 0.64, 0.105],
    "one leaf": [0.0, 0.0, 1.0, 0.0],
}


@pytest.mark.parametrize("rewards", TREES)
def test_kl_terms_end_where_their_closed_forms_say(rewards):
    task = LeafTree.full(2, 2, TREES[rewards])
    for settings, kind in (
        ({"kl_in": "reward"}, "optimum"),
        ({"kl_in": "loss", "kl_estimator": "k2", "kl_level": "sequence"}, "optimum"),
        ({"kl_in": "loss", "kl_estimator": "k2"}, "token_k2"),
        ({"kl_in": "loss", "kl_estimator": "k3"}, "token_k3"),
    ):
        found = audited("a2c", task, groups=1, smallest=False, starts=1, kl_coef=0.2, **settings, **PLAIN)
        expected = regret(task, fixed_point(task, 0.2, kind), 0.2)
        for end in found.ends:
            assert end.kind == "interior" and end.attracts and end.regret == pytest.approx(expected, abs=1e-7)
        assert (found.optimum < 1e-9) == (kind == "optimum")


def test_a_kl_in_the_loss_by_k1_holds_nothing():
    task = LeafTree.full(2, 2, TREES["uniform"])
    found = audited("a2c", task, groups=1, smallest=False, starts=2, kl_coef=0.2, kl_in="loss", **PLAIN)
    assert not found.right and all(end.kind == "vertex" for end in found.ends)
    assert {end.likeliest[0] for end in found.ends} == {"00"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("dqn", {}), ("dqn", {"kl_coef": 0.2}), ("dpo", {}), ("sac", {"alpha": 0.0, "kl_coef": 0.2})],
)
def test_methods_without_a_gradient_to_claim_rest_at_the_optimum(name, settings):
    found = audited(name, LeafTree.stopping(2, 2, [0.3, 0.0, 1.0]), groups=1, smallest=False, starts=1, **settings)
    assert found.optimum < 1e-9
    assert all(end.kind == "interior" and abs(end.regret) < 1e-6 for end in found.ends)
    assert found.right or name == "sac"  # whose actor weighs the states of short texts more


def test_what_is_learnt_from_single_precision_rests_as_far_as_that_goes():
    """Targets of Q♯ are float32, so that its field falls to 1e-8 and no further: that is rest, not a way on."""
    found = audit("q-sharp", groups=1, smallest=False)
    assert [end.kind for end in found.ends] == ["interior"] * 3 and max(end.norm for end in found.ends) < 1e-7


def test_a_claim_by_name_is_what_a_method_is_held_against():
    task = variable()
    best = audited("a2c", task, claim="best", groups=1, **PLAIN, **QUICK)
    assert best.claim.name == "best" and best.right  # of one episode
    regularised = audited("a2c", task, claim="return", groups=1, kl_coef=0.2, **PLAIN, **QUICK)
    assert not regularised.right
    with pytest.raises(TokenGymError, match="claim"):
        audited("a2c", task, claim="returns", **QUICK)


def test_pass_at_k_claims_the_best_of_a_group_unless_it_has_a_kl():
    found = audit("grpo", preset="pass-at-k", group_size=3, **QUICK)
    assert found.right and found.claim.name == "best" and found.claim.size == 3
    paid = audit("grpo", claim="pass_at_k", preset="pass-at-k", group_size=3, **QUICK)
    assert paid.right and paid.behaviours["fresh"].comparison.claimed > 0.01, "somebody may be paid nothing"
    assert Setting("grpo", variable(), {"preset": "pass-at-k", "kl_coef": 0.1}).claim().name == "kl_return"
    assert Setting("grpo", variable(), {"preset": "dapo"}).claim().name == "return"


def test_max_rl_is_claimed_of_returns_0_and_1_alone():
    assert audit("grpo", preset="max-rl", group_size=3, claim="max_rl", **QUICK).right
    with pytest.raises(TokenGymError, match="returns 0 and 1, and LeafTree pays others"):
        audit("grpo", variable(), preset="max-rl", group_size=3, claim="max_rl", **QUICK)


def test_what_cannot_be_listed_is_refused_with_its_size_and_what_fits():
    assert number_of_episodes(KLTree()) == 256 and number_of_episodes(Copy(k=2, num_tokens=2)) == len(
        all_episodes(Copy(k=2, num_tokens=2))[0]
    )
    with pytest.raises(TokenGymError, match=r"65536 episodes, of which 2,000 can be listed; KLTree with depth=5"):
        listable("KLTree", depth=8)
    with pytest.raises(TokenGymError, match="context 'turn'"):
        listable("Lattice")
    with pytest.raises(TokenGymError, match="batches of 1 × 8; 20,000 can be listed"):
        audited("raft", variable_of_fifteen(), group_size=8, **QUICK)
    with pytest.raises(TokenGymError, match="dqm"):
        audited("dqm")


def variable_of_fifteen():
    return LeafTree.stopping(3, 3, np.linspace(0, 1, 15).tolist())


def test_a_flow_is_followed_to_a_point_a_vertex_a_face_or_a_kink():
    target = np.array([[0.0, 3.0, -1.0], [5.0, 5.0, 0.0]])
    target -= target.mean(1, keepdims=True)
    found = follow(lambda x: np.tanh(target - x), np.zeros((2, 3)))
    assert found.kind == "interior" and found.attracts and found.norm < 1e-10
    np.testing.assert_allclose(found.values, target, atol=1e-9)
    whole = slice(0, 3)
    runs_on = follow(lambda x: np.tile([1.0, 0.0, -1.0], (2, 1)), np.zeros((2, 3)), whole)
    assert runs_on.kind == "vertex" and (runs_on.values.argmax(1) == 0).all()
    given_up = follow(
        lambda x: np.array([[x[0, 1] - x[0, 0], x[0, 0] - x[0, 1], -1.0]]), np.array([[2.0, 0, 0]]), whole
    )
    assert given_up.kind == "face" and given_up.values[0, 0] - given_up.values[0, 1] == pytest.approx(0, abs=1e-9)
    turns = follow(lambda x: np.array([[0.5 - np.sign(x[0, 0] - 1.3), -x[0, 1]]]), np.zeros((1, 2)))
    assert turns.kind == "kink" and turns.values[0, 0] == pytest.approx(1.3, abs=5e-3)
    slides = follow(lambda x: np.array([[-np.sign(x[0, 0] - x[0, 1]), 1 - x[0, 1]]]), np.array([[0.0, -2.0]]))
    np.testing.assert_allclose(slides.values, 1, atol=0.05)


def test_a_point_that_everything_leads_away_from_is_said_to_be_one():
    saddle = follow(lambda x: np.array([[x[0, 0], -x[0, 1]]]), np.array([[0.0, 1.0]]))
    assert saddle.kind == "interior" and not saddle.attracts
    left = follow(lambda x: np.array([[x[0, 0] - x[0, 0] ** 3, -x[0, 1]]]), np.array([[0.01, 1.0]]))
    assert left.values[0, 0] == pytest.approx(1, abs=1e-9)  # Newton's own steps would have gone back to 0


def test_the_shortest_mean_is_in_the_hull_and_no_longer_than_any_other():
    random = np.random.default_rng(0)
    for shift in (0.0, 1.0, 3.0):
        points = random.normal(size=(12, 3)) + shift
        found = shortest_mean(points)
        assert (points @ found >= found @ found - 1e-9).all()


@pytest.mark.parametrize("preset", ["grpo", "gspo", "gmpo", "dapo", "opo"])
def test_group_methods_collapse_to_the_best_text_and_small_steps_do_so_too(preset):
    task = LeafTree.stopping(2, 3, [0.5, 0.0, 1.0, 0.2])
    flow = Flow(Setting("grpo", task, {"preset": preset, "group_size": 2}))
    came = flow.rested(np.zeros(flow.tables.shape))
    assert came.kind == "vertex" and regret_of(task, flow.player(came.values)) < 1e-9
    values = np.zeros(flow.tables.shape)
    for _ in range(60):
        step = flow.plain(values) / np.maximum(flow.said(values), 1e-300)
        values += step * min(1.0, 0.5 / np.abs(step).max())
    assert regret_of(task, flow.player(values)) < 1e-3


def regret_of(task, policy):
    return 1 - evaluate_policy(task, policy).expected_return


def test_the_command_prints_what_the_audit_says(capsys):
    said = ["audit", "a2c", "--task", "KLTree", "--kwargs", "num_tokens=2", "depth=2", "--groups", "1"]
    config = ["--config", "whiten_advantages=false", "loss_aggregation=constant"]
    assert main([*said, "--no-fixed-points", *config, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = audit("a2c", KLTree(2, 2), groups=1, **PLAIN, **QUICK)
    assert told["right"] and told["behaviours"]["stale"]["variance"] == found.behaviours["stale"].variance
    assert main([*said, "--no-fixed-points"]) == 0
    shown = capsys.readouterr().out
    assert "a2c claims E[R]: biased" in shown and "the smallest tree that shows it" in shown


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["audit", "a2c", "--kwargs", "depth=2"], "does nothing without --task"),
        (["audit", "a2c", "--task", "KLTree", "--kwargs", "depth=8"], "65536 episodes"),
        (["audit", "a2c", "--task", "CartPole"], "not a finite task"),
        (["audit", "a2c", "--config", "clip=0.1"], "clip"),
        (["audit", "a3c"], "a3c"),
        (["audit", "sb3-ppo"], "cannot be audited"),
    ],
)
def test_the_command_says_what_is_wrong(given, told, capsys):
    assert main(given) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")


def test_a_loss_that_is_a_function_goes_the_same_way():
    def reinforce(log_probs, rewards, mask):
        return -((log_probs * mask).sum(1) * rewards).mean()

    found = audit(reinforce, LeafTree.stopping(2, 2, [0.3, 0.0, 1.0]), claim="return", group_size=1, with_ends=False)
    assert type(found).__name__ == "LossAudit"


def test_a_gradient_that_is_nowhere_is_said_to_be():
    mean = audited("reinforce", baseline="mean", smallest=False)  # of one episode: itself
    assert mean.vanishes and mean.end == "no gradient anywhere" and not mean.ends
    assert not audited("reinforce", baseline="none", smallest=False, starts=1).vanishes
