"""SAC: exact soft values leave no error, the actor's gradient is the enumerated one, and the KL optimum is reached."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from off_policy_cases import QUICK, Stop, numbers_of, outputs_of, states_of, whole_loss

from tokengym.agents.session import StepOutput
from tokengym.algorithms.off_policy.sac import SAC
from tokengym.algorithms.parts.soft import soft_optimal_log_probs, soft_values
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.registration import make_task


def exploring(task, agent="table", **config):
    """An algorithm with a replay full of random episodes, and a draw of them."""
    algorithm = SAC(task, agent, **{"reward_scaling": False, "epsilon": 1.0, "final_epsilon": 1.0, **QUICK, **config})
    algorithm.replay.add(algorithm.collect())
    return algorithm, algorithm.draw()


def fill(head, numbers, rows):
    with torch.no_grad():
        head.weight[numbers] = torch.as_tensor(rows, dtype=torch.float32)


def soft_q_of_tree(task, beta, replayed):
    """Exact soft Q of a KLTree in every drawn state, by enumerating what the task pays at the leaves below."""
    solution, num_actions = solve(task), task.vocabulary.num_actions
    rows, columns = states_of(replayed)
    depth = task.max_episode_tokens
    q = np.empty((len(rows), num_actions))
    for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        left = depth - (column - 1)
        tails = np.indices((num_actions,) * (left - 1)).reshape(left - 1, num_actions ** (left - 1)).T
        leaves = np.full((len(tails), task.max_length), task.vocabulary.pad, np.int32)
        leaves[:, :column] = replayed.batch.tokens[row, :column]
        leaves[:, column : column + left - 1] = tails
        rewards = solution.q_values(leaves, np.full(len(tails), column + left - 1))
        if left == 1:
            q[i] = rewards[0]
        else:
            q[i] = beta * np.log(np.exp(rewards / beta).reshape(num_actions, -1).mean(1))
    return torch.as_tensor(q, dtype=torch.float32)


@pytest.mark.parametrize("returns", [{"returns": "trace"}, {"returns": "n_step", "n_step": 3}])
@pytest.mark.parametrize("critics", ["min", "mean"])
def test_the_exact_soft_optimum_is_a_fixed_point(returns, critics):
    """With exact soft Q and its policy both losses are at rest, whatever the data: no error, no actor gradient."""
    beta = 0.2
    task = make_task("KLTree")
    algorithm, replayed = exploring(task, alpha=0.0, kl_coef=beta, critics=critics, **returns)
    numbers = numbers_of(algorithm, replayed)
    q = soft_q_of_tree(task, beta, replayed)
    uniform = torch.full_like(q, -math.log(q.shape[1]))
    for agent in (algorithm.agent, algorithm.target):
        fill(agent.readouts["q"], numbers, q)
        fill(agent.readouts["q2"], numbers, q)
        fill(agent.readouts["policy"], numbers, soft_optimal_log_probs(q, uniform, beta))
    loss, errors, metrics = whole_loss(algorithm, replayed)
    torch.testing.assert_close(errors, torch.zeros_like(errors), atol=1e-5, rtol=0)
    loss.backward()
    for head in ("policy", "q", "q2"):
        gradient = algorithm.agent.readouts[head].weight.grad
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)
    visited = solve(task, beta)
    assert visited.kl_optimal_kl is not None and metrics["objective/kl"] > 0


@pytest.mark.parametrize("returns", [{"returns": "trace"}, {"returns": "n_step", "n_step": 3}])
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.2), (0.3, 0.0), (0.1, 0.2)])
def test_a_critic_read_off_the_actor_s_logits_rests_at_the_soft_optimum(alpha, beta, returns):
    """An entropy of weight α is a KL to the uniform policy, less α log A a token: (α + β) as β, and a constant."""
    task = make_task("KLTree")
    algorithm, replayed = exploring(
        task, alpha=alpha, kl_coef=beta, head_free=True, **({"kl_reference": "uniform"} if beta else {}), **returns
    )
    numbers = numbers_of(algorithm, replayed)
    q = soft_q_of_tree(task, alpha + beta, replayed)
    left = task.max_episode_tokens - states_of(replayed)[1]  # tokens behind the one that Q is of
    q = q + alpha * math.log(q.shape[1]) * left[:, None]
    for agent in (algorithm.agent, algorithm.target):
        fill(agent.readouts["policy"], numbers, q / (alpha + beta))
    _, errors, _ = whole_loss(algorithm, replayed)
    torch.testing.assert_close(errors, torch.zeros_like(errors), atol=1e-5, rtol=0)


def test_a_critic_read_off_logits_needs_fixed_weights_and_no_other_critic():
    for field, config in {
        "head_free": {"alpha": 0.0},
        "entropy_target": {"entropy_target": 0.3},
        "kl_target": {"kl_coef": 0.1, "kl_target": 1.0},
        "critics": {"critics": "mean"},
        "separate_critic": {"separate_critic": True},
    }.items():
        with pytest.raises(TokenGymError, match=field):
            SAC("Copy", head_free=True, **config)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31 - 1),
    alpha=st.sampled_from([0.0, 0.01, 0.5]),
    beta=st.sampled_from([0.0, 0.2]),
)
def test_the_actors_gradient_is_the_enumerated_one(seed, alpha, beta):
    """∇ E_π[Q − α log π − β (log π − log π_ref)] = Σ_a π(a) (f(a) − Σ_b π(b) f(b)) for each logit, by hand."""
    algorithm = actor(alpha=alpha, kl_coef=beta)
    generator = torch.Generator().manual_seed(seed)
    logits, q, other = torch.randn(3, 4, 8, generator=generator)
    logits.requires_grad_(True)
    reference = torch.log_softmax(other, -1) if beta else None
    log_probs = torch.log_softmax(logits, -1)
    algorithm.actor_losses(log_probs, q, reference).mean().backward()
    with torch.no_grad():
        probs = log_probs.exp()
        score = q - alpha * log_probs - (0.0 if reference is None else beta * (log_probs - reference))
        expected = probs * (score - (probs * score).sum(1, keepdim=True))
    # The mean over the 4 states, and minus, as it is a loss.
    torch.testing.assert_close(logits.grad, -expected / 4, atol=1e-6, rtol=1e-5)


CACHE: dict[tuple, SAC] = {}


def actor(**config):
    """An algorithm whose only use is its actor loss; building one takes a moment, so they are kept."""
    key = tuple(sorted(config.items()))
    if key not in CACHE:
        CACHE[key] = SAC("Copy", "table", reward_scaling=False, **QUICK, **config)
    return CACHE[key]


@pytest.mark.parametrize("kind", ["reverse_kl", "forward_kl"])
def test_both_actors_rest_at_the_softmax_of_q(kind):
    algorithm = actor(alpha=0.3, kl_coef=0.2, actor=kind)
    generator = torch.Generator().manual_seed(0)
    q, other = torch.randn(2, 5, 8, generator=generator)
    reference = torch.log_softmax(other, -1)
    logits = ((q + 0.2 * reference) / 0.5).requires_grad_(True)
    algorithm.actor_losses(torch.log_softmax(logits, -1), q, reference).mean().backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-6, rtol=0)


def test_the_forward_actor_learns_where_the_policy_has_given_up():
    """A policy sure of a wrong token: the reverse divergence has next to no gradient there, the forward one has."""
    q = torch.tensor([[0.0, 1.0, 0.0]])
    gradients = {}
    for kind in ("reverse_kl", "forward_kl"):
        logits = torch.tensor([[20.0, 0.0, 0.0]], requires_grad=True)
        actor(alpha=0.01, actor=kind).actor_losses(torch.log_softmax(logits, -1), q, None).mean().backward()
        gradients[kind] = float(logits.grad[0, 1])
    assert abs(gradients["reverse_kl"]) < 1e-6
    assert gradients["forward_kl"] == pytest.approx(-1.0, abs=1e-3)


def test_masks_hold_in_behaviour_actor_and_values():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(64, 8, generator=generator)
    masks = torch.rand(64, 8, generator=generator) < 0.4
    masks[:, 3] |= ~masks.any(1)
    algorithm = SAC("Copy", "table", epsilon=0.5, final_epsilon=0.5, **QUICK)
    for _ in range(50):
        actions, log_probs = algorithm.behaviour.choose(StepOutput(logits=logits), masks)
        assert bool(masks.gather(1, actions[:, None]).all())
    probs = algorithm.exploring.probabilities(StepOutput(logits=logits), masks)
    torch.testing.assert_close(log_probs, probs.gather(1, actions[:, None])[:, 0].log())
    for kind in ("reverse_kl", "forward_kl"):
        values = []
        for illegal in (0.0, 1e6):
            given = torch.where(masks, logits, torch.full_like(logits, illegal)).requires_grad_(True)
            log_policy = torch.log_softmax(given.masked_fill(~masks, torch.finfo(torch.float32).min), -1)
            q = torch.where(masks, 0.5 * logits, torch.full_like(logits, illegal))
            loss = actor(alpha=0.1, actor=kind).actor_losses(log_policy, q, None, masks).mean()
            loss.backward()
            assert bool((given.grad[~masks] == 0).all())
            values.append((loss.item(), soft_values(q, log_policy, 0.1).tolist()))
        assert values[0] == values[1]


def test_alpha_falls_geometrically_and_stays():
    algorithm = SAC("Copy", "table", initial_alpha=1.0, alpha=0.01, alpha_fraction=0.5)
    algorithm.total_timesteps = 100
    for algorithm.num_timesteps, alpha in {0: 1.0, 25: 0.1, 50: 0.01, 100: 0.01}.items():
        assert algorithm.alpha == pytest.approx(alpha)


@pytest.mark.parametrize(("target", "direction"), [(0.2, -1), (2.0, 1)])
def test_alpha_is_tuned_towards_the_entropy_target(target, direction):
    """The entropy of a fresh policy is log 8 = 2.08; of one that is sure of itself 0."""
    algorithm, replayed = exploring(make_task("Copy"), alpha=0.1, entropy_target=target, alpha_learning_rate=0.1)
    if direction > 0:
        numbers = numbers_of(algorithm, replayed)
        fill(algorithm.agent.readouts["policy"], numbers, 20.0 * torch.eye(8)[torch.zeros(len(numbers)).long()])
    _, _, metrics = whole_loss(algorithm, replayed)
    change = math.log(algorithm.alpha / 0.1)
    assert change == pytest.approx(-0.1 * (float(metrics["policy/entropy"]) - target), rel=1e-5)
    assert change * direction > 0


def test_clipped_critics_take_the_larger_of_two_losses():
    algorithm, replayed = exploring(make_task("KLTree"), q_clip=0.1)
    numbers = numbers_of(algorithm, replayed)
    plain, _ = exploring(make_task("KLTree"))
    fill(algorithm.agent.readouts["q"], numbers, torch.full((len(numbers), 4), 5.0))
    loss, _, _ = whole_loss(algorithm, replayed)
    algorithm.config = plain.config
    assert whole_loss(algorithm, replayed)[0].item() <= loss.item()
    loss.backward()
    assert algorithm.agent.readouts["q"].weight.grad is not None


def test_separate_critics_share_nothing_with_the_actor():
    algorithm, replayed = exploring(make_task("Copy"), "gpt2-tiny", separate_critic=True)
    log_probs = torch.log_softmax(outputs_of(algorithm, algorithm.agent, replayed, ("policy",)).logits, -1)
    algorithm.actor_losses(log_probs, torch.randn(log_probs.shape), None).mean().backward()
    critic = algorithm.agent.critic_trunk
    assert critic is not None
    assert all(p.grad is None for p in critic.parameters())
    assert any(p.grad is not None for p in algorithm.agent.trunk.parameters())


def test_a_table_reaches_the_kl_regularised_optimum():
    """KLTree (4, 4): the exact regularised value of the learnt policy, within a tenth of what there was to gain."""
    beta = 0.2
    task = make_task("KLTree")
    algorithm = SAC(
        task, "table", seed=1000, alpha=0.0, kl_coef=beta, learning_rate=0.05, rollout_tokens=256,
        learning_starts=512, target_polyak=0.1, updates_per_collection=4, final_epsilon=0.2,
    ).learn(24_000)  # fmt: skip
    solution = solve(task, beta)
    uniform = solution.policy("random")
    value = evaluate_policy(task, algorithm.agent.probabilities, uniform).kl_regularised(beta)
    gain = solution.kl_optimal_return - solution.random_return
    assert value > solution.kl_optimal_return - 0.1 * gain
    assert value <= solution.kl_optimal_return + 1e-6


@pytest.mark.parametrize(
    "config",
    [
        {"initial_alpha": 1.0},
        {"initial_alpha": 1.0, "returns": "n_step", "prioritised": "token"},
        {"actor": "forward_kl", "critics": "mean", "q_clip": 0.5},
        {"initial_alpha": 1.0, "exploration": "boltzmann", "exploration_temperature": 2.0},
        {"alpha": 1.0, "entropy_target": 0.3, "prioritised": "episode"},
    ],
)
def test_the_bandit_is_learnt_under_every_option(config):
    algorithm = SAC("TokenBandit", "table", learning_rate=0.05, **{**QUICK, **config}).learn(8000)
    observation = {"tokens": np.full((1, algorithm.task.max_length), algorithm.task.vocabulary.pad), "length": [[1]]}
    observation["tokens"][0, 0] = algorithm.task.vocabulary.bos
    best = solve(algorithm.task).q_values(observation["tokens"].astype(np.int32), np.array([1])).argmax()
    assert algorithm.predict(observation, deterministic=True)[0] == best


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"prioritised": "token", "separate_critic": True, "initial_alpha": 0.2},
        {"kl_coef": 0.1, "kl_target": 0.5, "alpha": 0.0},
        {"entropy_target": 0.5},
    ],
)
def test_a_run_resumed_from_a_file_equals_one_that_was_never_stopped(tmp_path, config):
    config = {**QUICK, "learning_starts": 100, "replay_capacity": 60, **config}
    whole = SAC("Copy", seed=3, **config).learn(1200)
    half = SAC("Copy", seed=3, **config).learn(1200, callback=Stop(8))
    assert half.num_timesteps < whole.num_timesteps
    half.save(tmp_path / "half")
    resumed = SAC.load(tmp_path / "half").learn(1200)
    assert resumed.num_timesteps == whole.num_timesteps
    assert resumed.log_alpha == whole.log_alpha
    assert resumed.kl_controller.coef == whole.kl_controller.coef
    for mine, theirs in ((resumed.agent, whole.agent), (resumed.target, whole.target)):
        for name, value in theirs.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value), name
    for name, array in whole.replay.state_arrays().items():
        np.testing.assert_array_equal(resumed.replay.state_arrays()[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", -1.0), ("critics", "max"), ("actor", "kl"), ("q_clip", 0.0), ("entropy_target", 0.0)],
)
def test_a_bad_configuration_names_the_field(field, value):
    with pytest.raises(TokenGymError, match=field):
        SAC("Copy", **{field: value})


def test_a_kl_in_the_loss_is_refused():
    with pytest.raises(TokenGymError, match="kl_in"):
        SAC("Copy", kl_coef=0.1, kl_in="loss")
