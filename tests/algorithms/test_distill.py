"""On-policy distillation: it rests at the teacher, its gradients are those of the KL, and a table gets there."""

import numpy as np
import pytest
import torch
from turn_cases import Turns, wavering

from tokengym.algorithms import BC, DQN, ILQL, Distill, MCReturns, QSharp
from tokengym.algorithms.data import Batch
from tokengym.algorithms.parts import returns_to_go
from tokengym.envs import TokenGymError, solve
from tokengym.experiments.audit import all_episodes, drawn, expected_gradient, table_agent

KINDS = [(estimator, credit) for estimator in ("sampled", "exact") for credit in ("token", "to_go")]


def teacher(tokens, lengths):
    one = 1 / (1 + np.exp(0.9 - 0.35 * np.asarray(lengths)))
    return np.stack([1 - one, one], axis=1)


def gradient(task, policy, taught, **given):
    agent = table_agent(task, policy)
    reference = None if taught is None else table_agent(task, taught)
    algorithm = Distill(task, agent, dtype="float64", reference=reference, **given)
    episodes, chances = all_episodes(task, policy)
    return agent, episodes, chances, algorithm, expected_gradient(algorithm, drawn(episodes, chances)).vector


@pytest.mark.parametrize(("estimator", "credit"), KINDS)
@pytest.mark.parametrize("chance", [False, True])
def test_at_the_teacher_nothing_moves(estimator, credit, chance):
    task = Turns(chance)
    found = gradient(task, teacher, teacher, estimator=estimator, credit=credit)[-1]
    assert found.abs().max() < 1e-12
    away = gradient(task, wavering, teacher, estimator=estimator, credit=credit)[-1]
    assert away.abs().max() > 1e-2


@pytest.mark.parametrize("estimator", ["sampled", "exact"])
def test_with_all_that_follows_it_is_the_gradient_of_the_kl_of_episodes(estimator):
    task = Turns(chance=True)
    agent, episodes, chances, algorithm, found = gradient(task, wavering, teacher, estimator=estimator, credit="to_go")
    batch = Batch.from_episodes(episodes)
    scores = batch.score(agent, reference=algorithm.reference.logits(batch))
    of = batch.episodes[batch.rows]
    zero = torch.zeros(len(episodes), dtype=torch.float64)
    said = zero.index_add(0, of, scores.log_probs)
    gap = zero.index_add(0, of, scores.log_probs - scores.reference_log_probs)
    divergence = (torch.from_numpy(chances) * torch.exp(said - said.detach()) * gap).sum()
    exact = torch.autograd.grad(divergence, agent.readouts["policy"].weight)[0].flatten()
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-10)


def test_the_sampled_and_the_exact_grade_agree_in_expectation():
    task = Turns()
    kinds = ("sampled", "exact")
    one, other = (gradient(task, wavering, teacher, estimator=kind, credit="token")[-1] for kind in kinds)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    whole = gradient(task, wavering, teacher, estimator="exact", credit="to_go")[-1]
    assert (whole - one).abs().max() > 1e-3, "what a token does to later states is left out"


@pytest.mark.parametrize(("estimator", "credit"), KINDS)
def test_a_table_gets_to_the_exact_soft_optimum(estimator, credit):
    task = Turns()
    best = solve(task, 1.0).policy("kl_optimal")
    agent = table_agent(task, wavering)
    algorithm = Distill(task, agent, dtype="float64", teacher_beta=1.0, estimator=estimator, credit=credit)
    episodes, _ = all_episodes(task, wavering)
    weight = agent.readouts["policy"].weight
    for _ in range(150):
        listed, likely = all_episodes(task, agent.probabilities)
        step = expected_gradient(algorithm, drawn(listed, likely)).vector.reshape(weight.shape)
        with torch.no_grad():
            weight.sub_(3.0 * step)
        if step.abs().max() < 1e-5:
            break
    tokens, columns = episodes.tokens[episodes.flat.row], episodes.flat.column
    assert np.abs(agent.probabilities(tokens, columns) - best(tokens, columns)).max() < 1e-3


def test_metrics_and_a_saved_teacher(tmp_path):
    first = Distill("Copy", seed=1).learn(64)
    first.save(tmp_path / "teacher")
    second = Distill("Copy", seed=2, teacher=str(tmp_path / "teacher")).learn(64)
    with pytest.raises(TokenGymError, match=r"teacher_beta is 0\.2"):
        Distill("Copy", teacher=str(tmp_path / "teacher"), teacher_beta=0.2)
    assert second.num_timesteps >= 64
    episodes = second.next_batch()
    prepared = second.prepare(episodes)
    assert prepared.metrics["distill/kl"] > 0
    assert np.isfinite(returns_to_go(episodes.flat, 1.0)).all()


def test_what_cannot_be_solved_has_no_optimal_teacher():
    with pytest.raises(TokenGymError, match="teacher is 'optimal'"):
        Distill("TextGeneration")
    with pytest.raises(TokenGymError, match="token_rewards is False"):
        Distill("Copy", token_rewards=False)


@pytest.mark.parametrize("kind", [ILQL, MCReturns, QSharp])
def test_a_teacher_that_weighs_its_policy_by_values_is_refused_and_its_recorded_clone_is_not(kind, tmp_path):
    """Its policy head is the clone of its data: alone it would teach what the data's player says."""
    taught = kind("KLTree", "table", seed=0, demonstrations=256).learn(50)
    taught.save(tmp_path / "weighed")
    with pytest.raises(TokenGymError, match=rf"a run of {kind.name}: .*the clone of its data. Record it"):
        Distill("KLTree", teacher=str(tmp_path / "weighed"))
    BC("KLTree", "table", seed=0, player=str(tmp_path / "weighed"), demonstrations=64).learn(5).save(tmp_path / "clone")
    Distill("KLTree", "table", teacher=str(tmp_path / "clone"))


def test_a_teacher_that_learnt_no_policy_is_refused(tmp_path):
    DQN("Copy", seed=1).save(tmp_path / "dqn")
    with pytest.raises(TokenGymError, match=r"learnt no policy but the heads q: take"):
        Distill("Copy", teacher=str(tmp_path / "dqn"))
    DQN("Copy", seed=1, kl_coef=0.1).save(tmp_path / "soft")
    Distill("Copy", teacher=str(tmp_path / "soft"))
    with pytest.raises(TokenGymError, match=r"teacher is 'optimall', which is no folder here: did you mean 'optimal'"):
        Distill("Copy", teacher="optimall")
    with pytest.raises(TokenGymError, match=r"'mlp-tiny', which is no folder here. Expected 'optimal', or the folder"):
        Distill("Copy", teacher="mlp-tiny")
