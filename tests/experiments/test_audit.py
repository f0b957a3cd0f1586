"""The audit by enumeration: it lists what is played, and its gradients are those of the exact return."""

import numpy as np
import pytest
import torch

from tokengym.agents import AgentPolicy, Sampler, build_agent
from tokengym.algorithms import A2C, PPO
from tokengym.algorithms.collecting import Collector
from tokengym.envs import make_task
from tokengym.envs.checking import TokenGymError
from tokengym.envs.exact import evaluate_policy, solve
from tokengym.envs.tasks.diagnostics import Copy, KLTree, SlipLock
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, fixed_point, optimum, table_agent
from tokengym.experiments.audit.tables import observations, regularised_values, state_numbers

PLAIN = {"entropy_coef": 0.0, "reward_scaling": False, "gae_lambda": 1.0}


def some_policy(task, seed=0):
    """Probabilities that differ from observation to observation, as a function of them."""
    episodes, _ = all_episodes(task)
    tokens, lengths = observations(episodes)
    random = np.random.default_rng(seed)
    rows = {}
    for row, length in zip(tokens, lengths, strict=True):
        rows.setdefault(row[:length].tobytes(), random.dirichlet(np.full(task.vocabulary.num_actions, 2.0)))

    def policy(tokens, lengths):
        return np.stack([rows[np.asarray(t, np.int32)[:n].tobytes()] for t, n in zip(tokens, lengths, strict=True)])

    return policy


SMALL = {
    "tree": lambda: KLTree(3, 2),
    "prompts": lambda: Copy(k=2, num_tokens=2),
    "slips": lambda: SlipLock(2, 3),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_list_holds_every_episode_once_with_its_probability(name):
    task = SMALL[name]()
    policy = some_policy(task)
    episodes, probabilities = all_episodes(task, policy)
    exact = evaluate_policy(task, policy)
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert probabilities @ episodes.returns == pytest.approx(exact.expected_return, abs=1e-12)
    assert probabilities @ episodes.returns**2 - exact.expected_return**2 == pytest.approx(exact.variance, abs=1e-12)
    assert probabilities @ episodes.episode_lengths == pytest.approx(exact.expected_length, abs=1e-12)
    assert episodes.rewards.dtype == np.float64


@pytest.mark.parametrize("name", SMALL)
def test_what_a_collector_plays_is_in_the_list_as_it_was_played(name):
    task = SMALL[name]()
    agent = build_agent("table", task.vocabulary, task.max_length, dtype="float64")
    played = Collector(task, num_rows=8, seed=0, numbers="float64").collect(
        AgentPolicy(agent, Sampler(0)), num_episodes=40
    )
    listed, _ = all_episodes(task)

    def episode_by_episode(episodes):
        for row in range(len(episodes)):
            said = np.flatnonzero(episodes.agent_mask[row])
            last = said[-1] + 1
            read = tuple(episodes.tokens[row, :last].tolist())
            yield read, (tuple(said.tolist()), tuple(np.round(episodes.rewards[row, said], 12).tolist()))

    known = set(episode_by_episode(listed))
    assert set(episode_by_episode(played)) <= known
    log_probs = -np.log(task.vocabulary.num_actions)
    np.testing.assert_allclose(played.flat.log_prob, log_probs, atol=1e-12)
    np.testing.assert_allclose(listed.flat.log_prob, log_probs, atol=1e-12)


class WithoutRepeats(KLTree):
    """A tree in which no token may be said twice in a row."""

    def legal(self, state):
        said, text = state
        return [token for token in range(self.num_tokens) if not said or token != text % self.num_tokens]


def test_masks_leave_legal_tokens_alone():
    task = WithoutRepeats(3, 3)
    episodes, probabilities = all_episodes(task, masked=True)
    assert len(episodes) == 3 * 2 * 2
    assert probabilities @ episodes.returns == pytest.approx(solve(task, masked=True).random_return, abs=1e-12)
    agent = build_agent("table", task.vocabulary, task.max_length, heads=("policy", "value"), dtype="float64")
    algorithm = A2C(task, agent, action_masks=True, whiten_advantages=False, **PLAIN)
    found = expected_gradient(algorithm, drawn(episodes, probabilities))
    table = found.of["readouts.policy.weight"][: len(agent.trunk.index)]
    # What may not be said after itself has no gradient there: one token of three in all states but the first.
    assert (table == 0).sum() == 9 + 3 * (len(table) - 10)


def test_what_cannot_be_listed_is_refused():
    with pytest.raises(TokenGymError, match="more than 10 episodes"):
        all_episodes(KLTree(), max_episodes=10)
    with pytest.raises(TokenGymError, match="context 'turn'"):
        all_episodes(make_task("Lattice"))
    with pytest.raises(TokenGymError, match="noise"):
        all_episodes(make_task("TokenBandit", noise=0.1))


def test_groups_are_drawn_as_multisets():
    task = KLTree(4, 2)
    groups = list(drawn(*all_episodes(task, some_policy(task)), size=4))
    assert len(groups) == 3876 and sum(chance for chance, _ in groups) == pytest.approx(1, abs=1e-12)
    assert all(len(group) == 4 and len(np.unique(group.starts)) == 1 for _, group in groups[::100])


def test_groups_share_their_prompt():
    task = Copy(k=1, num_tokens=2)
    groups = list(drawn(*all_episodes(task), size=2))
    assert len(groups) == 2 * 3 and sum(chance for chance, _ in groups) == pytest.approx(1, abs=1e-12)


def test_a_table_says_its_policy_and_values_it_exactly():
    task = KLTree(3, 3)
    policy, reference = some_policy(task), some_policy(task, 1)
    agent = table_agent(task, policy, ("policy", "value"), beta=0.3, reference=reference)
    exact = evaluate_policy(task, agent.probabilities, reference)
    np.testing.assert_allclose(exact.probabilities, policy(exact.tokens, exact.lengths), atol=1e-12)
    lengths = torch.as_tensor(exact.lengths)
    values = agent.evaluate(torch.as_tensor(exact.tokens), lengths, torch.arange(len(lengths)), lengths).values
    assert values[0].item() == pytest.approx(exact.kl_regularised(0.3), abs=1e-12)
    plain = table_agent(task, policy, ("policy", "value"))
    values = plain.evaluate(torch.as_tensor(exact.tokens), lengths, torch.arange(len(lengths)), lengths).values
    np.testing.assert_allclose(values.detach(), exact.values, atol=1e-12)


def exact_gradient(agent, task, beta=0.0):
    """The gradient of E[R] − β·KL(π ‖ uniform) with respect to the table's logits, by autograd over all episodes."""
    episodes, probabilities = all_episodes(task, agent.probabilities)
    from tokengym.algorithms.data import Batch

    batch = Batch.from_episodes(episodes)
    scores = batch.score(agent)
    said = torch.zeros(len(episodes), dtype=torch.float64).index_add(0, batch.episodes[batch.rows], scores.log_probs)
    prior = episodes.episode_lengths * -np.log(task.vocabulary.num_actions)
    worth = torch.as_tensor(episodes.returns) - beta * (said - torch.as_tensor(prior))
    chance = torch.as_tensor(probabilities) * torch.exp(said - said.detach())
    return torch.autograd.grad((chance * worth).sum(), agent.readouts["policy"].weight)[0]


@pytest.mark.parametrize("kind", [A2C, PPO])
@pytest.mark.parametrize("name", SMALL)
def test_the_expected_gradient_of_a_policy_gradient_is_that_of_the_exact_return(kind, name):
    task = SMALL[name]()
    agent = table_agent(task, some_policy(task), ("policy", "value"))
    algorithm = kind(task, agent, loss_aggregation="constant", whiten_advantages=False, **PLAIN)
    found = expected_gradient(algorithm, drawn(*all_episodes(task, agent.probabilities)))
    expected = -exact_gradient(agent, task) / task.max_episode_tokens
    torch.testing.assert_close(found.of["readouts.policy.weight"], expected, atol=1e-12, rtol=0)
    # A critic that is right is pulled nowhere on average, and everywhere by single episodes.
    assert found.of["readouts.value.weight"].abs().max() < 1e-12 and found.variance > 1e-6


def test_kl_in_the_reward_adds_the_gradient_of_the_kl():
    task = KLTree(3, 2)
    agent = table_agent(task, some_policy(task), ("policy", "value"), beta=0.3)
    algorithm = A2C(task, agent, kl_coef=0.3, kl_reference="uniform", **PLAIN)
    found = expected_gradient(algorithm, drawn(*all_episodes(task, agent.probabilities)))
    torch.testing.assert_close(
        found.of["readouts.policy.weight"], -exact_gradient(agent, task, 0.3) / 2, atol=1e-12, rtol=0
    )
    assert found.of["readouts.value.weight"].abs().max() < 1e-12


def test_a_later_step_is_audited_at_the_weights_that_the_first_has_moved():
    task = KLTree(3, 2)
    agent = table_agent(task, some_policy(task), ("policy", "value"))
    algorithm = PPO(task, agent, whiten_advantages=False, clip=1e6, **PLAIN)
    episodes, probabilities = all_episodes(task, agent.probabilities)
    generator = torch.Generator().manual_seed(0)
    table = agent.readouts["policy"].weight
    noise = 0.3 * torch.randn(table.shape, generator=generator, dtype=torch.float64)
    moved = {"readouts.policy.weight": table.detach() + noise}
    before = table.detach().clone()
    found = expected_gradient(algorithm, drawn(episodes, probabilities), moved)
    assert torch.equal(table, before)
    # −Σ p·Σ_t ρ_t·A_t/T with ρ = π_moved/π and A the return to go less the value, by hand.
    from tokengym.algorithms.data import Batch

    batch = Batch.from_episodes(episodes)
    flat = episodes.flat
    advantages = episodes.returns[flat.episode] - regularised_values(episodes, probabilities, 3)
    with torch.no_grad():
        table.copy_(moved["readouts.policy.weight"])
    ratios = torch.exp(batch.score(agent).log_probs - batch.log_probs)
    loss = -(torch.as_tensor(probabilities[flat.episode] * advantages) * ratios).sum() / 2
    expected = torch.autograd.grad(loss, table)[0]
    torch.testing.assert_close(found.of["readouts.policy.weight"], expected, atol=1e-12, rtol=0)


def test_an_audit_leaves_the_algorithm_as_it_was():
    task = KLTree(2, 2)
    algorithm = A2C(
        task, table_agent(task, heads=("policy", "value")), kl_coef=0.1, kl_target=1.0, kl_reference="uniform"
    )
    before = (algorithm.return_scale.state(), algorithm.kl_controller.coef, algorithm.generator.get_state().tolist())
    weights = {name: value.clone() for name, value in algorithm.agent.state_dict().items()}
    expected_gradient(algorithm, drawn(*all_episodes(task)))
    after = (algorithm.return_scale.state(), algorithm.kl_controller.coef, algorithm.generator.get_state().tolist())
    assert after == before and algorithm.kl_budget.spent is None
    assert all(torch.equal(value, weights[name]) for name, value in algorithm.agent.state_dict().items())


def test_what_is_not_exact_is_refused():
    task = KLTree(2, 2)
    everything = all_episodes(task)
    with pytest.raises(TokenGymError, match="float64"):
        expected_gradient(A2C(task, "table"), drawn(*everything))
    algorithm = A2C(task, table_agent(task, heads=("policy", "value")))
    with pytest.raises(TokenGymError, match=r"sum to 0\.25"):
        expected_gradient(algorithm, list(drawn(*everything))[:1])
    with pytest.raises(TokenGymError, match="moved names 'weight'"):
        expected_gradient(algorithm, drawn(*everything), {"weight": torch.zeros(1)})


def test_the_fixed_point_called_optimum_is_the_solvers():
    for task in (KLTree(3, 3), Copy(k=2, num_tokens=2), SlipLock(2, 3)):
        reference = some_policy(task)
        solved = solve(task, beta=0.2, reference=reference)
        found = evaluate_policy(task, fixed_point(task, 0.2, reference=reference), reference)
        assert found.kl_regularised(0.2) == pytest.approx(solved.kl_optimal_return, abs=1e-12)
        tokens, lengths = observations(all_episodes(task)[0])
        np.testing.assert_allclose(
            fixed_point(task, 0.2, reference=reference)(tokens, lengths),
            optimum(task, 0.2, reference)(tokens, lengths),
            atol=1e-12,
        )


def test_equal_observations_have_equal_numbers():
    episodes, _ = all_episodes(KLTree(2, 2))
    assert state_numbers(episodes).tolist() == [0, 1, 0, 1, 0, 2, 0, 2]
