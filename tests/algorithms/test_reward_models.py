"""Reward models: what they are fitted to, what they become, and how they are kept."""

import copy
import json

import numpy as np
import pytest
import torch
from comparison_cases import smooth_gold, soft_labels, tree, tree_comparisons

from tokengym.agents import build_agent
from tokengym.algorithms import PPO
from tokengym.algorithms.configs import RewardModelConfig
from tokengym.algorithms.reward_models import (
    RewardModel,
    bradley_terry,
    calibration,
    fit_from_tokens,
    fit_reward_model,
    load_reward_model,
    pair_accuracy,
)
from tokengym.envs import TokenGymError, make_task

QUICK = {"epochs": 2, "validation": 0.0}
TABLE = {"epochs": 60, "validation": 0.0, "centring": 0.0, "batch_pairs": 4096, "learning_rate": 0.1}


def fit_table(better, worse, weight=None, **config):
    vocabulary, tokens = tree()
    lengths = np.full(len(tokens), tokens.shape[1])
    settings = {**TABLE, **config}
    return fit_from_tokens(
        tokens, lengths, better, worse, vocabulary=vocabulary, weight=weight, backbone="table", config=settings
    ).score(tokens, lengths)


def test_the_loss_is_the_negative_log_likelihood_of_the_labels():
    better, worse = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.0])
    likelihood = torch.sigmoid(better - worse)
    assert torch.allclose(bradley_terry(better, worse), -likelihood.log())
    smoothed = -0.9 * likelihood.log() - 0.1 * (1 - likelihood).log()
    assert torch.allclose(bradley_terry(better, worse, label_smoothing=0.1), smoothed)
    assert torch.allclose(bradley_terry(better, worse, 0.5), -torch.sigmoid(better - worse - 0.5).log())
    centred = -likelihood.log() + 0.01 * (better + worse) ** 2
    assert torch.allclose(bradley_terry(better, worse, centring=0.01), centred)


def test_label_smoothing_is_least_at_the_log_odds_of_a_label_being_right():
    ahead = torch.tensor([np.log(9.0)], dtype=torch.float64, requires_grad=True)
    bradley_terry(ahead, torch.zeros(1, dtype=torch.float64), label_smoothing=0.1).sum().backward()
    assert ahead.grad is not None and abs(float(ahead.grad)) < 1e-12


def test_with_the_population_of_labels_a_table_becomes_the_gold_reward():
    gold = smooth_gold(tree()[1])
    scores = fit_table(*soft_labels(gold), epochs=400)
    assert np.allclose(scores, gold - gold.mean(), atol=2e-3)


def test_flipped_labels_shrink_the_scores_and_label_smoothing_undoes_it():
    gold = smooth_gold(tree()[1])
    better, worse, weight = soft_labels(gold)
    flipped = 0.8 * weight + 0.2 * (1 - weight)
    # Where ε of the labels are flipped, P = ε + (1 − 2ε)σ(Δ) of the gold difference Δ: no table has these odds.
    plain = fit_table(better, worse, flipped, epochs=300)
    assert 0.3 < plain.std() / gold.std() < 0.7
    scores = fit_table(better, worse, flipped, epochs=400, label_smoothing=0.2)
    assert np.corrcoef(scores, gold)[0, 1] > 0.99


def test_a_margin_spreads_the_scores_and_pairs_may_have_their_own():
    data = tree_comparisons(40)
    spread = [
        fit_reward_model(data, "mlp-tiny", epochs=30, validation=0, margin=margin).score_episodes(data.episodes).std()
        for margin in (0.0, 2.0)
    ]
    assert spread[1] > 1.5 * spread[0]
    data.pairs.margin = np.zeros(len(data.pairs), np.float32)
    without = fit_reward_model(data, "mlp-tiny", epochs=30, validation=0, margin=2.0).score_episodes(data.episodes)
    assert without.std() == pytest.approx(spread[0])


@pytest.mark.parametrize("backbone", ["gpt2-tiny", "llama-tiny", "gru-tiny", "mlp-tiny", "table"])
def test_every_backbone_learns_the_order_and_equal_seeds_give_equal_bits(backbone):
    data = tree_comparisons(200)
    settings = {"epochs": 6, "validation": 0.0}
    models = [fit_reward_model(data, backbone, seed=3, **settings) for _ in range(2)]
    first, second = (model.score_episodes(data.episodes) for model in models)
    assert np.array_equal(first, second)
    assert np.corrcoef(first, data.episodes.returns)[0, 1] > 0.6
    assert abs(first.mean()) < 0.5
    other = fit_reward_model(data, backbone, seed=4, **settings).score_episodes(data.episodes)
    assert not np.array_equal(first, other)


def test_a_checkpoint_folder_and_an_agent_are_backbones(tmp_path):
    data = tree_comparisons(60)
    agent = build_agent("gpt2-tiny", data.vocabulary, 4, seed=1)
    agent.save_pretrained(tmp_path / "checkpoint")
    folder = fit_reward_model(data, tmp_path / "checkpoint", **QUICK)
    assert np.isfinite(folder.score_episodes(data.episodes)).all()
    before = copy.deepcopy(agent.state_dict())
    model = fit_reward_model(data, agent, epochs=1, validation=0, learning_rate=1e-9)
    trunk = dict(model.members[0].trunk.state_dict())
    assert all(torch.allclose(trunk[name], value, atol=1e-6) for name, value in agent.trunk.state_dict().items())
    fit_reward_model(data, agent, **QUICK)
    assert all(torch.equal(before[name], value) for name, value in agent.state_dict().items())
    learner = PPO(make_task("KLTree", num_tokens=3, depth=3), "gpt2-tiny")
    learner.save(tmp_path / "run")
    begun = fit_reward_model(data, tmp_path / "run", epochs=1, validation=0, learning_rate=1e-9).members[0].trunk
    trunk = begun.state_dict()
    assert all(
        torch.allclose(trunk[name], value, atol=1e-6) for name, value in learner.agent.trunk.state_dict().items()
    )
    wide = tree_comparisons(20, num_tokens=4)
    with pytest.raises(TokenGymError, match="same tokenizer"):
        fit_reward_model(wide, agent)


def test_members_differ_from_the_first_training_on_and_are_combined_as_said():
    data = tree_comparisons(80)
    model = fit_reward_model(data, "mlp-tiny", members=3, combine="worst", **QUICK)
    read = data.episodes.tokens, data.episodes.lengths
    scores = model.score_members(*read)
    assert scores.shape == (3, len(data.episodes))
    assert min(np.abs(scores[i] - scores[j]).max() for i, j in [(0, 1), (0, 2), (1, 2)]) > 0.01
    # Over the episodes of the pairs; here all of them are.
    assert np.allclose(scores.mean(axis=1), 0, atol=1e-6)
    assert np.array_equal(model.score(*read), scores.min(axis=0))
    assert np.allclose(model.with_combine("mean").score(*read), scores.mean(axis=0))
    distrust = model.with_combine("variance", 2.0).score(*read)
    assert np.allclose(distrust, scores.mean(axis=0) - 2.0 * scores.var(axis=0))
    assert np.allclose(model.disagreement(*read), scores.std(axis=0))


def test_members_of_one_checkpoint_differ_by_their_heads(tmp_path):
    data = tree_comparisons(20)
    build_agent("gpt2-tiny", data.vocabulary, 4, seed=1).save_pretrained(tmp_path / "checkpoint")
    model = fit_reward_model(data, tmp_path / "checkpoint", members=2, epochs=1, validation=0)
    scores = model.score_members(data.episodes.tokens, data.episodes.lengths)
    assert np.abs(scores[0] - scores[1]).max() > 0.01


def test_bootstrapped_tables_differ_and_others_are_refused():
    data = tree_comparisons(80)
    with pytest.raises(TokenGymError, match="bootstrap=True"):
        fit_reward_model(data, "table", members=2, **QUICK)
    model = fit_reward_model(data, "table", members=2, bootstrap=True, **QUICK)
    assert model.disagreement(data.episodes.tokens, data.episodes.lengths).max() > 0


def test_a_saved_model_scores_the_same_bits(tmp_path):
    data = tree_comparisons(60)
    model = fit_reward_model(data, "gpt2-tiny", members=2, combine="variance", normalise="both", **QUICK)
    model.save(tmp_path / "reward")
    again = load_reward_model(tmp_path / "reward")
    assert np.array_equal(again.score_episodes(data.episodes), model.score_episodes(data.episodes))
    assert again.about == json.loads(json.dumps(model.about)) and again.config == model.config
    weights = tmp_path / "reward" / "state.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(TokenGymError, match=r"state\.safetensors is cut short"):
        load_reward_model(tmp_path / "reward")


@pytest.mark.parametrize("begin", ["scratch", "folder", "agent"])
def test_adapters_alone_are_fitted_and_come_back_with_what_they_stand_on(tmp_path, begin):
    pytest.importorskip("peft")
    data = tree_comparisons(60)
    agent = build_agent("gpt2-tiny", data.vocabulary, 4, seed=1)
    agent.save_pretrained(tmp_path / "checkpoint")
    backbone = {"scratch": "gpt2-tiny", "folder": tmp_path / "checkpoint", "agent": agent}[begin]
    model = fit_reward_model(data, backbone, members=2, lora_rank=2, epochs=4, validation=0)
    scores = model.score_members(data.episodes.tokens, data.episodes.lengths)
    assert np.abs(scores[0] - scores[1]).max() > 0.01 and model.members[0].lora is not None
    model.save(tmp_path / "reward")
    again = load_reward_model(tmp_path / "reward").score_members(data.episodes.tokens, data.episodes.lengths)
    assert np.array_equal(scores, again)
    if begin != "scratch":
        (first, *_), (second, *_) = (list(member.base.values()) for member in model.members)
        assert torch.equal(first, second)


def test_what_is_no_reward_model_is_refused(tmp_path):
    with pytest.raises(TokenGymError, match="there is no reward model"):
        load_reward_model(tmp_path / "nothing")
    PPO("KLTree", "table").save(tmp_path / "ppo")
    with pytest.raises(TokenGymError, match="checkpoint of 'ppo'"):
        RewardModel.load(tmp_path / "ppo")
    build_agent("gpt2-tiny", tree()[0], 4).save_pretrained(tmp_path / "language")
    with pytest.raises(TokenGymError, match="GPT2LMHeadModel"):
        load_reward_model(tmp_path / "language")


def test_micro_batches_change_nothing():
    data = tree_comparisons(64)
    settings = {"epochs": 3, "validation": 0.0, "dtype": "float64", "max_grad_norm": 0.5}
    whole = fit_reward_model(data, "gpt2-tiny", **settings).score_episodes(data.episodes)
    parts = fit_reward_model(data, "gpt2-tiny", **settings, micro_batch_tokens=24).score_episodes(data.episodes)
    assert np.allclose(whole, parts, atol=1e-9)
    again = fit_reward_model(data, "gpt2-tiny", **settings, gradient_checkpointing=True).score_episodes(data.episodes)
    assert np.allclose(whole, again, atol=1e-9)


def test_fitting_stops_where_pairs_kept_apart_say_so_and_keeps_the_best_weights():
    data = tree_comparisons(40, flips=0.4)
    told = []
    model = fit_reward_model(data, "mlp-tiny", epochs=60, progress=lambda *now: told.append(now), validation=0.25)
    losses = [numbers["validation_loss"] for _, _, numbers in told]
    assert len(losses) < 60 and told[0][:2] == (1, 60)
    assert model.about["fitted"][0]["validation_loss"] == min(losses)
    held_out = tree_comparisons(100, seed=5)
    chosen = fit_reward_model(data, "mlp-tiny", epochs=60, held_out=held_out)
    assert chosen.about["fitted"][0]["validation_accuracy"] == pytest.approx(pair_accuracy(chosen, held_out))


def test_scores_of_steps_add_up_to_the_sequences():
    data = tree_comparisons(200)
    model = fit_reward_model(data, "gpt2-tiny", process=True, epochs=6, validation=0)
    tokens, lengths, said = data.episodes.tokens, data.episodes.lengths, data.episodes.agent_mask
    steps = model.score_steps(tokens, lengths, said)
    assert steps.shape == tokens.shape and not steps[:, 0].any()
    assert np.allclose(steps.sum(axis=1), model.score(tokens, lengths, said))
    assert np.corrcoef(steps.sum(axis=1), data.episodes.returns)[0, 1] > 0.6
    # A step's score is known when it is said: what comes later does not change it.
    assert np.allclose(steps[0, 1], steps[1, 1]) and np.allclose(steps[0, 2], steps[1, 2])
    with pytest.raises(TokenGymError, match="give said"):
        model.score(tokens, lengths)
    whole = fit_reward_model(data, "mlp-tiny", **QUICK)
    with pytest.raises(TokenGymError, match="process=True"):
        whole.score_steps(tokens, lengths, said)


def test_normalising_gives_reference_samples_mean_0_and_variance_1():
    data = tree_comparisons(60)
    model = fit_reward_model(data, "mlp-tiny", members=2, **QUICK)
    samples = data.episodes.tokens[::2], data.episodes.lengths[::2]
    before = model.score(data.episodes.tokens, data.episodes.lengths)
    odds = pair_accuracy(model, data), calibration(model, data).error
    scores = model.normalise(*samples).score(*samples)
    assert scores.mean() == pytest.approx(0, abs=1e-9) and scores.std() == pytest.approx(1)
    after = model.score(data.episodes.tokens, data.episodes.lengths)
    assert np.allclose(np.diff(after) * model.scale, np.diff(before))
    assert (pair_accuracy(model, data), calibration(model, data).error) == pytest.approx(odds)
    with pytest.raises(TokenGymError, match="same score"):
        model.normalise(data.episodes.tokens[[0, 0]], data.episodes.lengths[:2])


class Gold:
    """Scores with the gold reward itself, or with a multiple of it."""

    scale = 1.0

    def __init__(self, data, factor=1.0):
        self.scores = {
            row.tobytes(): factor * gold for row, gold in zip(data.episodes.tokens, data.episodes.returns, strict=True)
        }

    def score(self, tokens, lengths, said=None):
        return np.array([self.scores[row.tobytes()] for row in tokens])


def test_accuracy_and_calibration_of_the_gold_reward_are_those_of_the_labels():
    data = tree_comparisons()
    better, worse, weight = soft_labels(data.episodes.returns)
    data.pairs.better, data.pairs.worse, data.pairs.weight = better, worse, weight.astype(np.float32)
    exact = calibration(Gold(data), data)
    assert exact.error < 1e-6
    assert np.allclose(exact.accuracy[exact.counts > 0], exact.confidence[exact.counts > 0], atol=1e-6)
    most = np.maximum(weight, 1 - weight).sum() / len(weight)
    assert pair_accuracy(Gold(data), data) == pytest.approx(most)
    surer = calibration(Gold(data, 3.0), data)
    sure = 1 / (1 + np.exp(-3 * np.abs(np.log(weight / (1 - weight)))))
    assert pair_accuracy(Gold(data, 3.0), data) == pytest.approx(most)
    assert surer.error == pytest.approx(sure.mean() - most, abs=1e-6)
    assert "expected calibration error" in str(surer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "members is 0"),
        ({"combine": "worst"}, "members is 1"),
        ({"members": 2, "combine": "best"}, "combine"),
        ({"members": 2, "normalise": "none"}, "normalise"),
        ({"variance_coef": 0.5}, "combine is 'mean'"),
        ({"validation": 0.0, "patience": 1}, "validation is 0"),
        ({"process": True, "normalise": "both"}, "process is True"),
        ({"label_smoothing": 0.5}, "label_smoothing"),
        ({"label_smothing": 0.1}, "label_smoothing"),
    ],
)
def test_settings_that_are_wrong_or_do_nothing_are_refused(settings, message):
    with pytest.raises(TokenGymError, match=message):
        RewardModelConfig().replace(**settings)


def test_bad_input_stops_at_the_door():
    data = tree_comparisons(20)
    vocabulary, tokens = tree()
    lengths = np.full(len(tokens), 4)
    with pytest.raises(TokenGymError, match="no comparisons"):
        fit_from_tokens(tokens, lengths, [], [], vocabulary=vocabulary)
    with pytest.raises(TokenGymError, match="give said"):
        fit_from_tokens(tokens, lengths, [0], [1], vocabulary=vocabulary, config={"process": True})
    with pytest.raises(TokenGymError, match="max_length is 3"):
        fit_reward_model(data, max_length=3)
    with pytest.raises(TokenGymError, match="another vocabulary"):
        fit_reward_model(data, held_out=tree_comparisons(20, num_tokens=4))
    with pytest.raises(TokenGymError, match="keeps all"):
        fit_reward_model(data, validation=1.0)
    model = fit_reward_model(data, "mlp-tiny", **QUICK)
    with pytest.raises(TokenGymError, match="longer than the 4"):
        model.score(np.zeros((1, 9), int), [9])
    with pytest.raises(TokenGymError, match="another vocabulary"):
        model.score(np.full((1, 4), 99), [4])
    with pytest.raises(TokenGymError, match="whole numbers"):
        model.score(np.zeros((1, 4)), [4])
    assert model.score(np.array([[3, -1, 99, -1]]), [1]).shape == (1,)  # what stands in the padding does not matter
    with pytest.raises(TokenGymError, match="combine"):
        model.with_combine("worst")
