"""REINFORCE, RLOO, GRPO and its presets, against enumeration by plain formulas and against one another."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
import torch

from tokengym.algorithms import A2C, GRPO, PPO, RLOO, Reinforce, ReinforcePP
from tokengym.algorithms.configs.groups import PRESETS
from tokengym.algorithms.data import Batch, Episodes
from tokengym.algorithms.parts import (
    collision_probabilities,
    group_advantages,
    group_numbers,
    squared_scores,
    step_baselines,
)
from tokengym.envs import TokenGymError
from tokengym.envs.finite.task import FiniteTask, Initial, Transition
from tokengym.envs.vocabulary import Vocabulary
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, table_agent

LEAVES = ("0", "10", "110", "111")
G = 3


class Stopping(FiniteTask):
    """Token 0 ends, and so does the third token: four episodes of one to three tokens."""

    name = "Stopping"
    turn_tokens = 1

    def __init__(self, rewards):
        self.vocabulary = Vocabulary.of(["0", "1"])
        self.rewards = dict(zip(LEAVES, rewards, strict=True))

    def initial(self):
        return [Initial(1.0, "")]

    def transitions(self, state, action):
        said = f"{state}{action}"
        if said in self.rewards:
            return [Transition(1.0, None, float(self.rewards[said]))]
        return [Transition(1.0, said, 0.0)]


def skewed(shift):
    """A policy, as probabilities from tokens and lengths, that says 1 more or less often the longer it has spoken."""

    def policy(tokens, lengths):
        one = 1 / (1 + np.exp(-(shift + 0.3 * np.asarray(lengths))))
        return np.stack([1 - one, one], axis=1)

    return policy


DENSE, SOLVED = (0.9, 0.2, 0.6, 0.35), (0.0, 1.0, 0.0, 1.0)
OLD, NEW = skewed(-0.4), skewed(0.25)


def said_by(agent, episodes):
    """Log-probabilities of the tokens of each of the four leaves, with their graph."""
    batch = Batch.from_episodes(episodes)
    log_probs = batch.score(agent).log_probs
    return [log_probs[batch.rows == row] for row in range(len(episodes))]


def ratio_loss(new, old, advantage, low, high):
    ratio = (new - old).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)


def formula(preset, returns, new, old):
    """The loss of one group as its paper writes it; ``new`` and ``old`` are lists of token log-probabilities."""
    r, T = torch.tensor(returns, dtype=torch.float64), [len(x) for x in new]
    size, mean = len(r), r.mean()
    if preset == "dapo" and bool((r == r[0]).all()):
        return sum((x.sum() * 0 for x in new), torch.zeros(()))
    std = r.std()
    A = (r - mean) / std if float(std) > 1e-9 else r * 0
    if preset in ("grpo", "dapo", "dr-grpo", "max-rl", "opo", "pass-at-k", "rloo"):
        high = 1.28 if preset == "dapo" else 1.2
        if preset == "dr-grpo":
            A = r - mean
        elif preset == "max-rl":
            A = (r - mean) / mean if float(mean) else r * 0
        elif preset == "opo":
            A = r - sum(t * x for t, x in zip(T, r, strict=True)) / sum(T)
        elif preset == "rloo":
            A = torch.stack([r[i] - (r.sum() - r[i]) / (size - 1) for i in range(size)])
        elif preset == "pass-at-k":
            order = torch.argsort(r, descending=True, stable=True)
            A = torch.zeros(size, dtype=torch.float64)
            A[order[0]] = r[order[0]] - r[order[1]]
        sums = [ratio_loss(new[i], old[i], A[i], 0.8, high).sum() for i in range(size)]
        if preset == "grpo":
            return sum(s / t for s, t in zip(sums, T, strict=True)) / size
        divisor = {"dapo": sum(T), "dr-grpo": 3 * size}.get(preset, size)
        return sum(sums) / divisor
    if preset == "dppo":
        total = 0.0
        for i in range(size):
            ratio, moved = (new[i] - old[i]).exp().detach(), (new[i].exp() - old[i].exp()).detach()
            advantage = r[i] - mean
            kept = moved <= 0.2 if advantage > 0 else moved >= -0.2
            total = total - (ratio.clamp(max=20) * kept * advantage * new[i]).sum() / size
        return total
    if preset == "gspo":
        s = [(new[i] - old[i]).mean() for i in range(size)]
        return sum(ratio_loss(s[i], 0 * s[i].detach(), A[i], 1 - 3e-4, 1 + 4e-4) for i in range(size)) / size
    if preset == "cispo":
        kept = [(new[i] - old[i]).exp().clamp(max=5.0).detach() for i in range(size)]
        return -sum((kept[i] * A[i] * new[i]).sum() for i in range(size)) / sum(T)
    assert preset == "gmpo"
    low, high = np.log(1 - 0.3297), np.log(1 + 0.4918)
    total = 0.0
    for i in range(size):
        log_ratio = new[i] - old[i]
        sign = torch.sign(A[i])
        held = sign * torch.minimum(sign * log_ratio, sign * log_ratio.clamp(low, high)) if sign else log_ratio
        total = total - A[i] * held.mean().exp()
    return total / size


def by_formula(task, preset, policy, behaviour, size=G):
    """The expected gradient at ``policy`` of groups that ``behaviour`` drew, over all ordered groups."""
    agent, other = table_agent(task, policy), table_agent(task, behaviour)
    episodes, _ = all_episodes(task)
    new, old = said_by(agent, episodes), [x.detach() for x in said_by(other, episodes)]
    chance = [float(x.sum().exp()) for x in old]
    total = torch.zeros((), dtype=torch.float64)
    for group in itertools.product(range(len(episodes)), repeat=size):
        loss = formula(preset, [episodes.returns[i] for i in group], [new[i] for i in group], [old[i] for i in group])
        total = total + np.prod([chance[i] for i in group]) * loss
    return torch.autograd.grad(total, list(agent.parameters()))[0].flatten()


def made(kind, task, agent, **options):
    given = {"group_size": G} if kind in (GRPO, RLOO) else {}
    if kind is not GRPO:
        given["reward_scaling"] = False
    return kind(task, agent, seed=0, dtype="float64", **{**given, **options})


def expected(kind, task, policy=OLD, size=G, moved=None, behaviour=None, **options):
    """The expected gradient of the algorithm itself."""
    agent = table_agent(task, policy)
    episodes, chances = all_episodes(task, behaviour or policy)
    weights = None if moved is None else dict(table_agent(task, moved).named_parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # groups of the same leaf are tied
        algorithm = made(kind, task, agent, **options)
        return expected_gradient(algorithm, drawn(episodes, chances, size), weights)


def of_objective(task, policy, worth):
    """−∇ of ``worth(leaf log-probabilities (4,), returns (4,))``."""
    agent = table_agent(task, policy)
    episodes, _ = all_episodes(task)
    leaf = torch.stack([x.sum() for x in said_by(agent, episodes)])
    value = worth(leaf, torch.as_tensor(episodes.returns))
    return -torch.autograd.grad(value, list(agent.parameters()))[0].flatten()


def mean_return(leaf, returns):
    return (leaf.exp() * returns).sum()


def best_of(size):
    def worth(leaf, returns):
        total = torch.zeros((), dtype=torch.float64)
        for group in itertools.product(range(len(returns)), repeat=size):
            total = total + torch.stack([leaf[i] for i in group]).sum().exp() * max(returns[i] for i in group)
        return total

    return worth


def truncated_likelihood(order):
    def worth(leaf, returns):
        p = mean_return(leaf, returns)
        return -sum((1 - p) ** k / k for k in range(1, order + 1))

    return worth


def assert_equal(found, exact):
    assert exact.abs().max() > 1e-3
    torch.testing.assert_close(found, exact, atol=1e-10, rtol=0)


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_is_the_formula_of_its_paper_on_fresh_and_on_stale_tokens(preset):
    task = Stopping(SOLVED if preset == "max-rl" else DENSE)
    once = {"epochs": 1, "minibatches": 1}
    assert_equal(expected(GRPO, task, preset=preset, **once).vector, by_formula(task, preset, OLD, OLD))
    stale = expected(GRPO, task, preset=preset, moved=NEW).vector
    assert_equal(stale, by_formula(task, preset, NEW, OLD))


def test_what_methods_do_to_the_return_in_expectation():
    task = Stopping(DENSE)
    exact = of_objective(task, OLD, mean_return)
    assert_equal(expected(RLOO, task).vector, exact)
    own = {"baseline": "mean", "credit": "episode", "group_size": G}
    assert_equal(expected(Reinforce, task, **own).vector, exact * (G - 1) / G)
    assert_equal(expected(GRPO, task, preset="dr-grpo").vector, exact * (G - 1) / G / 3)
    for baseline in ("none", "leave_one_out"):
        assert_equal(expected(Reinforce, task, size=2, baseline=baseline).vector, exact)


def test_the_second_best_makes_the_gradient_of_the_best_of_a_group():
    found = expected(GRPO, Stopping(DENSE), preset="pass-at-k").vector
    assert_equal(found * G, of_objective(Stopping(DENSE), OLD, best_of(G)))


@pytest.mark.parametrize("size", [2, 3])
def test_max_rl_follows_the_likelihood_of_success_to_one_order_less_than_its_groups(size):
    found = expected(GRPO, Stopping(SOLVED), preset="max-rl", size=size, group_size=size).vector
    assert_equal(found, of_objective(Stopping(SOLVED), OLD, truncated_likelihood(size - 1)))


def test_a_critic_that_is_exact_leaves_the_gradient_and_takes_variance_off():
    task = Stopping(DENSE)
    episodes, chances = all_episodes(task, OLD)
    exact = of_objective(task, OLD, mean_return)
    agent = table_agent(task, OLD, heads=("policy", "value"))
    critic = expected_gradient(
        made(Reinforce, task, agent, baseline="value", value_coef=0.0), drawn(episodes, chances, 1)
    )
    policy = critic.of[next(name for name in critic.of if "policy" in name)].flatten()
    assert_equal(policy, exact)
    none = expected(Reinforce, task, size=1, baseline="none")
    assert critic.variance < none.variance
    among = {kind: expected(Reinforce, task, size=4, baseline=kind).variance for kind in ("none", "leave_one_out")}
    assert among["leave_one_out"] < among["none"]


def test_the_size_of_a_score_is_that_of_the_gradient_by_the_logits_of_a_table():
    task = Stopping(DENSE)
    agent = table_agent(task, OLD)
    episodes, _ = all_episodes(task, OLD)
    batch = Batch.from_episodes(episodes)
    log_probs = batch.score(agent).log_probs
    sizes = squared_scores(episodes.flat, log_probs.detach().exp().numpy(), collision_probabilities(agent, batch))
    for row in range(len(episodes)):
        own = torch.nonzero(batch.rows == row).squeeze(1)
        for count in range(1, len(own) + 1):
            (gradient,) = torch.autograd.grad(log_probs[own[:count]].sum(), list(agent.parameters()), retain_graph=True)
            assert sizes[own[count - 1]] == pytest.approx(float(gradient.square().sum()), abs=1e-12)


def test_the_optimal_baseline_of_known_returns_has_the_least_variance():
    returns, weights = np.array([1.0, 3.0, 2.0]), np.array([1.0, 4.0, 0.5])
    found = step_baselines(returns, np.zeros(3, int), "optimal", weights)
    second_moment = [float((weights * (returns - b) ** 2).sum()) for b in (found[0] - 1e-3, found[0], found[0] + 1e-3)]
    assert min(second_moment) == second_moment[1]


def gradient_of(algorithm, episodes):
    prepared = algorithm.prepare(episodes)
    loss = algorithm.loss(prepared.batch, prepared).total
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(algorithm.agent.parameters()))])


def collected(task, count, size=1, behaviour=OLD):
    """Some episodes in groups, float64."""
    episodes, chances = all_episodes(task, behaviour)
    rng = np.random.default_rng(0)
    chosen = episodes.select(rng.choice(len(episodes), count, p=chances))
    object.__setattr__(chosen, "starts", np.repeat(np.arange(count // size), size).astype(np.uint64))
    return chosen


def test_methods_that_are_one_another_have_one_gradient():
    task = Stopping(DENSE)
    episodes = collected(task, 24, G)
    rloo = gradient_of(made(RLOO, task, table_agent(task, OLD)), episodes)
    options = {"baseline": "leave_one_out", "credit": "episode", "group_size": G}
    assert_equal(gradient_of(made(Reinforce, task, table_agent(task, OLD), **options), episodes), rloo)
    for minibatches in (1, 4):  # the ratio of the first step is 1
        preset = made(GRPO, task, table_agent(task, OLD), preset="rloo", minibatches=minibatches)
        assert_equal(gradient_of(preset, episodes), rloo)
    dr = gradient_of(made(GRPO, task, table_agent(task, OLD), preset="dr-grpo"), episodes)
    plain = made(GRPO, task, table_agent(task, OLD), scale="none", loss_aggregation="constant")
    assert_equal(gradient_of(plain, episodes), dr)
    assert_equal(rloo * (G - 1) / G / 3, dr)

    heads = {"heads": ("policy", "value")}
    shared = {"loss_aggregation": "token", "kl_coef": 0.1, "kl_reference": "uniform"}
    a2c = {"gae_lambda": 1.0, "entropy_coef": 0.0, "whiten_advantages": False}
    critic = gradient_of(made(A2C, task, table_agent(task, OLD, **heads), **a2c, **shared), episodes)
    value = made(Reinforce, task, table_agent(task, OLD, **heads), baseline="value", **shared)
    assert_equal(gradient_of(value, episodes), critic)

    whitened = made(Reinforce, task, table_agent(task, OLD), baseline="none", whiten_advantages=True, **shared)
    assert_equal(
        gradient_of(made(ReinforcePP, task, table_agent(task, OLD), **shared), episodes),
        gradient_of(whitened, episodes),
    )


class GroupPPO(PPO):
    """PPO with a group's advantages in place of a critic's."""

    def advantages(self, episodes, rewards, scores):
        _, returns, metrics = super().advantages(episodes, rewards, scores)
        group = group_numbers(episodes.starts)
        whole = group_advantages(episodes.returns, group, episodes.episode_lengths, "mean", "std")
        return whole[episodes.flat.episode].astype(rewards.dtype), returns, metrics


def test_ppo_with_the_advantages_of_groups_is_grpo_through_all_its_steps():
    task, ends = Stopping(DENSE), []
    shared = {"epochs": 2, "minibatches": 3, "loss_aggregation": "sequence", "learning_rate": 0.1, "group_size": G}
    apart = {"value_coef": 0.0, "entropy_coef": 0.0, "whiten_advantages": False}
    for kind, options in ((GRPO, {}), (GroupPPO, apart)):
        agent = table_agent(task, OLD, heads=("policy",) if kind is GRPO else ("policy", "value"))
        algorithm = made(kind, task, agent, **shared, **options)
        metrics = algorithm.update(collected(task, 24, G))
        assert metrics["policy/clip_fraction"] > 0
        ends.append(next(p for name, p in agent.named_parameters() if "policy" in name).detach())
    torch.testing.assert_close(*ends, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("options", "exact"),
    [
        ({"importance": "truncate", "importance_level": "sequence", "importance_cap": 1e6}, True),
        ({"importance": "mask", "importance_level": "sequence", "importance_cap": 1e6, "importance_floor": 0.0}, True),
        ({"importance": "truncate", "importance_cap": 1e6}, False),
        ({"importance": "truncate", "importance_level": "sequence", "importance_cap": 0.9}, False),
    ],
)
def test_weights_of_whole_episodes_without_a_cap_take_the_bias_of_another_behaviour_away(options, exact):
    task = Stopping(DENSE)
    found = expected(RLOO, task, NEW, behaviour=OLD, **options).vector
    error = float((found - of_objective(task, NEW, mean_return)).abs().max())
    assert error < 1e-10 if exact else error > 1e-3


def test_a_sampler_of_unknown_probabilities_cannot_be_corrected_for():
    task = Stopping(DENSE)
    episodes = collected(task, 6, G)
    unknown = Episodes(**{**vars_of(episodes), "log_probs": np.where(episodes.agent_mask, np.nan, 0.0)})
    with pytest.raises(TokenGymError, match="did not say with which probability"):
        made(RLOO, task, table_agent(task, OLD), importance="truncate").prepare(unknown)


def vars_of(episodes):
    return {field.name: getattr(episodes, field.name) for field in dataclasses.fields(episodes)}


def of_leaves(task, numbers, size=G):
    episodes, _ = all_episodes(task, OLD)
    chosen = episodes.select(numbers)
    object.__setattr__(chosen, "starts", np.repeat(np.arange(len(numbers) // size), size).astype(np.uint64))
    return chosen


@pytest.mark.parametrize("kind", [RLOO, GRPO])
def test_groups_that_are_all_tied_warn_once_and_the_kl_is_still_learnt(kind):
    task = Stopping(DENSE)
    algorithm = made(
        kind, task, table_agent(task, OLD), kl_coef=0.5, kl_in="loss", kl_estimator="k2", kl_reference="uniform"
    )
    with pytest.warns(RuntimeWarning, match="the gradient of the KL to the reference is still part"):
        gradient = gradient_of(algorithm, of_leaves(task, [0, 0, 0, 3, 3, 3]))
    assert gradient.abs().max() > 1e-3
    gradient_of(algorithm, of_leaves(task, [0, 0, 0]))
    without = made(kind, task, table_agent(task, OLD))
    with pytest.warns(RuntimeWarning, match="rewards teach nothing from this collection. Either"):
        assert gradient_of(without, of_leaves(task, [1, 1, 1])).abs().max() == 0


def test_dropped_groups_weigh_nothing():
    task = Stopping(DENSE)
    agent = table_agent(task, OLD)
    both = gradient_of(made(GRPO, task, agent, preset="dapo"), of_leaves(task, [3, 3, 3, 0, 1, 2]))
    alone = gradient_of(made(GRPO, task, agent, preset="dapo"), of_leaves(task, [0, 1, 2]))
    assert_equal(both, alone)
    kept = gradient_of(made(GRPO, task, agent, preset="dapo", drop_tied=False), of_leaves(task, [3, 3, 3, 0, 1, 2]))
    assert_equal(kept, alone * 6 / 15)


@pytest.mark.parametrize("kind", [RLOO, GRPO])
@pytest.mark.parametrize("apart", [{"gamma": 0.9}, {"length_penalty": 0.1}, {"count_bonus": 0.1}])
def test_equal_returns_that_discounts_penalties_or_bonuses_tell_apart_do_not_warn(kind, apart):
    task = Stopping((1.0, 1.0, 1.0, 1.0))
    algorithm = made(kind, task, table_agent(task, OLD), **apart)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        targets = algorithm.prepare(of_leaves(task, [0, 1, 2]))
    assert targets.advantages.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (GRPO, {"group_size": 1}, "group_size is 1"),
        (RLOO, {"group_size": 1}, "group_size is 1"),
        (GRPO, {"reward_scaling": True}, "reward_scaling is True"),
        (GRPO, {"clip_high": 0.3, "minibatches": 1}, "clip_high is 0.3"),
        (GRPO, {"surrogate": "detached", "preset": "gmpo"}, "surrogate is 'detached'"),
        (GRPO, {"preset": "max-rl", "kl_coef": 0.1, "kl_in": "reward"}, "kl_in is 'reward'"),
        (GRPO, {"preset": "grop"}, "preset is 'grop'"),
        (Reinforce, {"value_coef": 1.0}, "value_coef is 1.0"),
        (Reinforce, {"baseline": "value", "credit": "episode"}, "credit is 'episode'"),
        (ReinforcePP, {"clip": 0.1, "minibatches": 1}, "clip is 0.1"),
        (PPO, {"importance_cap": 3.0}, "importance_cap is 3.0"),
        (PPO, {"importance": "mask", "importance_floor": 3.0}, "importance_floor is 3.0; expected less than"),
        (GRPO, {"preset": "dppo", "ratio": "sequence"}, "is 'token', and preset 'dppo' has 'divergence'"),
    ],
)
def test_what_contradicts_is_refused_by_name(kind, options, message):
    with pytest.raises(TokenGymError, match=message):
        kind("Copy", **options)


def test_max_rl_refuses_negative_returns():
    task = Stopping((0.5, -1.0, 0.2, 0.1))
    with pytest.raises(TokenGymError, match="has the return -1: dividing by a mean of both signs"):
        made(GRPO, task, table_agent(task, OLD), preset="max-rl").prepare(of_leaves(task, [0, 1, 2]))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", [RLOO, GRPO])
def test_a_text_task_is_learnt(kind, seed):
    algorithm = kind("LengthBias", "mlp-tiny", seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        before = algorithm.collect().returns.mean()
        algorithm.learn(4000)
        after = algorithm.collect().returns.mean()
    assert after > before + 0.5
