"""Targets against naive recursions, closed forms and an enumerated tree."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.agents.sampling import log_softmax
from tokengym.algorithms.parts.soft import (
    logit_q,
    logit_values,
    soft_optimal_log_probs,
    soft_optimal_values,
    soft_values,
)
from tokengym.algorithms.parts.targets import (
    EpisodeGrid,
    at_actions,
    cut_traces,
    greedy_actions,
    n_step_targets,
    retrace_traces,
    trace_targets,
)
from tokengym.envs.checking.errors import TokenGymError

lengths_and_seed = given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    seed=st.integers(0, 2**31 - 1),
    gamma=st.sampled_from([1.0, 0.97, 0.5, 0.0]),
)


def draw(lengths, seed, *, count):
    """Random offsets, ``count`` flat arrays of N numbers, and final values of which some are 0."""
    generator = torch.Generator().manual_seed(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    arrays = [torch.randn(int(offsets[-1]), generator=generator, dtype=torch.float64) for _ in range(count)]
    final = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    terminated = torch.rand(len(lengths), generator=generator) < 0.5
    return offsets, arrays, final.masked_fill(terminated, 0.0)


def test_grid_pads_and_flattens_back():
    grid = EpisodeGrid([0, 2, 3, 6])
    flat = torch.arange(6.0)
    assert grid.pad(flat).tolist() == [[0, 1, 0], [2, 0, 0], [3, 4, 5]]
    assert grid.flatten(grid.pad(flat)).tolist() == flat.tolist()
    assert grid.following(flat, torch.tensor([-1.0, -2.0, -3.0])).tolist() == [1, -1, -2, 4, 5, -3]


@pytest.mark.parametrize("offsets", [[0], [1, 2], [0, 2, 2], [0, 3, 1]])
def test_grid_refuses_offsets_that_are_not_episodes(offsets):
    with pytest.raises(TokenGymError, match="offsets"):
        EpisodeGrid(offsets)


@settings(deadline=None)
@lengths_and_seed
def test_n_step_returns_equal_their_definition(lengths, seed, gamma):
    offsets, (rewards, values, corrections), final = draw(lengths, seed, count=3)
    grid = EpisodeGrid(offsets)
    for steps in (1, 2, 3, 10):
        for correction in (None, corrections):
            targets = n_step_targets(rewards, values, final, grid, steps, gamma, correction)
            for e in range(len(lengths)):
                for t in range(offsets[e], offsets[e + 1]):
                    expected = 0.0
                    for k in range(steps):
                        if t + k == offsets[e + 1]:
                            expected += gamma**k * float(final[e])
                            break
                        expected += gamma**k * float(rewards[t + k])
                        if k and correction is not None:
                            expected += gamma**k * float(correction[t + k])
                    else:
                        end = t + steps == offsets[e + 1]
                        expected += gamma**steps * float(final[e] if end else values[t + steps])
                    assert float(targets[t]) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@lengths_and_seed
def test_trace_returns_equal_the_sum_of_discounted_errors(lengths, seed, gamma):
    """Retrace's own definition: G_t = Q_t + Σ_k γ^k (Π_{j=1..k} c_{t+j}) δ_{t+k}."""
    offsets, (rewards, values, action_values, traces), final = draw(lengths, seed, count=4)
    targets = trace_targets(rewards, values, action_values, traces, final, EpisodeGrid(offsets), gamma)
    for e in range(len(lengths)):
        end = offsets[e + 1]
        for t in range(offsets[e], end):
            expected, weight = float(action_values[t]), 1.0
            for k in range(t, end):
                if k > t:
                    weight *= gamma * float(traces[k])
                following = float(final[e] if k + 1 == end else values[k + 1])
                expected += weight * (float(rewards[k]) + gamma * following - float(action_values[k]))
            assert float(targets[t]) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@lengths_and_seed
def test_trace_returns_without_traces_are_one_step_targets(lengths, seed, gamma):
    offsets, (rewards, values, action_values), final = draw(lengths, seed, count=3)
    grid = EpisodeGrid(offsets)
    targets = trace_targets(rewards, values, action_values, torch.zeros_like(rewards), final, grid, gamma)
    torch.testing.assert_close(targets, n_step_targets(rewards, values, final, grid, 1, gamma))


@settings(deadline=None)
@lengths_and_seed
def test_uncut_traces_with_corrections_are_the_longest_corrected_return(lengths, seed, gamma):
    offsets, (rewards, values, action_values), final = draw(lengths, seed, count=3)
    grid = EpisodeGrid(offsets)
    traced = trace_targets(rewards, values, action_values, torch.ones_like(rewards), final, grid, gamma)
    stepped = n_step_targets(rewards, values, final, grid, 10, gamma, values - action_values)
    torch.testing.assert_close(traced, stepped)


def test_a_return_never_reads_another_episode_or_a_terminated_end():
    grid = EpisodeGrid([0, 2, 4])
    rewards, values = torch.tensor([1.0, 2.0, 10.0, 20.0]), torch.full((4,), 1e6)
    targets = n_step_targets(rewards, values, torch.tensor([0.0, 5.0]), grid, 3, 1.0)
    assert targets.tolist() == [3.0, 2.0, 35.0, 25.0]


def test_watkins_traces_give_the_lambda_return_cut_at_off_policy_tokens():
    """With V = Q of the greedy token: G_t = r + γ [(1 − λ) V + λ G] behind a greedy token, r + γ V behind another."""
    q = torch.tensor([[0.0, 1.0], [3.0, 2.0], [1.0, 4.0]], dtype=torch.float64)
    actions = torch.tensor([1, 0, 0])
    rewards = torch.tensor([0.5, 0.25, 2.0], dtype=torch.float64)
    values = q.amax(-1)
    taken = q.gather(1, actions[:, None])[:, 0]
    traces = cut_traces(actions, greedy_actions(q), 0.8)
    targets = trace_targets(rewards, values, taken, traces, torch.zeros(1), EpisodeGrid([0, 3]), 0.9)
    second = 0.25 + 0.9 * 4.0
    first = 0.5 + 0.9 * (0.2 * 3.0 + 0.8 * second)
    assert targets.tolist() == pytest.approx([first, second, 2.0])


def test_retrace_traces_are_clipped_ratios():
    log_probs, behaviour = torch.tensor([0.5, 0.2]).log(), torch.tensor([0.25, 0.4]).log()
    torch.testing.assert_close(retrace_traces(log_probs, behaviour, 0.9), torch.tensor([0.9, 0.45]))
    assert float(retrace_traces(torch.tensor([-torch.inf]), torch.tensor([-1.0]), 0.9)) == 0.0


def test_illegal_tokens_are_never_the_best():
    q = torch.tensor([[1.0, 9.0, 2.0]])
    masks = torch.tensor([[True, False, True]])
    assert greedy_actions(q, masks).tolist() == [2]
    target_q = torch.tensor([[5.0, 7.0, 6.0]])
    assert at_actions(target_q, greedy_actions(q, masks)).tolist() == [6.0]
    assert at_actions(target_q, greedy_actions(q)).tolist() == [7.0]


def test_soft_value_of_the_uniform_policy_is_mean_q_plus_entropy():
    q = torch.tensor([[1.0, 2.0, 6.0, 50.0]])
    masks = torch.tensor([[True, True, True, False]])
    log_probs = torch.log_softmax(torch.zeros(1, 4).masked_fill(~masks, -torch.inf), -1)
    assert float(soft_values(q, log_probs, 0.5)) == pytest.approx(3.0 + 0.5 * math.log(3), rel=1e-6)
    assert float(soft_values(q, log_probs, 0.0, 0.5, log_probs)) == pytest.approx(3.0)


def test_an_infinite_kl_is_refused():
    log_probs = torch.log_softmax(torch.zeros(1, 3), -1)
    reference = torch.log_softmax(torch.tensor([[0.0, 0.0, -torch.inf]]), -1)
    with pytest.raises(TokenGymError, match="infinite"):
        soft_values(torch.zeros(1, 3), log_probs, 0.0, 0.1, reference)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31 - 1), beta=st.sampled_from([0.05, 0.2, 2.0]))
def test_the_soft_optimum_is_the_largest_soft_value(seed, beta):
    generator = torch.Generator().manual_seed(seed)
    q, other, reference = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64)
    other, reference = torch.log_softmax(other, -1), torch.log_softmax(reference, -1)
    best = soft_optimal_log_probs(q, reference, beta)
    optimum = soft_optimal_values(q, reference, beta)
    torch.testing.assert_close(soft_values(q, best, 0.0, beta, reference), optimum)
    assert bool((soft_values(q, other, 0.0, beta, reference) <= optimum + 1e-9).all())


def test_a_policy_s_own_logits_are_a_q_and_a_value_whose_soft_optimum_it_is():
    generator = torch.Generator().manual_seed(1)
    logits, reference = torch.randn(2, 40, 6, generator=generator, dtype=torch.float64) * 3
    masks = torch.rand(40, 6, generator=generator) < 0.6
    masks[:, 0] = True
    for legal in (None, masks):
        log_reference = log_softmax(reference, legal)
        q, values = logit_q(logits, reference, 0.3), logit_values(logits, reference, 0.3, legal)
        torch.testing.assert_close(soft_optimal_values(q, log_reference, 0.3), values, rtol=0, atol=1e-12)
        policy = torch.where(log_reference > -1e30, log_reference + (q - values[:, None]) / 0.3, -torch.inf)
        torch.testing.assert_close(policy.exp(), log_softmax(logits, legal).exp(), rtol=0, atol=1e-12)
        assert float(logit_values(reference, reference, 0.3, legal).abs().max()) == 0.0


def test_soft_values_keep_gradients_finite_where_tokens_are_illegal():
    logits = torch.zeros(2, 3, requires_grad=True)
    masks = torch.tensor([[True, False, True], [False, False, True]])
    log_probs = torch.log_softmax(logits.masked_fill(~masks, -torch.inf), -1)
    soft_values(torch.ones(2, 3), log_probs, 0.3, 0.2, log_probs.detach()).sum().backward()
    assert bool(torch.isfinite(logits.grad).all())


def soft_tree(depth, width, beta, seed):
    """Exact soft Q of a random tree of rewards under a uniform reference, level by level, for every path."""
    rewards = np.random.default_rng(seed).random([width] * depth)
    q = [rewards]
    for _ in range(depth - 1):
        q.insert(0, beta * (np.log(np.exp(q[0] / beta).mean(-1))))
    return rewards, q


@pytest.mark.parametrize("returns", ["one_step", "retrace", "n_step", "longest"])
def test_exact_soft_q_of_a_tree_leaves_no_error_on_any_path(returns):
    depth, width, beta = 3, 3, 0.2
    rewards, exact_q = soft_tree(depth, width, beta, seed=0)
    paths = np.stack(np.meshgrid(*[np.arange(width)] * depth, indexing="ij"), -1).reshape(-1, depth)
    q = torch.tensor(np.stack([exact_q[t][tuple(path[:t])] for path in paths for t in range(depth)]))
    actions = torch.tensor(paths.reshape(-1))
    paid = torch.zeros(len(actions), dtype=torch.float64)
    paid[depth - 1 :: depth] = torch.tensor([rewards[tuple(path)] for path in paths])
    grid = EpisodeGrid(np.arange(0, len(actions) + 1, depth))
    reference = torch.full_like(q, -math.log(width))
    log_probs = soft_optimal_log_probs(q, reference, beta)
    values = soft_values(q, log_probs, 0.0, beta, reference)
    taken = q.gather(1, actions[:, None])[:, 0]
    final = torch.zeros(len(paths), dtype=torch.float64)
    if returns == "n_step":
        targets = n_step_targets(paid, values, final, grid, 2, 1.0, values - taken)
    else:
        policy = log_probs.gather(1, actions[:, None])[:, 0]
        traces = {
            "one_step": torch.zeros_like(paid),
            "retrace": retrace_traces(policy, torch.full_like(policy, -math.log(width)), 0.9),
            "longest": torch.ones_like(paid),
        }[returns]
        targets = trace_targets(paid, values, taken, traces, final, grid, 1.0)
    torch.testing.assert_close(targets, taken, rtol=0, atol=1e-12)
