"""A budget of KL ends training, with or without a coefficient, and is refused where it is spent before."""

import pytest
import torch

from tokengym.agents import build_agent
from tokengym.algorithms import A2C, DQN, PPO, SAC, Callback, check_config
from tokengym.envs import TokenGymError
from tokengym.envs.exact import evaluate_policy
from tokengym.envs.tasks.diagnostics import KLTree

SETTINGS = {"kl_budget": 0.3, "kl_reference": "uniform", "learning_rate": 0.1, "seed": 0}
ON_POLICY = {"rollout_tokens": 64, "entropy_coef": 0.0}


class Seen(Callback):
    """Every update's KL."""

    def __init__(self):
        self.kl = []

    def on_update(self, algorithm, metrics):
        self.kl += [metrics["objective/kl"]] if "objective/kl" in metrics else []


@pytest.mark.parametrize("kl_coef", [0.0, 0.01])
@pytest.mark.parametrize(("kind", "settings"), [(PPO, ON_POLICY), (A2C, ON_POLICY), (SAC, {"learning_starts": 64})])
def test_training_ends_with_the_update_that_measured_more(kind, settings, kl_coef):
    seen = Seen()
    algorithm = kind(KLTree(3, 2), "table", kl_coef=kl_coef, **SETTINGS, **settings).learn(20_000, seen)
    assert algorithm.num_timesteps < 20_000
    assert algorithm.kl_budget.spent > 0.3 >= max(seen.kl[:-1])
    if kind is not SAC:  # which takes several steps an update, and reports their mean
        assert seen.kl[-1] == algorithm.kl_budget.spent
        exact = evaluate_policy(algorithm.task, algorithm.agent.probabilities).kl
        assert exact == pytest.approx(algorithm.kl_budget.spent, abs=0.05)  # nothing was learnt from what measured it
    assert "kl_budget is spent" in algorithm.finished()


def test_what_is_spent_is_kept_by_a_checkpoint(tmp_path):
    algorithm = PPO(KLTree(3, 2), "table", **SETTINGS, **ON_POLICY).learn(20_000)
    algorithm.save(tmp_path / "spent")
    loaded = PPO.load(tmp_path / "spent", KLTree(3, 2))
    assert loaded.finished() == algorithm.finished() and loaded.learn(20_000).num_updates == algorithm.num_updates


def test_without_a_budget_nothing_ends_before_its_time():
    algorithm = PPO(KLTree(3, 2), "table", seed=0, learning_rate=0.1, **ON_POLICY).learn(1000)
    assert algorithm.finished() is None and algorithm.reference is None and algorithm.num_timesteps >= 1000


@pytest.mark.parametrize(("kind", "heads"), [(A2C, ("policy", "value")), (PPO, ("policy", "value"))])
def test_a_budget_that_is_spent_before_the_first_update_is_refused(kind, heads):
    task = KLTree(3, 2)
    agent = build_agent("gpt2-tiny", task.vocabulary, task.max_length, heads=heads)
    with torch.no_grad():
        agent.readouts["policy"].weight.mul_(300)
    before = [parameter.clone() for parameter in agent.parameters()]
    algorithm = kind(task, agent, **{**SETTINGS, "kl_budget": 0.1}, **ON_POLICY)
    with pytest.raises(TokenGymError, match=r"kl_budget is 0\.1, and before the first update the policy is .* nats"):
        algorithm.learn(1000)
    assert algorithm.num_updates == 0
    assert all(torch.equal(one, other) for one, other in zip(before, agent.parameters(), strict=True))


def test_budgets_out_of_place_are_refused():
    with pytest.raises(TokenGymError, match=r"kl_budget is 0"):
        check_config("ppo", {"kl_budget": 0.0})
    with pytest.raises(TokenGymError, match="kl_budget"):
        DQN("Copy", kl_budget=1.0)
    with pytest.raises(TokenGymError, match="kl_reference is 'uniform'; expected 'initial'"):
        check_config("ppo", {"kl_reference": "uniform"})
    assert check_config("ppo", {"kl_reference": "uniform", "kl_budget": 1.0}).kl_limit == 1.0
