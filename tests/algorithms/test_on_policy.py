import numpy as np
import pytest
import torch
from episode_cases import every_episode

from tokengym.agents import ExternalPolicy
from tokengym.agents.build import build_agent
from tokengym.algorithms.data.batch import Batch
from tokengym.algorithms.on_policy.a2c import A2C
from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.parts.losses import clipped_surrogate, token_weights, value_errors
from tokengym.algorithms.parts.nonfinite import DivergedError
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.exact.solver import evaluate_policy
from tokengym.envs.finite.task import FiniteTask, Initial, Transition
from tokengym.envs.registration import make_task
from tokengym.envs.vocabulary import Vocabulary

# A step this small changes no float32 weight, so the gradient can be read off after an update.
STILL = {
    "learning_rate": 1e-30,
    "max_grad_norm": float("inf"),
    "reward_scaling": False,
    "whiten_advantages": False,
}


def one_update(algorithm):
    return algorithm.update(algorithm.collect())


def table_agent(task, seed=0):
    """A table with numbers drawn at random for every prefix of the task."""
    agent = build_agent("table", task.vocabulary, task.max_length, heads=("policy", "value"), seed=seed)
    evaluate_policy(task, lambda *prefixes: (agent.trunk.index.number(*prefixes), agent.probabilities(*prefixes))[1])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return agent


def policy_gradient_name(agent):
    return next(name for name, p in agent.named_parameters() if "policy" in name)


def behaviour_of(agent):
    def log_probs(tokens, columns, actions):
        rows = torch.zeros(len(columns), dtype=torch.int64)
        lengths = torch.tensor([tokens.shape[1]])
        with torch.no_grad():
            logits = agent.evaluate(torch.as_tensor(tokens), lengths, rows, torch.as_tensor(columns)).logits
        return torch.log_softmax(logits, -1)[torch.arange(len(actions)), torch.as_tensor(actions)].numpy()

    return log_probs


def expected_gradient(algorithm):
    """The gradient of an update on one episode, averaged over all episodes by their probability."""
    task, agent = algorithm.task, algorithm.agent
    parameter = dict(agent.named_parameters())[policy_gradient_name(agent)]
    mean = torch.zeros_like(parameter)
    for episodes in every_episode(task, behaviour_of(agent)):
        algorithm.update(episodes)
        mean += float(np.exp(episodes.flat.log_prob.sum())) * parameter.grad * task.max_episode_tokens
    return mean


def enumerated_objective(task, agent, beta=0.0):
    """E[R] − β·KL to the uniform policy as a differentiable sum over all episodes."""
    total = torch.zeros(())
    for episodes in every_episode(task, lambda tokens, columns, actions: 0.0):
        batch = Batch.from_episodes(episodes)
        chosen = batch.score(agent).log_probs
        excess = chosen.sum() + len(batch) * np.log(task.vocabulary.num_actions)
        total = total + chosen.sum().exp() * (float(episodes.returns[0]) - beta * excess)
    return total


@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("kind", [A2C, PPO])
def test_the_expected_policy_gradient_of_a_table_is_the_enumerated_one(kind, beta):
    task = make_task("KLTree", num_tokens=3, depth=2)
    agent = table_agent(task)
    options = {"kl_coef": beta, "gae_lambda": 1.0, "entropy_coef": 0.0}
    options |= {"kl_reference": "uniform"} if beta else {}
    once = {"epochs": 1, "minibatches": 1} if kind is PPO else {}
    algorithm = kind(task, agent, loss_aggregation="constant", **options, **once, **STILL)
    expected = expected_gradient(algorithm)

    objective = enumerated_objective(task, agent, beta)
    exact = evaluate_policy(task, agent.probabilities)
    assert objective.item() == pytest.approx(exact.expected_return - beta * exact.kl, abs=1e-5)
    agent.zero_grad()
    (-objective).backward()
    enumerated = dict(agent.named_parameters())[policy_gradient_name(agent)].grad
    assert enumerated.abs().max() > 0.01
    torch.testing.assert_close(expected, enumerated, atol=1e-5, rtol=1e-4)


def test_k2_in_the_loss_has_the_gradient_of_the_regularised_objective_where_an_episode_is_one_token():
    task = make_task("KLTree", num_tokens=4, depth=1)
    agent = table_agent(task)
    options = {"kl_coef": 0.2, "kl_reference": "uniform", "kl_in": "loss", "kl_estimator": "k2", "entropy_coef": 0.0}
    expected = expected_gradient(A2C(task, agent, loss_aggregation="constant", **options, **STILL))
    agent.zero_grad()
    (-enumerated_objective(task, agent, 0.2)).backward()
    enumerated = dict(agent.named_parameters())[policy_gradient_name(agent)].grad
    torch.testing.assert_close(expected, enumerated, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("place", "right"), [(("loss", "k2"), False), (("reward", "k1"), True)])
def test_over_two_tokens_k2_in_the_loss_has_not_that_gradient_and_k1_in_the_reward_has_it(place, right):
    task = make_task("KLTree", num_tokens=4, depth=2)
    agent = table_agent(task)
    options = {"kl_coef": 0.2, "kl_reference": "uniform", "kl_in": place[0], "kl_estimator": place[1]}
    options |= {"loss_aggregation": "constant", "entropy_coef": 0.0, "gae_lambda": 1.0}
    expected = expected_gradient(A2C(task, agent, **options, **STILL))
    agent.zero_grad()
    (-enumerated_objective(task, agent, 0.2)).backward()
    enumerated = dict(agent.named_parameters())[policy_gradient_name(agent)].grad
    error = float((expected - enumerated).abs().max())
    assert error < 1e-5 if right else error > 1e-3


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
def test_ppo_with_one_epoch_and_one_minibatch_has_the_gradient_of_a2c(aggregation):
    shared = {"rollout_tokens": 60, "loss_aggregation": aggregation, "kl_coef": 0.1, "kl_reference": "uniform"}
    shared["entropy_coef"] = 0.01
    ppo = PPO("tokengym/Copy-v0", seed=3, epochs=1, minibatches=1, **shared, **STILL)
    a2c = A2C("tokengym/Copy-v0", seed=3, **shared, **STILL)
    episodes = ppo.collect()
    np.testing.assert_array_equal(episodes.tokens, a2c.collect().tokens)
    ppo.update(episodes)
    a2c.update(episodes)
    for (name, p), q in zip(ppo.agent.named_parameters(), a2c.agent.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_minibatches_together_have_the_gradient_of_the_whole_collection():
    episodes = PPO("tokengym/Copy-v0", seed=0, rollout_tokens=60).collect()
    batch = Batch.from_episodes(episodes)
    parts = list(batch.minibatches(3, torch.Generator().manual_seed(0)))
    assert len(parts) == 3
    together = torch.cat([part.index for part in parts])
    assert sorted(together.tolist()) == list(range(len(batch)))
    for part in parts:
        assert torch.equal(part.actions, batch.actions[part.index])
        assert torch.equal(part.tokens[part.rows, part.columns], part.actions)


def test_the_ratio_before_the_first_step_is_one():
    metrics = one_update(PPO("tokengym/KeywordCover-v0", seed=0, rollout_tokens=64, epochs=1))
    assert metrics["policy/initial_ratio_error"] < 1e-4


def test_log_probabilities_of_another_policy_are_refused():
    algorithm = PPO("tokengym/Copy-v0", seed=0, rollout_tokens=30)
    episodes = algorithm.collect()
    episodes.log_probs[episodes.agent_mask] -= 0.01
    with pytest.raises(TokenGymError, match="expected 1 within"):
        algorithm.update(episodes)


def test_a_nan_stops_learning_before_the_weights_change_and_is_named():
    algorithm = PPO("tokengym/Copy-v0", seed=0, rollout_tokens=30)
    episodes = algorithm.collect()
    episodes.rewards[episodes.agent_mask] = np.nan
    before = [p.detach().clone() for p in algorithm.agent.parameters()]
    with pytest.raises(DivergedError, match="advantages is not finite"):
        algorithm.update(episodes)
    assert all(torch.equal(p, q) for p, q in zip(before, algorithm.agent.parameters(), strict=True))


def test_the_clipped_surrogate_stops_gradients_beyond_the_clip():
    log_ratio = torch.tensor([1.0, -1.0, 1.0, -1.0, 0.0], requires_grad=True)
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0])
    losses = clipped_surrogate(log_ratio, advantages, 0.2)
    expected = [-1.2, -np.exp(-1.0), np.exp(1.0), 0.8, -1.0]
    np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=1e-6)
    losses.sum().backward()
    np.testing.assert_allclose(log_ratio.grad.numpy(), [0, -np.exp(-1.0), np.exp(1.0), 0, -1.0], rtol=1e-6)


def test_value_clipping_takes_the_larger_error():
    values, targets, old = torch.tensor([1.0, 0.1]), torch.tensor([2.0, 0.0]), torch.tensor([0.0, 0.0])
    np.testing.assert_allclose(value_errors(values, targets, old).numpy(), [0.5, 0.005], rtol=1e-6)
    np.testing.assert_allclose(value_errors(values, targets, old, clip=0.2).numpy(), [1.62, 0.005], rtol=1e-6)


def test_token_weights_follow_their_definitions():
    lengths, episode = torch.tensor([1, 3]), torch.tensor([0, 1, 1, 1])
    assert token_weights("token", lengths, episode, 5).tolist() == [0.25] * 4
    np.testing.assert_allclose(token_weights("sequence", lengths, episode, 5), [1 / 2, 1 / 6, 1 / 6, 1 / 6])
    np.testing.assert_allclose(token_weights("constant", lengths, episode, 5), [0.1] * 4)


class Sentences(FiniteTask):
    """Two words at most; the second token is an end."""

    name = "Sentences"
    turn_tokens = 1

    def __init__(self):
        self.vocabulary = Vocabulary.of(["word", "<eos>"], eos="<eos>")

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        return [Transition(1.0, None if action == 1 or state == 1 else 1, 0.5)]


def test_a_missing_end_costs_its_penalty_once_and_only_episodes_without_one():
    algorithm = PPO(Sentences(), seed=0, rollout_tokens=60, missing_eos_penalty=2.0, reward_scaling=False)
    episodes = algorithm.collect()
    flat = episodes.flat
    without = np.array([flat.action[flat.episode == e][-1] != 1 for e in range(len(episodes))])
    assert without.any() and not without.all()
    paid = np.bincount(flat.episode, weights=algorithm.learning_rewards(episodes))
    np.testing.assert_allclose(paid, episodes.returns - 2.0 * without)


def test_a_penalty_for_a_missing_end_needs_a_vocabulary_with_an_end():
    with pytest.raises(TokenGymError, match="end token"):
        PPO("tokengym/Copy-v0", missing_eos_penalty=1.0)


def test_target_kl_stops_the_epochs():
    metrics = one_update(PPO("tokengym/Copy-v0", seed=0, rollout_tokens=60, epochs=10, target_kl=1e-9))
    assert metrics["optim/steps"] < 20


def test_an_adaptive_coefficient_moves_and_is_logged():
    algorithm = PPO("tokengym/Copy-v0", seed=0, rollout_tokens=60, kl_coef=0.2, kl_target=1.0, kl_horizon=100)
    first = one_update(algorithm)
    assert first["objective/kl"] == pytest.approx(0.0, abs=1e-5)
    assert algorithm.kl_controller.coef < 0.2


def test_where_another_policy_or_nobody_knows_who_draws_ratios_are_to_the_policy_before_the_update():
    class Sampled(PPO):
        def make_behaviour(self, sampler):
            return ExternalPolicy(lambda seen, deterministic: [[row % 11] for row, _ in enumerate(seen)])

    learner = Sampled("TokenBandit", "table", rollout_tokens=32, epochs=1, minibatches=1, seed=0)
    seen = []
    learner.loss = lambda part, prepared: seen.append(part.log_probs) or PPO.loss(learner, part, prepared)  # type: ignore[method-assign]
    before = learner.agent.probabilities(np.array([[learner.task.vocabulary.bos]]), np.array([1]))[0]
    learner.learn(32)
    after = learner.agent.probabilities(np.array([[learner.task.vocabulary.bos]]), np.array([1]))[0]
    # What was drawn has no log-probability that anybody knows; the agent began with the uniform policy.
    np.testing.assert_allclose(seen[0].numpy(), -np.log(11), rtol=1e-6)
    assert np.isfinite(after).all() and not np.array_equal(before, after)
