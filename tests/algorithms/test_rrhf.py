"""RRHF: its loss by hand, the rankings that it buys, and the optimum that it ends at."""

import numpy as np
import pytest
import torch
from preference_cases import population

from tokengym.algorithms import RRHF, StopAfter, load_algorithm
from tokengym.algorithms.data import PreferenceDataset, Ranks
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.exact import evaluate_policy, solve
from tokengym.experiments.audit import all_episodes, table_agent

TREE = {"num_tokens": 3, "depth": 2}


def of_ranks(task, order, sizes, places=None):
    episodes, _ = all_episodes(task)
    return PreferenceDataset.of_ranks(episodes, task.vocabulary, Ranks(order, sizes, places))


def test_the_loss_is_the_papers_on_rankings_worked_out_by_hand():
    task = make_task("KLTree", **TREE)
    said = np.log([0.5, 0.3, 0.2])  # of the first token, whatever came before

    def policy(tokens, lengths):
        return np.tile(np.exp(said), (len(tokens), 1))

    # Completions in the order of all_episodes: (t0 t0), (t0 t1), …; 8 is (t2 t2), 0 is (t0 t0), 1 and 3 are tied.
    data = of_ranks(task, [8, 0, 4, 1, 3, 5], [3, 3], [0, 1, 2, 0, 0, 2])
    algorithm = RRHF(task, table_agent(task, policy), dataset=data, nll_coef=0.5)
    batch = algorithm.take(np.arange(2))
    loss = algorithm.loss((prepared := algorithm.prepare(batch)).batch, prepared)
    p = {leaf: (said[leaf // 3] + said[leaf % 3]) / 2 for leaf in range(9)}
    hinges = [max(0, p[worse] - p[better]) for better, worse in [(8, 0), (8, 4), (0, 4), (1, 5), (3, 5)]]
    nll = -(2 * p[8]) - (2 * p[1] + 2 * p[3]) / 2
    assert loss.total.item() == pytest.approx(sum(hinges) / 2 + 0.5 * nll / 2)
    assert float(loss.terms["preferences/accuracy"]) == pytest.approx(3 / 5)


def test_it_ends_at_the_best_completion_and_not_at_the_regularised_optimum():
    task = make_task("KLTree", **TREE)
    episodes, _ = all_episodes(task)
    order = np.argsort(-episodes.returns)
    data = of_ranks(task, order, [9])
    learnt = RRHF(task, "table", dataset=data, learning_rate=0.1, seed=0).learn(150)
    assert evaluate_policy(task, learnt.agent.probabilities).expected_return > solve(task).optimal_return - 0.02


def test_without_the_likelihood_of_the_best_it_puts_completions_in_order_and_stops():
    task = make_task("KLTree", **TREE)
    order = np.array([4, 0, 8])
    learnt = RRHF(task, "table", dataset=of_ranks(task, order, [3]), nll_coef=0.0, learning_rate=0.05, seed=0)
    with torch.no_grad():
        learnt.agent.readouts["policy"].weight.normal_(generator=torch.Generator().manual_seed(0))
    metrics = learnt.learn(100).update(learnt.next_batch())
    assert metrics["preferences/ranking_loss"] == pytest.approx(0.0, abs=1e-3)


def test_every_ranking_costs_all_of_its_pairs():
    bought = RRHF("KLTree", "table", labels=50, ranking_size=4, label_temperature=0.0, seed=0)
    assert bought.data.ranks.sizes.tolist() == [4] * 8, "8 rankings of 6 comparisons, and 2 labels that pay for none"
    assert bought.data.about["labels"] == 48 and bought.num_timesteps >= 4 * 32
    returns = bought.data.episodes.returns[bought.data.ranks.order].reshape(8, 4)
    assert (np.diff(returns, axis=1) <= 0).all()


def test_pairs_alone_are_rankings_of_two():
    task = make_task("KLTree", **TREE)
    algorithm = RRHF(task, "table", dataset=population(task), seed=0)
    assert algorithm.data.ranks.sizes.tolist() == [2] * 72
    assert algorithm.update(algorithm.next_batch())["preferences/nll_best"] > 0


def test_the_gradient_is_the_same_however_a_batch_is_cut():
    task = make_task("KeywordCover")
    gradients = []
    for limit in (None, 4 * task.max_length):
        algorithm = RRHF(
            task, "gpt2-tiny", labels=48, seed=0, learning_rate=1e-30, max_grad_norm=float("inf"),
            micro_batch_tokens=limit, dtype="float64",
        )  # fmt: skip
        algorithm.update(algorithm.next_batch())
        gradients.append(torch.cat([p.grad.flatten() for p in algorithm.agent.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-9)


def test_equal_seeds_learn_the_same_and_a_resumed_run_goes_on_to_the_same_bits(tmp_path):
    def made():
        return RRHF("KLTree", "gpt2-tiny", seed=3, labels=60, batch_rankings=4)

    whole, again = made().learn(10), made().learn(10)
    made().learn(10, callback=StopAfter(4)).save(tmp_path / "half")
    resumed = load_algorithm(tmp_path / "half").learn(10)
    for one, two, three in zip(*(a.agent.parameters() for a in (whole, again, resumed)), strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)


def test_labels_that_pay_for_no_ranking_and_a_ranking_of_one_are_refused():
    with pytest.raises(TokenGymError, match="labels is 5, and a ranking of ranking_size 4 costs 6"):
        RRHF("KLTree", "table", labels=5)
    with pytest.raises(TokenGymError, match="ranking_size is 1"):
        RRHF("KLTree", "table", ranking_size=1)
    with pytest.raises(TokenGymError, match="reference is given, and rrhf"):
        RRHF("KLTree", "table", reference=table_agent(make_task("KLTree")))
