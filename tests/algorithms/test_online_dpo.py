"""Online DPO: one step is DPO's on the same pairs, and its labels are counted and may run out."""

import numpy as np
import pytest
import torch

from tokengym.algorithms import DPO, OnlineDPO, StopAfter, load_algorithm
from tokengym.algorithms.data import PreferenceDataset
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.exact import evaluate_policy, solve

pytestmark = pytest.mark.filterwarnings("ignore:.*within every one of the collected groups")

BETA = 0.2


def test_a_step_is_that_of_dpo_on_the_same_pairs():
    options = {"learning_rate": 1e-3, "beta": BETA, "seed": 0}
    online = OnlineDPO("KLTree", "gpt2-tiny", rollout_tokens=64, **options)
    episodes = online.collect()
    pairs = online.compare(episodes)
    data = PreferenceDataset(episodes, online.task.vocabulary, pairs)
    offline = DPO("KLTree", "gpt2-tiny", dataset=data, batch_pairs=len(pairs), **options)
    offline.num_updates = 0
    prepared = online.prepare(data)
    mine = online.loss(prepared.batch, prepared)
    prepared = offline.prepare(data)
    other = offline.loss(prepared.batch, prepared)
    assert mine.total.item() == other.total.item()
    assert mine.total.item() == pytest.approx(np.log(2), rel=1e-6), "at the reference every pair is a coin"


def test_neighbours_that_differ_are_compared_and_equal_ones_are_not_asked_about():
    online = OnlineDPO("KLTree", "table", rollout_tokens=512, label_temperature=0.01, seed=0)
    episodes = online.collect()
    pairs = online.compare(episodes)
    assert online.labeller.spent == len(pairs) <= len(episodes) // 2
    assert (np.minimum(pairs.better, pairs.worse) % 2 == 0).all() and (abs(pairs.better - pairs.worse) == 1).all()
    right = episodes.returns[pairs.better] >= episodes.returns[pairs.worse]
    assert right.mean() > 0.95
    online.compare(episodes.select(np.zeros(6, int)))
    assert online.labeller.spent == len(pairs)
    metrics = online.update(episodes.select(np.zeros(6, int)))
    assert metrics["labels/pairs"] == 0


def test_learning_ends_when_all_labels_are_bought():
    online = OnlineDPO("KLTree", "table", labels=25, rollout_tokens=64, seed=0).learn(100_000)
    assert online.labeller.spent == 25 and online.num_timesteps < 1000
    assert "25 labels are bought" in online.finished()


def test_it_comes_near_the_regularised_optimum_with_many_labels():
    task = make_task("KLTree", num_tokens=3, depth=2)
    # Labels of temperature τ and β/τ have the optimum of β.
    online = OnlineDPO(
        task, "table", beta=BETA / 0.1, label_temperature=0.1, kl_reference="uniform", rollout_tokens=256, num_rows=128,
        learning_rate=0.05, seed=0,
    ).learn(30_000)  # fmt: skip
    solution = solve(task, beta=BETA)
    value = evaluate_policy(task, online.agent.probabilities).kl_regularised(BETA)
    assert solution.kl_optimal_return - value < 0.1 * (solution.kl_optimal_return - solution.random_return)


def test_equal_seeds_learn_the_same_and_a_resumed_run_goes_on_to_the_same_bits(tmp_path):
    def made():
        return OnlineDPO("Copy", "gpt2-tiny", seed=3, rollout_tokens=64, labels=500)

    whole, again = made().learn(600), made().learn(600)
    made().learn(600, callback=StopAfter(200)).save(tmp_path / "half")
    resumed = load_algorithm(tmp_path / "half").learn(600)
    assert resumed.labeller.spent == whole.labeller.spent
    for one, two, three in zip(*(a.agent.parameters() for a in (whole, again, resumed)), strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)


@pytest.mark.parametrize(("options", "says"), [
    ({"group_size": 1}, "group_size is 1"),
    ({"group_size": 3}, "an even number"),
    ({"labels": 0}, "labels is 0"),
    ({"token_rewards": False}, "does nothing while whole answers are compared"),
    ({"loss": "orpo", "kl_reference": "uniform"}, "does nothing while loss is 'orpo'"),
])  # fmt: skip
def test_what_does_nothing_or_makes_no_sense_is_refused(options, says):
    with pytest.raises(TokenGymError, match=says):
        OnlineDPO("KLTree", "table", **options)
