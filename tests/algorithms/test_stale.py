"""Learning from what an older policy said: TOPR, AsymRE, DPPO, V-trace, against enumeration; and the data."""

import dataclasses
import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tokengym.agents import AgentPolicy
from tokengym.algorithms import A2C, GRPO, PPO, RLOO, TOPR, AsymRE, Reinforce, StopAfter, VTrace, load_algorithm
from tokengym.algorithms.data import Batch, EpisodeReplay, Episodes
from tokengym.algorithms.parts import gae, vtrace
from tokengym.envs import TokenGymError
from tokengym.experiments.audit import LeafTree, all_episodes, audit, drawn, expected_gradient, table_agent

pytestmark = pytest.mark.filterwarnings("ignore:.*within every one of the collected groups")
G = 2
REWARDS = np.random.default_rng(0).uniform(size=16).tolist()


def tree(rewards=REWARDS):
    return LeafTree.full(2, 4, rewards)


def a_policy(seed, spread, around=None):
    """A table's policy whose logits are normal around another's."""
    agent = table_agent(tree(), around)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        table = agent.readouts["policy"].weight
        table.add_(spread * torch.randn(table.shape, generator=generator, dtype=table.dtype))
    return agent.probabilities


BEHAVIOUR = a_policy(0, 0.5)
POLICY = a_policy(1, 0.3, BEHAVIOUR)
"""What it has become since: the logits have moved by .3·normal."""


def made(kind, task, policy, **options):
    heads = ("policy", "value") if kind in (VTrace, A2C, PPO) else ("policy",)
    given = {"entropy_coef": 0.0, "reward_scaling": False, "loss_aggregation": "sum"}
    if kind in (VTrace, A2C, PPO):
        given |= {"whiten_advantages": False}
    elif kind is not Reinforce:
        given |= {"group_size": G}
    return kind(task, table_agent(task, policy, heads=heads), seed=0, **{**given, **options})


def acting(algorithm, gradients):
    return gradients.of["readouts.policy.weight"].flatten()


def expected(kind, policy=POLICY, behaviour=None, task=None, **options):
    """The expected gradient of the method's own loss where ``behaviour`` (None: the policy itself) speaks."""
    task = task or tree()
    algorithm = made(kind, task, policy, **options)
    if behaviour is not None:
        algorithm.behaviour = SimpleNamespace(on_policy=False)
    episodes, chances = all_episodes(task, behaviour or policy)
    size = algorithm.config.group_size
    return acting(algorithm, expected_gradient(algorithm, drawn(episodes, chances, size)))


def leaves(task, policy):
    """Log-probabilities of the leaves with their graph, and the table that they are of."""
    agent = table_agent(task, policy)
    batch = Batch.from_episodes(all_episodes(task)[0])
    said = batch.score(agent).log_probs
    return said.new_zeros(len(batch.tokens)).index_add(0, batch.rows, said), list(agent.parameters())


def descent(weigh, policy=POLICY, behaviour=BEHAVIOUR, task=None):
    """−Σ_leaves weigh(μ, π, R)·∇log π."""
    task = task or tree()
    log_probs, parameters = leaves(task, policy)
    mu = leaves(task, behaviour)[0].detach().exp()
    returns = torch.as_tensor(all_episodes(task)[0].returns)
    weights = weigh(mu, log_probs.detach().exp(), returns)
    return -torch.autograd.grad((weights * log_probs).sum(), parameters)[0].flatten()


TRUE = descent(lambda mu, pi, r: pi * r)


def assert_equal(found, exact):
    assert exact.abs().max() > 1e-3
    torch.testing.assert_close(found, exact, atol=1e-10, rtol=0)


def cosine(one, other):
    return float(one @ other / one.norm() / other.norm())


# Gradients on what the policy itself said --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "factor"),
    [
        (TOPR, {}, 1.0),
        (TOPR, {"offset": 0.5}, 1.0),  # with episodes on both sides of it
        (TOPR, {"baseline": "leave_one_out"}, 1.0),
        (AsymRE, {"baseline": "leave_one_out"}, 1.0),
        (AsymRE, {}, (G - 1) / G),
        (AsymRE, {"offset": -3.0}, (G - 1) / G),
        (GRPO, {"preset": "dppo", "reward_scaling": False, "loss_aggregation": None}, (G - 1) / G),
        (VTrace, {}, 1.0),
        (VTrace, {"gae_lambda": 0.0}, 1.0),  # the critic is exact
    ],
)
def test_on_fresh_episodes_it_is_the_gradient_of_reinforce(kind, options, factor):
    assert_equal(expected(kind, **options), TRUE * factor)


def test_v_trace_of_what_the_policy_itself_said_is_a2c_of_lambda_1():
    task = tree()
    episodes = all_episodes(task, POLICY)[0].select([0, 3, 3, 9, 14])
    found = []
    for kind in (A2C, VTrace):
        algorithm = made(kind, task, POLICY, gae_lambda=1.0)
        with torch.no_grad():  # a critic that is wrong
            algorithm.agent.readouts["value"].weight.add_(0.2)
        prepared = algorithm.prepare(episodes)
        loss = algorithm.loss(prepared.batch, prepared).total
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(algorithm.agent.parameters()))]))
    assert_equal(*found)


# Gradients on what an older policy said ----------------------------------------------------------------------------


def test_topr_clones_good_episodes_by_their_worth_and_cuts_the_weight_of_bad_ones():
    assert_equal(expected(TOPR, behaviour=BEHAVIOUR), descent(lambda mu, pi, r: mu * r))
    below = descent(lambda mu, pi, r: torch.where(r < 0.6, torch.minimum(pi, mu), mu) * (r - 0.6))
    assert_equal(expected(TOPR, behaviour=BEHAVIOUR, offset=0.6), below)


def test_asymre_weighs_nothing_and_its_offset_is_so_much_cloning():
    def formula(mu, pi, r, delta):
        mean = (mu * r).sum()
        return mu * ((r - mean) * (G - 1) / G - delta)

    for delta in (-0.1, -1.0):
        stale = descent(lambda mu, pi, r, delta=delta: formula(mu, pi, r, delta))
        assert_equal(expected(AsymRE, behaviour=BEHAVIOUR, offset=delta), stale)


def test_dppo_stops_where_a_probability_has_moved_too_far_and_not_before():
    task, bound = tree(), 0.05
    options = {"preset": "dppo", "loss_aggregation": None, "clip_low": bound, "clip_high": bound, "ratio_cap": 1.1}
    found = expected(GRPO, behaviour=BEHAVIOUR, **options)
    agent, episodes = table_agent(task, POLICY), all_episodes(task, BEHAVIOUR)[0]
    batch = Batch.from_episodes(episodes)
    log_probs = batch.score(agent).log_probs
    pi, mu = log_probs.detach().exp(), batch.log_probs.exp()
    chance = np.exp(np.bincount(batch.rows, batch.log_probs))
    total, stopped = torch.zeros((), dtype=torch.float64), 0
    for pair in itertools.product(range(16), repeat=2):
        mean = episodes.returns[list(pair)].mean()
        for one in pair:
            advantage, own = episodes.returns[one] - mean, batch.rows == one
            kept = pi[own] - mu[own] <= bound if advantage > 0 else pi[own] - mu[own] >= -bound
            weights = (pi[own] / mu[own]).clamp(max=1.1) * kept
            stopped += int((~kept).sum())
            total = total - chance[list(pair)].prod() * advantage * (weights * log_probs[own]).sum() / 2
    assert stopped
    assert_equal(found, torch.autograd.grad(total, list(agent.parameters()))[0].flatten())
    # Without bounds it is importance sampling of tokens; a bound that nothing reaches changes nothing.
    loose = {**options, "clip_low": 1.0, "clip_high": 1.0, "ratio_cap": 1e6}
    tokens = expected(RLOO, behaviour=BEHAVIOUR, importance="truncate", importance_cap=1e6)
    assert_equal(expected(GRPO, behaviour=BEHAVIOUR, **loose), tokens * (G - 1) / G)


WHOLE = {"importance": "truncate", "importance_level": "sequence"}
UNCUT = {"rho_cap": 1e6, "trace_cap": 1e6}


@pytest.mark.parametrize(
    ("kind", "options", "near", "scale", "error"),
    [
        (RLOO, {}, 0.943, 0.93, 0.34),
        (RLOO, {"importance": "truncate"}, 0.967, 0.96, 0.26),
        (RLOO, WHOLE, 1.000, 1.00, 0.00),
        (VTrace, {}, 0.985, 0.90, 0.19),
        (VTrace, UNCUT, 0.995, 1.02, 0.10),
        (TOPR, {}, 0.901, 1.09, 0.53),
        (TOPR, {"baseline": "leave_one_out"}, 0.974, 0.88, 0.24),
        (AsymRE, {}, 0.947, 0.49, 0.53),
        (AsymRE, {"offset": -1.0}, 0.652, 0.75, 0.91),
        (GRPO, {"preset": "dppo", "loss_aggregation": None}, 0.965, 0.48, 0.54),
    ],
)
def test_what_stale_episodes_do_is_what_the_page_says(kind, options, near, scale, error):
    found = expected(kind, behaviour=BEHAVIOUR, **options)
    assert cosine(found, TRUE) == pytest.approx(near, abs=6e-4)
    assert float(found @ TRUE / (TRUE @ TRUE)) == pytest.approx(scale, abs=6e-3)
    assert float((found - TRUE).norm() / TRUE.norm()) == pytest.approx(error, abs=6e-3)


def test_weights_of_whole_episodes_alone_are_unbiased():
    assert_equal(expected(RLOO, behaviour=BEHAVIOUR, **WHOLE, importance_cap=1e6), TRUE)


def test_the_audit_lets_them_see_that_an_older_policy_spoke():
    usual = {"fixed_points": False, "smallest": False, "groups": 1}
    small = LeafTree.full(2, 2, [0.3, 0.0, 1.0, 0.2])
    found = audit("topr", small, group_size=2, baseline="leave_one_out", **usual)
    assert found.level == "sequence" and found.behaviours["fresh"].comparison.unbiased
    assert 0.9 < found.behaviours["stale"].comparison.cosine < 1 - 1e-6, "good episodes are not weighed"
    weighed = audit("v-trace", small, whiten_advantages=False, loss_aggregation="sum", rho_cap=9.0, **usual)
    assert weighed.behaviours["fresh"].comparison.unbiased and weighed.critic < 1e-9
    assert weighed.behaviours["stale"].comparison.bias < found.behaviours["stale"].comparison.bias


# V-trace -------------------------------------------------------------------------------------------------------------


def a_history(seed=0, gamma=0.9):
    """Some episodes of different lengths, one of them truncated, with numbers drawn for all that V-trace asks for."""
    task = LeafTree.stopping(3, 3, np.zeros(15))
    episodes = all_episodes(task)[0].select([0, 4, 9, 14, 2])
    truncated = np.array([False, False, False, True, False])
    episodes = Episodes(**{**vars(episodes), "terminated": ~truncated, "truncated": truncated})
    rng, count = np.random.default_rng(seed), len(episodes.flat)
    return episodes.flat, rng.normal(size=count), rng.normal(size=count), rng.normal(size=5), rng.normal(size=count)


def by_the_paper(flat, rewards, values, final, log_ratio, gamma, rho_cap, trace_cap, lam):
    """Equation 1 as a sum over what follows, and the weight of the policy's gradient (section 4.2)."""
    ratio = np.exp(log_ratio)
    rho, trace = np.minimum(ratio, rho_cap), lam * np.minimum(ratio, trace_cap)
    targets, following = np.zeros(len(flat)), np.zeros(len(flat))
    for episode in range(len(flat.terminated)):
        own = np.flatnonzero(flat.episode == episode)
        end = 0.0 if flat.terminated[episode] else final[episode]
        behind = np.append(values[own][1:], end)
        for place, t in enumerate(own):
            total = values[t]
            for k in range(place, len(own)):
                error = rewards[own[k]] + gamma * behind[k] - values[own[k]]
                total += gamma ** (k - place) * np.prod(trace[own[place:k]]) * rho[own[k]] * error
            targets[t] = total
        following[own] = np.append(targets[own][1:], end)
    return rho * (rewards + gamma * following - values), targets


@pytest.mark.parametrize(
    ("rho_cap", "trace_cap", "lam"), [(1.0, 1.0, 1.0), (2.0, 0.7, 0.9), (1e9, 1e9, 1.0), (1.0, 1.0, 0.0)]
)
def test_v_trace_is_the_papers_formula(rho_cap, trace_cap, lam):
    history = a_history()
    found, exact = vtrace(*history, 0.9, rho_cap, trace_cap, lam), by_the_paper(*history, 0.9, rho_cap, trace_cap, lam)
    np.testing.assert_allclose(found, exact, atol=1e-12)


@pytest.mark.parametrize("lam", [1.0, 0.7, 0.0])
def test_v_trace_of_what_the_policy_itself_said_has_the_returns_of_lambda_for_targets(lam):
    flat, rewards, values, final, _ = a_history()
    _, targets = vtrace(flat, rewards, values, final, np.zeros(len(flat)), 0.9, 1.0, 1.0, lam)
    np.testing.assert_allclose(targets, gae(flat, rewards, values, final, 0.9, lam)[1], atol=1e-12)


@pytest.mark.parametrize(("rho_cap", "trace_cap"), [(1e9, 1.0), (1.0, 1.0), (0.6, 0.3)])
def test_v_trace_rests_at_the_value_of_the_policy_that_rho_cuts_out(rho_cap, trace_cap):
    """Which is π itself where ρ̄ cuts nothing; c̄ has no part in it."""
    gamma, task = 0.9, tree()
    episodes, chances = all_episodes(task, BEHAVIOUR)
    flat = episodes.flat
    prefix = [tuple(episodes.tokens[row, : column + 1]) for row, column in zip(flat.row, flat.column, strict=True)]
    rng = np.random.default_rng(1)
    pays = {known: rng.normal() for known in dict.fromkeys(prefix)}  # a reward for every token in every state
    agent = table_agent(task, POLICY)
    log_pi = Batch.from_episodes(episodes).score(agent).log_probs.detach().numpy()
    cut = {}
    for known, mu, pi in zip(prefix, np.exp(flat.log_prob), np.exp(log_pi), strict=True):
        cut[known] = min(rho_cap * mu, pi)

    def value(state):
        following = [known for known in cut if known[:-1] == state]
        total = sum(cut[known] for known in following)
        return sum(cut[known] / total * (pays[known] + gamma * value(known)) for known in following)

    rewards = np.array([pays[known] for known in prefix])
    values = np.array([value(known[:-1]) for known in prefix])
    ratio = log_pi - flat.log_prob
    _, targets = vtrace(flat, rewards, values, np.zeros(len(episodes)), ratio, gamma, rho_cap, trace_cap)
    pulled = {}
    for known, chance, error in zip(prefix, chances[flat.episode], targets - values, strict=True):
        pulled[known[:-1]] = pulled.get(known[:-1], 0.0) + chance * error
    assert np.abs(targets - values).max() > 0.1
    np.testing.assert_allclose(list(pulled.values()), 0.0, atol=1e-12)


# Which data ----------------------------------------------------------------------------------------------------------

STALE = {"sync_every": 4}
REPLAYED = {"replay_capacity": 32, "updates_per_collection": 2}


def small(kind, **options):
    group = {"group_size": 4} if "group_size" in options or kind in (RLOO, GRPO, TOPR, AsymRE) else {}
    given = {"rollout_tokens": 32, "num_rows": 8, "learning_rate": 0.05}
    return kind("KLTree", "table", seed=0, **{**given, **group, **options})


def test_who_collects_lags_and_is_brought_up_to_date():
    algorithm, seen = small(TOPR, **STALE), []
    for _ in range(9):
        episodes = algorithm.collect()
        batch = Batch.from_episodes(episodes)
        own = batch.score(algorithm.agent).log_probs.detach()
        seen.append(float((own - batch.log_probs).abs().max()))
        algorithm.update(episodes)
        algorithm.num_updates += 1
    fresh = [error < 1e-4 for error in seen]
    assert fresh == [True, False, False, False] * 2 + [True]


@pytest.mark.parametrize("kind", [TOPR, VTrace, PPO, RLOO])
def test_a_replay_of_one_collection_is_that_collection(kind):
    ends = []
    for options in ({}, {"replay_capacity": 8}):
        given = {"minibatches": 1} if kind is PPO else {}
        algorithm = small(kind, dtype="float64", **given, **options)
        for _ in range(3):
            algorithm.update(algorithm.collect())
        ends.append(torch.cat([p.detach().flatten() for p in algorithm.agent.parameters()]))
    torch.testing.assert_close(*ends, atol=1e-9, rtol=0)


def test_draws_are_whole_groups_none_twice_and_keep_who_said_what():
    algorithm = small(TOPR, replay_capacity=16, updates_per_collection=3)
    said = {}
    for _ in range(4):
        episodes = algorithm.collect()
        for one in range(len(episodes)):
            of = episodes.select([one])
            said.setdefault((int(of.starts[0]), of.tokens.tobytes()), of.flat.log_prob)
        draws = list(algorithm.drawn(episodes))
        assert len(draws) == 3
        for draw in draws:
            assert len(draw) == len(episodes)
            groups = draw.starts.reshape(-1, 4)
            assert (groups == groups[:, :1]).all()
            assert len(np.unique(groups[:, 0])) == len(groups)
            for one in range(len(draw)):
                of = draw.select([one])
                np.testing.assert_array_equal(said[int(of.starts[0]), of.tokens.tobytes()], of.flat.log_prob)
    assert len(algorithm.replay) == 16


@pytest.mark.parametrize("kind", [TOPR, VTrace, AsymRE, PPO, GRPO])
def test_a_resumed_run_goes_on_with_the_same_copy_and_the_same_memory(kind, tmp_path):
    options = {**STALE, **REPLAYED, **({"minibatches": 2} if kind in (PPO, GRPO) else {})}
    through = small(kind, **options).learn(224)
    half = small(kind, **options).learn(224, callback=StopAfter(96))
    half.save(tmp_path / "half")
    resumed = load_algorithm(tmp_path / "half").learn(224)
    for one, other in zip(through.agent.parameters(), resumed.agent.parameters(), strict=True):
        assert torch.equal(one, other)


def test_ratios_are_to_who_spoke_where_that_was_not_the_policy():
    task = tree()
    episodes, _ = all_episodes(task, BEHAVIOUR)
    stale = made(PPO, task, POLICY, sync_every=2)
    batch = stale.prepare(episodes).batch
    np.testing.assert_array_equal(batch.log_probs.numpy(), episodes.flat.log_prob)
    weighed = made(PPO, task, POLICY, sync_every=2, importance="truncate").prepare(episodes)
    own = Batch.from_episodes(episodes).score(stale.agent).log_probs.detach()
    torch.testing.assert_close(weighed.batch.log_probs, own)  # a ratio to the policy before the step, weighed by π/μ
    with pytest.raises(TokenGymError, match="the ratio of new to old probability is off"):
        made(PPO, task, POLICY).prepare(episodes)


# With importance a ratio is to the policy before the update, however old the data, and 1 before the first step.
ONE_STEP = {"sync_every": 2, "importance": "truncate", "minibatches": 1}
WHOLE_KL = {"kl_coef": 0.1, "kl_in": "loss", "kl_estimator": "k2", "kl_level": "sequence"}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RLOO, {"replay_capacity": 10}, "replay_capacity is 10; expected a multiple of group_size"),
        (TOPR, {"importance": "truncate"}, "importance is 'truncate'.*their own truncated ratio"),
        (VTrace, {"importance": "mask"}, "importance is 'mask'.*rho_cap and trace_cap"),
        (VTrace, {"trace_cap": 2.0}, "trace_cap is 2.0; expected at most rho_cap"),
        (PPO, {"updates_per_collection": 2}, "updates_per_collection is 2.*replay_capacity is 0"),
        (PPO, {"sync_every": 2, "ratio_tolerance": 0.1}, "ratio_tolerance is 0.1"),
        (GRPO, {"ratio_cap": 5.0}, "ratio_cap is 5.0"),
        (GRPO, {"preset": "dppo", "ratio": "sequence"}, "surrogate is None.*the ratio is 'token'"),
        (PPO, {**ONE_STEP, "epochs": 1, "clip": 0.1}, "clip is 0.1.*the only step starts from the old policy"),
        (GRPO, {**ONE_STEP, "clip_low": 0.1}, "clip_low is 0.1.*the only step starts from the old policy"),
        (GRPO, {**ONE_STEP, "entropy_control": "kl-cov"}, "entropy_control is 'kl-cov'"),
        (AsymRE, {"whiten_advantages": True}, r"whiten_advantages is True; expected False with an offset \(-0.1\)"),
        (TOPR, {"whiten_advantages": None, "offset": 0.2}, "whiten_advantages is None; expected False with an offset"),
        (A2C, {**WHOLE_KL, "importance": "mask"}, "importance_level is 'token'; expected 'sequence' where the loss"),
    ],
)
def test_what_contradicts_is_refused_by_name(kind, options, message):
    with pytest.raises(TokenGymError, match=message):
        kind("KLTree", "table", **options)


def test_what_is_old_alone_keeps_its_bounds():
    PPO("KLTree", "table", epochs=1, minibatches=1, sync_every=2, clip=0.1)
    GRPO("KLTree", "table", minibatches=1, replay_capacity=64, clip_low=0.1)
    A2C("KLTree", "table", **WHOLE_KL, importance="mask", importance_level="sequence")
    A2C("KLTree", "table", **{**WHOLE_KL, "kl_in": "reward"}, importance="mask")
    TOPR("KLTree", "table", whiten_advantages=True)
    AsymRE("KLTree", "table", whiten_advantages=None, kl_coef=0.1)


def test_on_fresh_data_no_token_counts_as_cut():
    algorithm = VTrace("KeywordCover", "gpt2-tiny", seed=0, rollout_tokens=256)
    episodes = algorithm.collect()
    assert algorithm.update(episodes)["policy/cut_fraction"] == 0
    older = dataclasses.replace(episodes, log_probs=episodes.log_probs - 0.1 * episodes.agent_mask)
    assert VTrace("KeywordCover", "gpt2-tiny", seed=0, sync_every=2).update(older)["policy/cut_fraction"] == 1


class OfItsOwn(RLOO):
    """Collects with whatever it likes."""

    def make_behaviour(self, sampler):
        return AgentPolicy(self.agent, sampler)


def test_somebody_elses_lag_is_not_ours_to_set():
    with pytest.raises(TokenGymError, match="sync_every is 2; expected 1: rloo collects with a policy of its own"):
        OfItsOwn("KLTree", "table", sync_every=2)
    assert OfItsOwn("KLTree", "table").learn(32).num_updates


def test_who_does_not_say_with_which_probability_cannot_be_weighed():
    task = tree()
    episodes, _ = all_episodes(task, BEHAVIOUR)
    unknown = Episodes(**{**vars(episodes), "log_probs": np.where(episodes.agent_mask, np.nan, 0.0)})
    algorithm = made(TOPR, task, POLICY)
    algorithm.behaviour = SimpleNamespace(on_policy=False)
    with pytest.raises(TokenGymError, match="topr compares with what drew the tokens, which did not say"):
        algorithm.prepare(unknown)


def test_an_empty_replay_has_no_groups():
    with pytest.raises(TokenGymError, match="groups of 4 from a replay of 0 episodes"):
        EpisodeReplay(8, pad=0).sample_groups(1, 4)


@pytest.mark.parametrize("data", [{}, STALE, REPLAYED], ids=["fresh", "stale", "replayed"])
@pytest.mark.parametrize("kind", [TOPR, AsymRE, VTrace])
def test_a_tree_is_learnt_from_all_kinds_of_data(kind, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        algorithm = small(kind, **data)
        before = algorithm.collect().returns.mean()
        algorithm.learn(3000)
        after = np.mean([algorithm.collect().returns.mean() for _ in range(4)])
    assert after > before + 0.1
