"""Munchausen and soft DQN: the optimum leaves no error on any data, what is paid is the paper's, and runs get there."""

import numpy as np
import pytest
import torch
from off_policy_cases import QUICK, whole_loss

from tokengym.agents.session import StepOutput
from tokengym.algorithms.configs import DQNConfig
from tokengym.algorithms.data import ReplaySample
from tokengym.algorithms.off_policy import Replayed
from tokengym.algorithms.off_policy.dqn import DQN
from tokengym.algorithms.parts import munchausen_bonuses
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.registration import make_task
from tokengym.experiments.audit.enumeration import all_episodes
from tokengym.experiments.audit.tables import rows_of, table_agent, write
from tokengym.experiments.audit.trees import LeafTree

PAID = [0.3, -0.5, 1.0, 0.2, 0.1, 0.9, 0.0, 0.4, 0.7, 0.6, -1.0, 0.8, 0.5, 0.2, 0.0]
"""What the texts of one to three tokens pay."""


def sparse_tree():
    """One leaf of 256 pays."""
    return LeafTree.full(4, 4, [1.0] + [0.0] * 255)


TASKS = {
    "KLTree": lambda: make_task("KLTree", num_tokens=3, depth=3),
    "sparse": sparse_tree,
    "stopping": lambda: LeafTree.stopping(3, 3, PAID),
    "Copy": lambda: make_task("Copy", num_tokens=3, k=2),
}
WAYS = {
    "entropy": {"tau": 0.3},
    "entropy, no head": {"tau": 0.3, "head_free": True},
    "dueling": {"tau": 0.3, "dueling": True},
    "KL": {"kl_coef": 0.2, "kl_reference": "uniform"},
    "KL to an agent": {"kl_coef": 0.2},
}
RETURNS = {
    "one step": {"returns": "n_step", "n_step": 1},
    "three steps": {"returns": "n_step", "n_step": 3},
    "traces": {"returns": "trace"},
}


def spoken(task, seed):
    """A policy of normal logits."""
    agent = table_agent(task)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        table = agent.readouts["policy"].weight
        table.copy_(torch.randn(table.shape, generator=generator, dtype=table.dtype))
    return agent


def prepared(task, way, **config):
    """A DQN in float64 and a draw of every episode of a task, as the uniform policy has them."""
    chosen = DQNConfig(**{**QUICK, "reward_scaling": False, **WAYS[way], **config})
    heads = ("policy",) if chosen.from_logits else ("q", "value") if chosen.dueling else ("q",)
    reference = spoken(task, 0) if way == "KL to an agent" else None
    algorithm = DQN(task, table_agent(task, None, heads), chosen, reference=reference)
    episodes, _ = all_episodes(task)
    ones = np.ones(len(episodes.flat))
    sample = ReplaySample(episodes, ones, np.arange(len(episodes)))
    return algorithm, Replayed.of(sample, algorithm.learning_rewards(episodes), algorithm.device), episodes


def optimum(algorithm, episodes, gamma=1.0):
    """Rows of the table, X (S, A) and V (S,) of the regularised problem in the end, by backward induction; log m."""
    config, width = algorithm.config, algorithm.task.vocabulary.num_actions
    final = (1 - config.munchausen) * config.tau or config.kl_coef
    flat, row = episodes.flat, rows_of(algorithm.agent, episodes)
    rows, state = np.unique(row, return_inverse=True)
    measure = np.zeros((len(rows), width))
    if config.has_kl and config.kl_reference == "uniform":
        measure -= np.log(width)
    elif config.has_kl:
        same = rows_of(algorithm.reference.agent, episodes)
        table = torch.log_softmax(algorithm.reference.agent.readouts["policy"].weight.detach(), -1).numpy()
        measure[state] = table[same]
    x, v = np.zeros((len(rows), width)), np.zeros(len(rows))
    for step in range(int(flat.step.max()), -1, -1):
        here = np.flatnonzero(flat.step == step)
        behind = np.where(flat.is_last[here], 0.0, v[state[np.minimum(here + 1, len(flat) - 1)]])
        x[state[here], flat.action[here]] = flat.reward[here] + gamma * behind
        at = np.unique(state[here])
        v[at] = final * np.log(np.exp(measure[at] + x[at] / final).sum(1))
    return rows, x, v, measure


def fill(algorithm, rows, q, measure):
    """Write Q into whatever holds it, of the agent and of its slow copy."""
    config = algorithm.config
    for agent in (algorithm.agent, algorithm.target):
        if not config.from_logits:
            write(agent, "q", rows, q)
            if config.dueling:
                write(agent, "value", rows, q.mean(1, keepdims=True))
            continue
        # Any constant added to π_ref's logits is one that is taken off again.
        raw = np.zeros_like(measure)
        if config.has_kl and config.kl_reference != "uniform":
            table = algorithm.reference.agent.readouts["policy"].weight.detach().numpy()
            episodes, _ = all_episodes(algorithm.task)
            state = np.searchsorted(rows, rows_of(algorithm.agent, episodes))
            raw[state] = table[rows_of(algorithm.reference.agent, episodes)]
        write(agent, "policy", rows, q / algorithm.softness + raw)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("returns", RETURNS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TASKS)
def test_the_soft_optimum_leaves_no_error_on_any_data(name, way, returns, alpha):
    gamma = 0.9 if returns == "traces" else 1.0
    algorithm, replayed, episodes = prepared(TASKS[name](), way, munchausen=alpha, gamma=gamma, **RETURNS[returns])
    rows, x, v, measure = optimum(algorithm, episodes, gamma)
    fill(algorithm, rows, (x - alpha * v[:, None]) / (1 - alpha), measure)
    _, errors, _ = whole_loss(algorithm, replayed)
    assert float(errors.abs().max()) < 1e-9
    # The policy that speaks is the optimum of the problem that is left in the end: π = m e^{(X − V)/((1 − α) λ)}.
    tokens = episodes.tokens[episodes.flat.row]
    lengths = episodes.flat.column
    known = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens, episodes.pad).astype(np.int32)
    state = np.searchsorted(rows, rows_of(algorithm.agent, episodes))
    final = (1 - alpha) * algorithm.config.tau or algorithm.config.kl_coef
    expected = np.exp(measure + (x - v[:, None]) / final)[state]
    np.testing.assert_allclose(algorithm.policy.probabilities(known, lengths), expected, rtol=0, atol=1e-9)


def test_another_point_leaves_an_error():
    algorithm, replayed, episodes = prepared(TASKS["stopping"](), "KL", munchausen=0.5, **RETURNS["one step"])
    rows, x, _, measure = optimum(algorithm, episodes)
    fill(algorithm, rows, x, measure)  # the Q of plain soft Q-learning
    _, errors, _ = whole_loss(algorithm, replayed)
    assert float(errors.abs().max()) > 0.1


@pytest.mark.parametrize("beta", [0.05, 0.2])
def test_the_soft_optimum_of_the_solver_is_that_of_the_table(beta):
    """What the enumeration calls optimal is what `solve` calls KL-optimal, whatever α is."""
    task = TASKS["KLTree"]()
    algorithm, _, episodes = prepared(task, "KL", kl_coef=beta, munchausen=0.9, returns="trace")
    rows, x, v, measure = optimum(algorithm, episodes)
    fill(algorithm, rows, (x - 0.9 * v[:, None]) / 0.1, measure)
    solution = solve(task, beta)
    value = evaluate_policy(task, algorithm.agent.probabilities, solution.policy("random")).kl_regularised(beta)
    assert value == pytest.approx(solution.kl_optimal_return, abs=1e-9)


def test_what_is_paid_besides_is_the_paper_s():
    """r + α [τ log π(a|s)]_{l₀}^0 + γ Σ π(·|s') (Q(s', ·) − τ log π(·|s')), π = softmax(Q/τ), of the slow network."""
    task, tau, alpha, least, gamma = TASKS["stopping"](), 0.3, 0.9, -0.4, 0.9
    settings = {"munchausen": alpha, "munchausen_clip": least, "gamma": gamma, **RETURNS["one step"]}
    algorithm, replayed, episodes = prepared(task, "entropy", **settings)
    rows = np.unique(rows_of(algorithm.agent, episodes))
    generator = np.random.default_rng(0)
    q = generator.normal(size=(len(rows), 3))
    fill(algorithm, rows, q, np.zeros_like(q))
    write(algorithm.agent, "q", rows, generator.normal(size=q.shape))  # only the slow network may be asked
    log_policy = q / tau - np.log(np.exp(q / tau).sum(1, keepdims=True))
    flat, state = episodes.flat, np.searchsorted(rows, rows_of(algorithm.agent, episodes))
    values = (np.exp(log_policy) * (q - tau * log_policy)).sum(1)
    behind = np.where(flat.is_last, 0.0, values[np.roll(state, -1)])
    paid = alpha * np.clip(tau * log_policy[state, flat.action], least, 0.0)
    assert 0 < (paid == alpha * least).mean() < 1
    targets = algorithm.prepare(replayed).columns["targets"].numpy()
    np.testing.assert_allclose(targets, flat.reward + paid + gamma * behind, rtol=0, atol=1e-12)


def test_the_clip_is_of_the_scaled_logarithm_and_below_only():
    paid = munchausen_bonuses(torch.tensor([-3.0, -0.5, 0.7]), 0.5, -1.0)
    assert paid.tolist() == pytest.approx([-0.5, -0.25, 0.35])
    assert munchausen_bonuses(torch.tensor([-3.0]), 0.5).tolist() == [-1.5]


def test_the_clip_moves_the_fixed_point_of_tokens_far_below_their_state():
    algorithm, replayed, episodes = prepared(
        TASKS["stopping"](), "entropy", munchausen=0.5, munchausen_clip=-0.3, **RETURNS["one step"]
    )
    rows, x, v, measure = optimum(algorithm, episodes)
    fill(algorithm, rows, (x - 0.5 * v[:, None]) / 0.5, measure)
    _, errors, _ = whole_loss(algorithm, replayed)
    flat, state = episodes.flat, np.searchsorted(rows, rows_of(algorithm.agent, episodes))
    far = (x - v[:, None])[state, flat.action] < (1 - 0.5) * -0.3
    assert 0 < far.mean() < 1
    assert float(errors.abs()[torch.from_numpy(~far)].max()) < 1e-9
    assert float(errors.abs()[torch.from_numpy(far)].min()) > 0


@pytest.mark.parametrize("way", [way for way in WAYS if way != "KL to an agent"])
def test_masks_hold_in_policy_values_and_what_is_paid(way):
    config = {**QUICK, "reward_scaling": False, "munchausen": 0.9, **WAYS[way]}
    algorithm = DQN("Copy", "table", final_epsilon=0.0, epsilon=0.0, **config)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(64, 8, generator=generator)
    masks = torch.rand(64, 8, generator=generator) < 0.4
    masks[:, 3] |= ~masks.any(1)
    said = masks.float().argmax(1)
    seen = []
    for illegal in (0.0, 1e5):
        given = torch.where(masks, q, torch.full_like(q, illegal))
        output = StepOutput(q=given, logits=given, values=torch.zeros(64))
        reference = torch.zeros_like(q) if algorithm.config.has_kl else None
        seen.append(algorithm.judge(output, output, reference, said, torch.zeros(64), masks))
        probs, _ = algorithm.policy_probabilities(output, masks)
        assert bool((probs[~masks] == 0).all())
        torch.testing.assert_close(probs.sum(1), torch.ones(64))
        expected = torch.softmax(
            (given / (1.0 if algorithm.config.from_logits else 0.3)).masked_fill(~masks, -1e30), -1
        )
        torch.testing.assert_close(probs, expected)
    for name in ("values", "bonuses", "traces"):
        torch.testing.assert_close(seen[0][name], seen[1][name], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"munchausen": 0.9}, "munchausen"),
        ({"munchausen": 1.0, "tau": 0.1}, "munchausen"),
        ({"munchausen_clip": -1.0, "tau": 0.1}, "munchausen_clip"),
        ({"munchausen_clip": 0.0, "tau": 0.1, "munchausen": 0.9}, "munchausen_clip"),
        ({"tau": 0.1, "kl_coef": 0.1}, "tau"),
        ({"tau": -0.1}, "tau"),
        ({"tau": 0.1, "double": False}, "double"),
        ({"tau": 0.1, "temperature": 2.0}, "temperature"),
        ({"head_free": True}, "head_free"),
        ({"head_free": True, "kl_coef": 0.1}, "head_free"),
        ({"head_free": True, "tau": 0.1, "dueling": True}, "dueling"),
    ],
)
def test_what_contradicts_is_refused_by_name(config, field):
    with pytest.raises(TokenGymError, match=field):
        DQNConfig(**config)


@pytest.mark.parametrize(("alpha", "learning_rate"), [(0.0, 1.0), (0.9, 0.1)])
def test_a_table_reaches_the_kl_regularised_optimum(alpha, learning_rate):
    """A step of the logits is one of Q times β / (1 − α)."""
    beta, task = 0.2, make_task("KLTree")
    algorithm = DQN(
        task, "table", seed=1000, kl_coef=beta, munchausen=alpha, learning_rate=learning_rate,
        rollout_tokens=256, learning_starts=512, target_polyak=0.3, final_epsilon=0.2,
    ).learn(24_000)  # fmt: skip
    solution = solve(task, beta)
    value = evaluate_policy(task, algorithm.agent.probabilities, solution.policy("random")).kl_regularised(beta)
    gain = solution.kl_optimal_return - solution.random_return
    assert solution.kl_optimal_return - 0.05 * gain < value <= solution.kl_optimal_return + 1e-6


def test_what_is_evaluated_is_the_soft_policy():
    algorithm = DQN("Copy", "table", tau=0.05, **QUICK).learn(200)
    tokens = np.full((1, algorithm.task.max_length), algorithm.task.vocabulary.bos, np.int32)
    q = algorithm.agent.evaluate(
        torch.from_numpy(tokens), torch.tensor([1]), torch.tensor([0]), torch.tensor([1]), heads=("q",)
    ).q
    expected = torch.softmax(q.detach().double() / 0.05, -1).numpy()
    np.testing.assert_allclose(algorithm.policy.probabilities(tokens, np.array([1])), expected, atol=1e-6)
