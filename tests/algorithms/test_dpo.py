"""DPO and its kin: where their losses balance, what they learn, and what they refuse."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from preference_cases import log_ratios, population

from tokengym.algorithms import DPO, RRHF, StopAfter, load_algorithm
from tokengym.algorithms.configs.preferences import PAIR_LOSS_KINDS
from tokengym.algorithms.data import PreferenceDataset, PreferencePairs, prompts_of, write_preferences
from tokengym.algorithms.preferences.objective import mismatched
from tokengym.envs import TokenGymError, make_task
from tokengym.experiments.audit import expected_gradient, optimum, regret, table_agent

BETA = 0.2
TREES = {"uniform rewards": {}, "one paying leaf in 256": {"rewards": "one_leaf"}}


def skewed(tokens, lengths):
    """A reference that is not uniform, and not the same in all states."""
    logits = 0.5 * np.sin(np.arange(4) + tokens.sum(axis=1)[:, None] + lengths[:, None])
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def at(task, policy, data, reference=None, **config):
    """DPO whose table says ``policy``, on ``data``."""
    kept = {"kl_reference": "uniform"} if reference is None else {"reference": table_agent(task, reference)}
    return DPO(task, table_agent(task, policy), dataset=data, **kept, **config)


@pytest.mark.parametrize("reference", [None, skewed], ids=["uniform reference", "another reference"])
@pytest.mark.parametrize("rewards", TREES.values(), ids=TREES)
def test_the_population_loss_balances_exactly_at_the_kl_regularised_optimum(rewards, reference):
    task = make_task("KLTree", **rewards)
    data = population(task, reference)
    best = optimum(task, BETA, reference)
    assert expected_gradient(at(task, best, data, reference, beta=BETA), [(1.0, data)]).largest < 1e-9
    for elsewhere in (reference, optimum(task, 1.5 * BETA, reference)):
        assert expected_gradient(at(task, elsewhere, data, reference, beta=BETA), [(1.0, data)]).largest > 1e-5


def test_the_temperature_of_the_labels_multiplies_beta():
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task, temperature=0.5)
    assert expected_gradient(at(task, optimum(task, BETA), data, beta=2 * BETA), [(1.0, data)]).largest < 1e-9


def test_any_distribution_of_pairs_has_the_same_optimum():
    task = make_task("KLTree", num_tokens=3, depth=2)
    best = optimum(task, BETA)
    data = population(task, best)
    assert expected_gradient(at(task, best, data, beta=BETA), [(1.0, data)]).largest < 1e-9, "online, at its end"


def test_ipo_balances_where_probabilities_of_being_preferred_are_the_reward():
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task)
    returns = data.episodes.returns
    preferred = (1 / (1 + np.exp(returns[None, :] - returns[:, None]))).mean(axis=1)
    tilted = np.exp(preferred / BETA)  # Azar et al., equation 7, with Ψ the identity
    assert (
        expected_gradient(
            at(task, of_leaves(task, data.episodes, tilted), data, beta=BETA, loss="ipo"), [(1.0, data)]
        ).largest
        < 1e-9
    )
    assert expected_gradient(at(task, optimum(task, BETA), data, beta=BETA, loss="ipo"), [(1.0, data)]).largest > 1e-4


def test_simpo_without_a_margin_balances_at_the_optimum_for_the_uniform_policy():
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task)
    options = {"beta": task.depth * BETA, "loss": "simpo", "target_margin": 0.0}
    algorithm = DPO(task, table_agent(task, optimum(task, BETA)), dataset=data, **options)
    assert expected_gradient(algorithm, [(1.0, data)]).largest < 1e-9


def of_leaves(task, episodes, weights):
    """The policy that says each completion with a probability proportional to its weight."""

    def policy(tokens, lengths):
        result = np.empty((len(tokens), task.vocabulary.num_actions))
        for row, (shown, length) in enumerate(zip(tokens, lengths, strict=True)):
            begun = (episodes.tokens[:, :length] == shown[:length]).all(axis=1)
            masses = [weights[begun & (episodes.tokens[:, length] == token)].sum() for token in range(result.shape[1])]
            result[row] = np.array(masses) / sum(masses)
        return result

    return policy


@pytest.mark.parametrize("rewards", TREES.values(), ids=TREES)
def test_a_table_learns_the_optimum_from_all_pairs(rewards):
    task = make_task("KLTree", **rewards)
    data = population(task)
    options = {"beta": BETA, "kl_reference": "uniform", "learning_rate": 0.3, "batch_pairs": len(data), "seed": 0}
    learnt = DPO(task, "table", dataset=data, **options).learn(50)
    assert regret(task, learnt.agent.probabilities, BETA) < 0.05


@pytest.mark.parametrize("loss", PAIR_LOSS_KINDS)
def test_every_loss_learns_to_prefer_what_labels_say_on_several_prompts(loss):
    algorithm = DPO("Copy", loss=loss, labels=200, label_temperature=0.01, learning_rate=5e-3, seed=0)
    assert len(np.unique(algorithm.data.prompts)) > 1
    first = algorithm.update(algorithm.next_batch())
    algorithm.learn(40)
    last = algorithm.update(algorithm.next_batch())
    assert last["preferences/loss"] < first["preferences/loss"] - 1e-3
    assert last["preferences/accuracy"] > 0.7


@pytest.mark.parametrize("loss", PAIR_LOSS_KINDS)
def test_the_gradient_is_the_same_however_a_batch_is_cut(loss):
    task = make_task("KeywordCover")
    gradients = []
    for limit in (None, 2 * task.max_length, 5 * task.max_length):
        algorithm = DPO(
            task, "gpt2-tiny", loss=loss, labels=40, seed=0, learning_rate=1e-30, max_grad_norm=float("inf"),
            micro_batch_tokens=limit, batch_pairs=40, dtype="float64",
        )  # fmt: skip
        with torch.no_grad():
            for parameter in algorithm.agent.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        algorithm.update(algorithm.next_batch())
        gradients.append(torch.cat([p.grad.flatten() for p in algorithm.agent.parameters() if p.grad is not None]))
    for cut in gradients[1:]:
        torch.testing.assert_close(cut, gradients[0], rtol=1e-6, atol=1e-9)


def test_a_sequence_that_is_compared_often_is_read_once():
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task)
    prepared = DPO(task, "table", dataset=data, seed=0).prepare(data)
    assert len(prepared.batch.tokens) == 9 and len(prepared.better) == 72
    assert float(prepared.weight.sum()) == pytest.approx(1.0)


def test_weights_of_pairs_are_those_of_all_data_whichever_batch_they_are_in():
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task)
    weighted = PreferencePairs(data.pairs.better, data.pairs.worse, np.arange(1, 73))
    algorithm = DPO(task, "table", dataset=PreferenceDataset(data.episodes, task.vocabulary, weighted), batch_pairs=24)
    parts = [float(algorithm.prepare(algorithm.take(np.arange(a, a + 24))).weight.sum()) for a in (0, 24, 48)]
    assert sum(parts) == pytest.approx(3) and parts[0] < parts[1] < parts[2]


def test_equal_seeds_learn_the_same_and_a_resumed_run_goes_on_to_the_same_bits(tmp_path):
    def made():
        return DPO("KLTree", "gpt2-tiny", seed=3, labels=50, batch_pairs=8)

    whole, again = made().learn(12), made().learn(12)
    half = made().learn(12, callback=StopAfter(5))
    assert half.num_updates == 5 and half.data.pairs.better.tolist() == whole.data.pairs.better.tolist()
    half.save(tmp_path / "half")
    resumed = load_algorithm(tmp_path / "half").learn(12)
    for one, two, three in zip(*(a.agent.parameters() for a in (whole, again, resumed)), strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)


def test_labels_and_samples_are_counted_and_drawn_from_the_initial_policy():
    algorithm = DPO("KLTree", "table", labels=30, seed=0)
    assert len(algorithm.data) == 30 and algorithm.num_timesteps == 4 * 60 and algorithm.spent == 0
    better = algorithm.data.episodes.returns[algorithm.data.pairs.better]
    assert np.isfinite(better).all()


@pytest.mark.parametrize(("options", "says"), [
    ({"loss": "simpo", "kl_reference": "uniform"}, "does nothing while loss is 'simpo'"),
    ({"target_margin": 1.0}, "does nothing while loss is 'dpo'"),
    ({"label_smoothing": 0.2}, "does nothing while loss is 'dpo'"),
    ({"loss": "cdpo", "label_smoothing": 0.5}, "label_smoothing is 0.5"),
    ({"labels": 0}, "labels is 0"),
    ({"beta": 0}, "beta is 0"),
    ({"loss": "dop"}, "loss is 'dop'"),
])  # fmt: skip
def test_what_does_nothing_or_makes_no_sense_is_refused(options, says):
    with pytest.raises(TokenGymError, match=says):
        DPO("KLTree", "table", **options)


def test_what_cannot_be_learnt_from_is_refused_before_anything_is_learnt():
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task)
    with pytest.raises(TokenGymError, match="another vocabulary"):
        DPO("KLTree", "table", dataset=data)
    with pytest.raises(TokenGymError, match=r"dataset is \[1\]; dpo learns from a PreferenceDataset"):
        DPO(task, "table", dataset=[1])
    with pytest.raises(TokenGymError, match="beside which labels does nothing"):
        DPO(task, "table", dataset=data, labels=7)
    with pytest.raises(TokenGymError, match="reference is given, and the loss 'simpo' compares with none"):
        DPO(task, "table", dataset=data, loss="simpo", reference=table_agent(task))
    with pytest.raises(TokenGymError, match="do not hold which tokens were legal"):
        DPO(task, "table", dataset=data, action_masks=True)
    twice = data.episodes.select([0, 0])
    mute = dataclasses.replace(twice, agent_mask=np.zeros_like(twice.agent_mask))
    with pytest.raises(TokenGymError, match="the agent says nothing"):
        DPO(task, "table", dataset=PreferenceDataset(mute, task.vocabulary, PreferencePairs([0], [1])))


def test_the_point_of_kto_is_made_from_completions_under_prompts_that_they_do_not_answer():
    algorithm = DPO("Copy", "gpt2-tiny", loss="kto", labels=12, batch_pairs=12, seed=0)
    episodes = algorithm.data.episodes
    mixed = mismatched(episodes, algorithm.agent.max_length)
    assert mixed is not None
    asked = list(zip(prompts(episodes), answers(episodes), strict=True))
    for prompt, answer in zip(prompts(mixed), answers(mixed), strict=True):
        assert prompt in prompts(episodes)
        assert any(other != prompt and said == answer for other, said in asked)
    assert mismatched(episodes, 3) is None, "nothing fits"
    assert mismatched(episodes.select([0, 0, 0]), 99) is None, "one prompt"


def prompts(episodes):
    """What each episode shows before the agent speaks, as bytes."""
    return [row[:length].tobytes() for row, length in zip(*prompts_of(episodes), strict=True)]


def answers(episodes):
    """What the agent says in each, as bytes."""
    return [row[said].tobytes() for row, said in zip(episodes.tokens, episodes.agent_mask, strict=True)]


def test_the_point_of_kto_is_the_mean_log_ratio_where_all_prompts_are_equal():
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task)
    algorithm = at(task, optimum(task, BETA), data, loss="kto")
    expected = log_ratios(data.episodes, optimum(task, BETA)).mean()
    assert expected < 0 and algorithm.prepare(data).metrics["preferences/reference_point"] == 0.0
    turned = DPO(task, table_agent(task), dataset=data, loss="kto", reference=table_agent(task, optimum(task, BETA)))
    assert turned.prepare(data).metrics["preferences/reference_point"] == pytest.approx(-expected)


@pytest.mark.parametrize("loss", ["dpo", "simpo"])
def test_masks_hold_in_what_is_sampled_and_in_what_is_learnt(loss):
    algorithm = DPO("WordleMini", loss=loss, labels=20, action_masks=True, seed=0).learn(5)
    masks = algorithm.data.episodes.action_masks
    said = algorithm.data.episodes.flat.action
    assert masks is not None and masks.allows(torch.as_tensor(said)).all()
    without = DPO("WordleMini", loss=loss, dataset=algorithm.data)
    assert without.data.episodes.action_masks is None, "not asked for, they do not hold"
    with pytest.raises(TokenGymError, match="action_masks is True; expected False with the loss 'kto'"):
        DPO("WordleMini", loss="kto", action_masks=True)


def test_lines_of_json_are_read_with_the_tasks_own_tokens(tmp_path):
    made = DPO("TextGeneration", labels=30, seed=0)
    write_preferences(made.data, tmp_path / "pairs.jsonl", made.task)
    read = DPO("TextGeneration", data=str(tmp_path / "pairs.jsonl"), seed=0)
    assert len(read.data) == 30 and read.num_timesteps == 0
    assert np.isfinite(read.update(read.next_batch())["preferences/loss"])
    assert RRHF("TextGeneration", data=str(tmp_path / "pairs.jsonl"), seed=0).data.ranks.sizes.tolist() == [2] * 30
    line = json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    (tmp_path / "pairs.jsonl").write_text(json.dumps({**line, "rejected": line["chosen"]}))
    with pytest.raises(TokenGymError, match="equal"):
        DPO("TextGeneration", data=str(tmp_path / "pairs.jsonl"))


BAD_LINES = {
    "an empty file": ("", "no line|empty|no comparison"),
    "no rejected": ('{"prompt": "a", "chosen": "b"}\n', "rejected"),
    "one-sided": ('{"prompt": "a", "chosen": "b", "rejected": ""}\n', "rejected"),
}


@pytest.mark.parametrize(("text", "says"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_file_without_comparisons_is_refused_before_any_time_is_spent(text, says, tmp_path):
    (tmp_path / "pairs.jsonl").write_text(text)
    with pytest.raises(TokenGymError, match=says):
        DPO("TextGeneration", data=str(tmp_path / "pairs.jsonl"))
    with pytest.raises(TokenGymError, match="nowhere"):
        DPO("TextGeneration", data=str(tmp_path / "nowhere.jsonl"))


OPTIONS = [
    {"loss": "cdpo", "label_smoothing": 0.3},
    {"loss": "simpo", "target_margin": 0.5, "beta": 1.0},
    {"loss": "kto", "better_weight": 2.0, "worse_weight": 0.5},
    {"label_temperature": 0.0},
    {"label_flips": 0.25},
    {"batch_pairs": 3},
    {"temperature": 2.0},
    {"learning_rate": "linear(1e-2, 1e-3)", "weight_decay": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
def test_every_option_runs_and_changes_what_is_learnt(options):
    def learnt(**given):
        algorithm = DPO("Copy", "table", labels=60, seed=0, **given)
        algorithm.learn(3)
        return torch.cat([parameter.detach().flatten() for parameter in algorithm.agent.parameters()])

    usual = {"loss": options["loss"]} if "loss" in options else {}
    assert not torch.equal(learnt(**options), learnt(**usual))


def test_comparisons_are_read_from_a_file_and_a_changed_file_is_noticed(tmp_path):
    task = make_task("KLTree", num_tokens=3, depth=2)
    data = population(task)
    data.save(tmp_path / "pairs.safetensors")
    path = str(tmp_path / "pairs.safetensors")
    algorithm = DPO(task, "table", data=path, seed=0).learn(3)
    same = DPO(task, "table", dataset=data, seed=0).learn(3)
    for one, other in zip(algorithm.agent.parameters(), same.agent.parameters(), strict=True):
        assert torch.equal(one, other)
    algorithm.save(tmp_path / "saved")
    DPO.load(tmp_path / "saved", task).learn(4)
    (tmp_path / "pairs.safetensors").unlink()
    data.select(slice(5)).save(tmp_path / "pairs.safetensors")
    with pytest.raises(TokenGymError, match="are not those that learning began with"):
        DPO.load(tmp_path / "saved", task).learn(4)
    with pytest.raises(TokenGymError, match="labels is 5; expected 1000, since it does nothing while data is given"):
        DPO(task, "table", data=path, labels=5)
