"""The evaluation protocol: exact and played values agree with one another and with the closed forms."""

import math

import numpy as np
import pytest
import torch

from tokengym.agents.build import build_agent
from tokengym.agents.weights import WeightsRecord
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.exact.solver import solve
from tokengym.envs.registration import make_task
from tokengym.experiments.evaluation import evaluate_agent, known_references, play_of, references
from tokengym.experiments.transcribing import transcripts


class Uniform:
    """Plays uniformly, and tells its probabilities."""

    def __init__(self, task):
        self.num_actions = task.vocabulary.num_actions

    def probabilities(self, tokens, lengths, masks=None):
        return np.full((len(tokens), self.num_actions), 1 / self.num_actions)


class OnlyPredicts:
    """Says what torch's global generator draws, as players of other libraries do."""

    def __init__(self, task):
        self.num_actions = task.vocabulary.num_actions

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        count = len(observation["tokens"])
        if deterministic:
            return np.zeros(count, np.int64), None
        return torch.randint(self.num_actions, (count,)).numpy(), None


@pytest.fixture(scope="module")
def lattice():
    return make_task("Lattice")


def small_agent(task, seed=0):
    spec = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
    return build_agent(spec, task.vocabulary, task.max_length, seed=seed)


@pytest.mark.parametrize("name", ["TokenBandit", "Copy", "KLTree", "Lattice"])
def test_the_exact_value_of_uniform_play_is_the_random_return(name):
    task = make_task(name)
    found = evaluate_agent(Uniform(task), task, deterministic=False, exact_limit=100_000)
    assert found.exact and found.episodes == 0 and found.standard_error == 0.0
    assert found.value == pytest.approx(references(task).random, abs=1e-9)
    assert found.kl == pytest.approx(0.0, abs=1e-9)


def test_the_optimal_policy_has_the_optimal_return(lattice):
    class Optimal:
        probabilities = staticmethod(solve(lattice).policy("optimal"))

    assert evaluate_agent(Optimal(), lattice).value == pytest.approx(references(lattice).optimal, abs=1e-9)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("name", ["KLTree", "Lattice"])
def test_played_episodes_estimate_the_exact_numbers(name, deterministic):
    task = make_task(name)
    agent = small_agent(task)
    exact = evaluate_agent(agent, task, deterministic=deterministic, beta=0.2)
    played = evaluate_agent(agent, task, deterministic=deterministic, beta=0.2, exact_limit=0, episodes=2000)
    assert exact.exact and not played.exact and played.episodes == 2000
    assert abs(played.expected_return - exact.expected_return) <= 4 * played.standard_error + 1e-9
    assert played.length == pytest.approx(exact.length, rel=0.02)
    assert played.entropy == pytest.approx(exact.entropy, rel=0.02, abs=1e-6)
    assert played.kl == pytest.approx(exact.kl, rel=0.2, abs=0.02)
    assert played.value == pytest.approx(played.expected_return - 0.2 * played.kl)


def test_a_greedy_policys_kl_to_uniform_is_log_a_for_each_token():
    task = make_task("KLTree")
    found = evaluate_agent(small_agent(task), task, beta=0.5)
    assert found.kl == pytest.approx(4 * math.log(4))
    assert found.value == pytest.approx(found.expected_return - 0.5 * found.kl)


def test_too_many_prefixes_for_an_exact_value_are_played():
    task = make_task("Copy")
    assert not evaluate_agent(Uniform(task), task, deterministic=False, exact_limit=100, episodes=10).exact


def test_an_error_of_the_player_is_not_taken_for_too_many_prefixes():
    class Broken:
        def probabilities(self, tokens, lengths, masks=None):
            raise TokenGymError("my own max_nodes")

    with pytest.raises(TokenGymError, match="my own"):
        evaluate_agent(Broken(), make_task("Copy"))


def test_evaluation_is_repeatable_and_touches_no_generator_of_training(lattice):
    agent = small_agent(lattice)
    before, sampler = torch.get_rng_state(), agent.sampler.get_state()
    for player in (agent, OnlyPredicts(lattice)):
        first, second = (
            evaluate_agent(player, lattice, deterministic=False, exact_limit=0, episodes=50) for _ in range(2)
        )
        assert first == second
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(agent.sampler.get_state(), sampler)


def test_other_starts_and_draws_come_with_another_seed(lattice):
    values = {
        evaluate_agent(Uniform(lattice), lattice, deterministic=False, exact_limit=0, episodes=9, seed=s).value
        for s in range(3)
    }
    assert len(values) == 3


def test_every_start_is_played_once_whatever_the_number_of_rows():
    task = make_task("CartPole")
    found = evaluate_agent(OnlyPredicts(task), task, episodes=300)
    assert found.episodes == 300
    assert found.expected_return == found.length
    assert found.entropy is None and found.kl is None


def test_a_regularised_value_needs_probabilities():
    task = make_task("CartPole")
    with pytest.raises(TokenGymError, match="got OnlyPredicts; leave beta out"):
        evaluate_agent(OnlyPredicts(task), task, episodes=2, beta=0.1)


def test_references_are_given_or_declared_or_solved():
    tree = make_task("KLTree")
    solution = solve(tree, beta=0.2)
    found = references(tree, beta=0.2)
    assert (found.random, found.optimal) == (solution.random_return, solution.kl_optimal_return)
    assert references(make_task("CartPole")).optimal == 500
    assert references(tree, random_return=0.0, optimal_return=2.0).optimal == 2.0


def test_a_task_without_a_known_optimum_cannot_be_scored():
    with pytest.raises(TokenGymError, match="declares no random and optimal return"):
        references(make_task("MountainCar"))
    assert known_references(make_task("MountainCar")) is None


def test_zero_episodes_are_refused(lattice):
    with pytest.raises(TokenGymError, match="episodes is 0; expected a whole number within 1"):
        evaluate_agent(Uniform(lattice), lattice, episodes=0)


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf")])
def test_a_beta_that_is_no_coefficient_is_refused(lattice, beta):
    with pytest.raises(TokenGymError, match=r"beta is .*; expected None or a number of at least 0"):
        evaluate_agent(Uniform(lattice), lattice, beta=beta)


def test_a_transcript_tells_who_said_what():
    task = make_task("Copy")
    (one,) = transcripts(Uniform(task), task, 1)
    assert [speaker for speaker, _ in one.segments] == ["task", "agent"]
    prompt, said = (words.split() for _, words in one.segments)
    assert len(said) == 3 and len(prompt) >= 3
    assert one.text().endswith(f"[{' '.join(said)}]")


def test_a_transcript_of_turns_shows_each_new_observation_and_sums_rewards(lattice):
    player = Uniform(lattice)
    played = transcripts(player, lattice, 3)
    assert all(len(one.segments) == 40 for one in played)
    # Greedy play says the first of equal tokens, so the exact return over all starts bounds the sampled ones' type.
    assert all(-100 < one.total_reward < 0 for one in played)
    assert transcripts(player, lattice, 0) == []


def test_a_long_episode_is_cut_in_its_transcript_only():
    task = make_task("CartPole")
    (one,) = transcripts(OnlyPredicts(task), task, 1, max_tokens=3)
    assert one.segments[-1] == ("task", "… (cut after 3 tokens)")


def test_an_agent_without_a_policy_says_by_which_rule_its_sampled_play_is_drawn():
    task = make_task("TokenBandit")
    spec = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
    agent = build_agent(spec, task.vocabulary, task.max_length, heads=("q",), temperature=0.5, seed=0)
    assert evaluate_agent(agent, task).play == "greedy"
    assert evaluate_agent(agent, task, deterministic=False).play == "sampled (Boltzmann over Q, temperature 0.5)"
    assert evaluate_agent(small_agent(task), task, deterministic=False).play == "sampled"


def test_the_reference_dqn_samples_epsilon_greedily_and_says_so():
    from tokengym.algorithms.sb3.algorithm import SB3DQN, SB3PPO

    assert play_of(SB3DQN("TokenBandit", seed=0), False) == "sampled (ε-greedy, ε 0)"
    assert play_of(SB3PPO("TokenBandit", seed=0), False) == "sampled"


def test_one_episode_says_nothing_about_its_error_and_few_have_students_interval():
    task = make_task("Lattice")
    one = evaluate_agent(Uniform(task), task, deterministic=False, exact_limit=0, episodes=1)
    assert (one.standard_error, one.standard_deviation, one.half_width) == (None, None, None)
    five = evaluate_agent(Uniform(task), task, deterministic=False, exact_limit=0, episodes=5)
    assert five.half_width == pytest.approx(2.776445 * five.standard_error)  # the 97.5% quantile with 4 degrees


def test_playing_looks_at_the_weights_once_as_they_cannot_change_meanwhile(monkeypatch):
    looks, look = [], WeightsRecord.still_holds
    monkeypatch.setattr(WeightsRecord, "still_holds", lambda record, modules: looks.append(1) or look(record, modules))
    task = make_task("Copy")
    agent = build_agent("gru-tiny", task.vocabulary, task.max_length, heads=("policy",), seed=0)
    evaluate_agent(agent, task, episodes=4, exact_limit=0)
    transcripts(agent, task, 2)
    assert len(looks) == 2
