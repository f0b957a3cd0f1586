"""DQN: exact values leave no error, masks hold everywhere, and a run goes on from a file bit for bit."""

import numpy as np
import pytest
import torch
from off_policy_cases import QUICK, Stop, masks_of, numbers_of, outputs_of, states_of, whole_loss

from tokengym.agents.session import StepOutput
from tokengym.algorithms.off_policy.dqn import DQN
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.exact.solver import solve
from tokengym.envs.finite.task import FiniteTask, Initial, Transition
from tokengym.envs.registration import make_task
from tokengym.envs.transforms import TimeLimit
from tokengym.envs.vocabulary import Vocabulary


def prefixes(algorithm, replayed):
    """The states of a drawn batch as observations, and their numbers in the table."""
    rows, columns = states_of(replayed)
    tokens, columns = replayed.batch.tokens[rows].numpy(), columns.numpy()
    observations = np.where(np.arange(tokens.shape[1]) < columns[:, None], tokens, algorithm.task.vocabulary.pad)
    return observations.astype(np.int32), columns, numbers_of(algorithm, replayed)


def q_of(algorithm, replayed):
    """The agent's Q in every state of a draw; a uniform reference where there is one."""
    outputs = outputs_of(algorithm, algorithm.agent, replayed, algorithm.required_heads())
    reference = None
    if algorithm.soft:
        reference = outputs_of(algorithm, algorithm.reference.agent, replayed, ("policy",)).logits
    masks = masks_of(replayed)
    return algorithm.q_values(outputs, reference, masks)


def fill(head, numbers, rows):
    """Write exact outputs into a table's head."""
    with torch.no_grad():
        head.weight[numbers] = torch.as_tensor(rows, dtype=torch.float32)


def exploring(task, agent="table", **config):
    """An algorithm with a replay full of random episodes, and a draw of them."""
    algorithm = DQN(task, agent, **{"reward_scaling": False, "epsilon": 1.0, "final_epsilon": 1.0, **QUICK, **config})
    algorithm.replay.add(algorithm.collect())
    return algorithm, algorithm.draw()


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("returns", [{"returns": "trace"}, {"returns": "n_step", "n_step": 1}])
@pytest.mark.parametrize("name", ["KLTree", "Copy", "Probe3", "Probe5"])
def test_exact_q_leaves_no_error_on_random_episodes(name, returns, double):
    task = make_task(name)
    algorithm, replayed = exploring(task, double=double, **returns)
    observations, lengths, numbers = prefixes(algorithm, replayed)
    exact = solve(task).q_values(observations, lengths)
    for agent in (algorithm.agent, algorithm.target):
        fill(agent.readouts["q"], numbers, exact)
    loss, errors, _ = whole_loss(algorithm, replayed)
    torch.testing.assert_close(errors, torch.zeros_like(errors), atol=1e-5, rtol=0)
    assert loss.item() < 1e-9


def test_exact_q_leaves_no_error_in_n_steps_when_the_data_are_greedy():
    task = make_task("KLTree")
    algorithm, replayed = exploring(task, returns="n_step", n_step=3)
    observations, lengths, numbers = prefixes(algorithm, replayed)
    exact = solve(task).q_values(observations, lengths)
    for agent in (algorithm.agent, algorithm.target):
        fill(agent.readouts["q"], numbers, exact)
    _, errors, _ = whole_loss(algorithm, replayed)
    greedy = torch.as_tensor(exact.argmax(1)) == replayed.actions
    width = task.max_episode_tokens
    following = greedy.reshape(-1, width).flip(1).cumprod(1).flip(1).bool()
    on_policy = torch.cat([following[:, 1:], torch.ones(len(following), 1, dtype=torch.bool)], 1).flatten()
    assert bool(on_policy.any()) and not bool(on_policy.all())
    torch.testing.assert_close(errors[on_policy], torch.zeros(int(on_policy.sum())), atol=1e-5, rtol=0)
    assert errors.abs().max().item() > 0.01


@pytest.mark.parametrize("returns", ["trace", "n_step"])
def test_the_exact_soft_optimum_leaves_no_error_whatever_the_data(returns):
    beta = 0.2
    task = make_task("KLTree")
    algorithm, replayed = exploring(task, kl_coef=beta, returns=returns)
    observations, lengths, numbers = prefixes(algorithm, replayed)
    policy = solve(task, beta).policy("kl_optimal")(observations, lengths)
    for agent in (algorithm.agent, algorithm.target):
        # log π = (Q − V) / β, so an offset of V / β makes the logits Q / β; the last level's Q are the leaves' rewards.
        fill(agent.readouts["policy"], numbers, np.log(policy))
    values = soft_values_of_tree(task, beta, observations, lengths)
    for agent in (algorithm.agent, algorithm.target):
        fill(agent.readouts["policy"], numbers, np.log(policy * task.vocabulary.num_actions) + values[:, None] / beta)
    _, errors, _ = whole_loss(algorithm, replayed)
    torch.testing.assert_close(errors, torch.zeros_like(errors), atol=1e-5, rtol=0)


def soft_values_of_tree(task, beta, observations, lengths):
    """V = β log mean over continuations of e^{R/β}, by enumeration of what the task pays at each leaf."""
    solution = solve(task)
    num_actions, depth = task.vocabulary.num_actions, task.max_episode_tokens
    values = np.empty(len(lengths))
    for i, (tokens, length) in enumerate(zip(observations, lengths, strict=True)):
        left = depth - (length - 1)
        tails = np.indices((num_actions,) * (left - 1)).reshape(left - 1, num_actions ** (left - 1)).T
        leaves = np.full((len(tails), task.max_length), task.vocabulary.pad, np.int32)
        leaves[:, :length] = tokens[:length]
        leaves[:, length : length + left - 1] = tails
        rewards = solution.q_values(leaves, np.full(len(tails), length + left - 1))
        values[i] = beta * np.log(np.exp(rewards / beta).mean())
    return values


def test_soft_q_and_its_value_start_at_zero():
    algorithm, replayed = exploring(make_task("KLTree"), "gpt2-tiny", kl_coef=0.2)
    q = q_of(algorithm, replayed)
    torch.testing.assert_close(q, torch.zeros_like(q), atol=1e-6, rtol=0)


class Maze(FiniteTask):
    """Three steps; of four tokens two are legal in each state, others in the next."""

    name = "maze"
    family = "test"
    vocabulary = Vocabulary(("a", "b", "c", "d", "<bos>", "<pad>"), num_actions=4, bos=4, pad=5)

    def initial(self):
        return [Initial(1.0, 0)]

    def legal(self, state):
        return (0, 1) if state % 2 == 0 else (2, 3)

    def transitions(self, state, action):
        return [Transition(1.0, state + 1 if state < 2 else None, 1.0 if action == 3 else 0.1 * action)]


def outputs(seed, rows=64, num_actions=5):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(rows, num_actions, generator=generator)
    masks = torch.rand(rows, num_actions, generator=generator) < 0.4
    masks[:, 2] |= ~masks.any(1)
    return StepOutput(q=q, logits=q), masks


@pytest.mark.parametrize("config", [{}, {"exploration": "boltzmann"}, {"kl_coef": 0.1}])
def test_behaviour_never_says_what_is_illegal_and_reports_its_own_probabilities(config):
    algorithm = DQN("Copy", "table", epsilon=0.5, final_epsilon=0.5, **{**QUICK, **config})
    output, masks = outputs(0)
    for _ in range(50):
        actions, log_probs = algorithm.behaviour.choose(output, masks)
        assert bool(masks.gather(1, actions[:, None]).all())
    probs = algorithm.exploring.probabilities(output, masks)
    torch.testing.assert_close(log_probs, probs.gather(1, actions[:, None])[:, 0].log())
    torch.testing.assert_close(probs.sum(1), torch.ones(len(probs)))
    assert bool((probs[~masks] == 0).all())


def test_behaviour_mixes_greedy_and_uniform_tokens():
    algorithm = DQN("Copy", "table", epsilon=0.4, final_epsilon=0.4, **QUICK)
    output = StepOutput(q=torch.tensor([[0.0, 1.0, 0.5, 0.2]]))
    masks = torch.tensor([[True, True, False, False]])
    assert algorithm.exploring.probabilities(output, None)[0].tolist() == pytest.approx([0.1, 0.7, 0.1, 0.1])
    assert algorithm.exploring.probabilities(output, masks)[0].tolist() == pytest.approx([0.2, 0.8, 0, 0])


def test_exploration_follows_its_schedule_and_is_full_before_learning_starts():
    algorithm = DQN("Copy", "table", epsilon=0.5, final_epsilon=0.1, epsilon_fraction=0.5, learning_starts=10)
    algorithm.total_timesteps = 100
    expected = {0: 1.0, 9: 1.0, 10: 0.42, 25: 0.3, 50: 0.1, 100: 0.1}
    for algorithm.num_timesteps, epsilon in expected.items():
        assert algorithm.epsilon == pytest.approx(epsilon)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("dueling", [True, False])
def test_targets_never_read_an_illegal_token(double, dueling):
    """Every Q is what the legal tokens say; raising the illegal ones to the sky changes no target."""
    algorithm, replayed = exploring(Maze(), double=double, dueling=dueling, action_masks=True, returns="trace")
    _, errors, _ = whole_loss(algorithm, replayed)
    masks = masks_of(replayed)
    _, _, numbers = prefixes(algorithm, replayed)
    assert bool(replayed.batch.masks.allows(replayed.actions).all())
    for agent in (algorithm.agent, algorithm.target):
        fill(agent.readouts["q"], numbers, torch.where(masks, 0.0, 1e6))
    _, changed, _ = whole_loss(algorithm, replayed)
    torch.testing.assert_close(changed, errors)


def test_exact_masked_q_leaves_no_error():
    task = Maze()
    algorithm, replayed = exploring(task, action_masks=True, returns="trace")
    observations, lengths, numbers = prefixes(algorithm, replayed)
    exact = solve(task, masked=True).q_values(observations, lengths)
    for agent in (algorithm.agent, algorithm.target):
        fill(agent.readouts["q"], numbers, np.where(np.isfinite(exact), exact, 7.0))
    _, errors, _ = whole_loss(algorithm, replayed)
    torch.testing.assert_close(errors, torch.zeros_like(errors), atol=1e-5, rtol=0)


def test_dueling_splits_q_into_a_value_and_advantages_of_mean_zero():
    algorithm, replayed = exploring(Maze(), dueling=True, action_masks=True)
    _, _, numbers = prefixes(algorithm, replayed)
    generator = torch.Generator().manual_seed(0)
    fill(algorithm.agent.readouts["q"], numbers, torch.randn(len(numbers), 4, generator=generator))
    values = torch.randn(int(numbers.max()) + 1, 1, generator=generator)[numbers]
    fill(algorithm.agent.readouts["value"], numbers, values)
    advantages = q_of(algorithm, replayed) - values
    legal_sum = (advantages * masks_of(replayed)).sum(1)
    torch.testing.assert_close(legal_sum, torch.zeros_like(legal_sum), atol=1e-5, rtol=0)


def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not():
    for task, truncated in ((TimeLimit(make_task("Lattice"), 5), True), (make_task("Copy"), False)):
        _, replayed = exploring(task, returns="n_step", n_step=1)
        final = replayed.final_values(torch.full((len(replayed.truncated),), 3.0))
        assert len(replayed.truncated) == (replayed.grid.num_episodes if truncated else 0)
        assert final.tolist() == [3.0 if truncated else 0.0] * replayed.grid.num_episodes
        assert len(replayed.batch.final_rows) == len(replayed.truncated)
        if truncated:
            ends = replayed.sample.episodes.last_sequences
            assert replayed.batch.final_rows.tolist() == ends.tolist()


@pytest.mark.parametrize(("share", "every"), [(0.25, 1), (1.0, 3)])
def test_the_target_network_follows(share, every):
    algorithm = DQN("Copy", target_polyak=share, target_every=every, updates_per_collection=1, **QUICK)
    expected = [p.detach().clone() for p in algorithm.agent.parameters()]
    assert all(not p.requires_grad for p in algorithm.target.parameters())
    for step in range(1, 7):
        algorithm.update(algorithm.collect())
        for i, fast in enumerate(algorithm.agent.parameters()):
            if step % every == 0:
                expected[i] = expected[i] + share * (fast.detach() - expected[i])
        for slow, wanted in zip(algorithm.target.parameters(), expected, strict=True):
            torch.testing.assert_close(slow, wanted)


def test_nothing_is_learnt_before_learning_starts():
    algorithm = DQN("Copy", **{**QUICK, "learning_starts": 1000})
    before = {name: value.clone() for name, value in algorithm.agent.state_dict().items()}
    with pytest.warns(RuntimeWarning, match="learning_starts is 1,000"):
        algorithm.learn(500)
    assert algorithm.num_gradient_steps == 0
    assert all(torch.equal(value, before[name]) for name, value in algorithm.agent.state_dict().items())


@pytest.mark.parametrize("name", ["Probe1", "Probe2", "Probe3", "Probe4", "Probe5"])
def test_probes_are_learnt_to_their_exact_values(name):
    task = make_task(name)
    algorithm = DQN(
        task, "table", gamma=1.0, learning_rate=0.1, target_polyak=0.3, epsilon=1.0, final_epsilon=1.0, **QUICK,
        n_step=1, returns="n_step", updates_per_collection=4, reward_scaling=False,
    ).learn(3000)  # fmt: skip
    replayed = algorithm.draw()
    observations, lengths, _ = prefixes(algorithm, replayed)
    exact = solve(task).q_values(observations, lengths)
    q = q_of(algorithm, replayed).detach().numpy()
    np.testing.assert_allclose(q, exact, atol=0.05)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"dueling": True, "double": False},
        {"prioritised": "token"},
        {"prioritised": "episode", "returns": "trace"},
        {"target_polyak": 1.0, "target_every": 20},
        {"exploration": "boltzmann", "exploration_temperature": 0.3},
    ],
)
def test_the_bandit_is_learnt_under_every_option(config):
    algorithm = DQN(
        "TokenBandit", "table", learning_rate=0.05, epsilon=1.0, epsilon_fraction=0.8, **{**QUICK, **config}
    ).learn(8000)
    observation = {"tokens": np.full((1, algorithm.task.max_length), algorithm.task.vocabulary.pad), "length": [[1]]}
    observation["tokens"][0, 0] = algorithm.task.vocabulary.bos
    best = solve(algorithm.task).q_values(observation["tokens"].astype(np.int32), np.array([1])).argmax()
    assert algorithm.predict(observation, deterministic=True)[0] == best


@pytest.mark.parametrize("config", [{}, {"prioritised": "token", "dueling": True}, {"kl_coef": 0.1}])
def test_a_run_resumed_from_a_file_equals_one_that_was_never_stopped(tmp_path, config):
    config = {**QUICK, "learning_starts": 100, "replay_capacity": 60, **config}
    whole = DQN("Copy", seed=3, **config).learn(1500)
    half = DQN("Copy", seed=3, **config).learn(1500, callback=Stop(10))
    assert half.num_timesteps < whole.num_timesteps
    half.save(tmp_path / "half")
    resumed = DQN.load(tmp_path / "half").learn(1500)
    assert resumed.num_timesteps == whole.num_timesteps
    for mine, theirs in ((resumed.agent, whole.agent), (resumed.target, whole.target)):
        for name, value in theirs.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value), name
    for name, array in whole.replay.state_arrays().items():
        np.testing.assert_array_equal(resumed.replay.state_arrays()[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replay_capacity", 0),
        ("replay_capacity", 31),
        ("epsilon", 1.5),
        ("returns", "lambda"),
        ("n_step", 0),
        ("target_polyak", 0.0),
        ("prioritised", "tokens"),
        ("exploration", "softmax"),
        ("huber_delta", 0.0),
        ("kl_target", 1.0),
    ],
)
def test_a_bad_configuration_names_the_field(field, value):
    with pytest.raises(TokenGymError, match=field):
        DQN("Copy", **{field: value})


def test_a_kl_in_the_loss_is_refused():
    with pytest.raises(TokenGymError, match="kl_in"):
        DQN("Copy", kl_coef=0.1, kl_in="loss")
