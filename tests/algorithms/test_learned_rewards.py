"""Reward models as the reward of environments: by name in a text task, and around any task as a transform."""

import json

import numpy as np
import pytest
from comparison_cases import counting, tree_comparisons

from tokengym.algorithms import PPO, load_algorithm
from tokengym.algorithms.data import PreferenceDataset, PreferencePairs
from tokengym.algorithms.reward_models import (
    export_reward_model,
    fit_reward_model,
    load_reward_model,
    sequences_of,
)
from tokengym.envs import Engine, TokenEnv, TokenGymError, make_task

QUICK = {"epochs": 2, "validation": 0.0}
WORDS = {"kind": "words", "corpus": ["the sea is calm and the wood is dark"]}
PROMPTS = ["the sea", "the wood is"]
SHORT = {"name": "length", "target": 2}


def played(env, agent="gpt2-tiny", tokens=200, seed=0, **settings):
    """Episodes of an untrained agent, and the algorithm that played them."""
    algorithm = PPO(env, agent, seed=seed, rollout_tokens=tokens, num_rows=8, **settings)
    return algorithm.collect(), algorithm


def compared(episodes, vocabulary, score):
    """Comparisons of all that answer one prompt, by a score (E,)."""
    starts = sequences_of(episodes)
    prompts = [row[: said.argmax()].tobytes() for row, said in zip(starts.tokens, starts.said, strict=True)]
    pairs = [
        (i, j)
        for i in range(len(episodes))
        for j in range(len(episodes))
        if prompts[i] == prompts[j] and score[i] > score[j]
    ][:200]
    return PreferenceDataset(episodes, vocabulary, PreferencePairs(*np.array(pairs).T))


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    """A reward model for completions of a text task, two members."""
    task = make_task("TextGeneration", prompts=PROMPTS, tokenizer=WORDS, max_new_tokens=4, reward=SHORT)
    episodes, _ = played(task)
    data = compared(episodes, task.vocabulary, episodes.episode_lengths)
    folder = tmp_path_factory.mktemp("models") / "text"
    fit_reward_model(data, "gpt2-tiny", members=2, max_length=task.max_length, **QUICK).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tree_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tree"
    fit_reward_model(tree_comparisons(40), "mlp-tiny", **QUICK).save(folder)
    return str(folder)


def test_a_text_task_pays_the_model_s_score_of_the_ids_that_were_shown_and_said(text_model):
    task = make_task(
        "TextGeneration", prompts=PROMPTS, tokenizer=WORDS, max_new_tokens=4,
        reward={"name": "reward_model", "path": text_model, "scale": 2.0},
    )  # fmt: skip
    episodes, _ = played(task)
    model = load_reward_model(text_model)
    assert np.allclose(episodes.returns, 2 * model.score_episodes(episodes), atol=1e-5)
    spread = 2 * model.disagreement(episodes.tokens, episodes.lengths)
    assert np.allclose(episodes.column("disagreement"), spread, atol=1e-5)
    assert json.loads(json.dumps(task.spec)) == task.spec
    again = Engine(make_task(task.spec["id"], **task.spec["kwargs"]), 1)
    again.reset(None, 0)


def test_the_model_is_a_term_of_a_sum_and_can_be_combined_otherwise(text_model):
    worst = {"name": "reward_model", "path": text_model, "combine": "worst"}
    terms = [{"weight": 3.0, "reward": worst}, {"weight": 0.5, "reward": {"name": "length", "target": 4}}]
    task = make_task(
        "TextGeneration", prompts=PROMPTS, tokenizer=WORDS, max_new_tokens=4,
        reward={"name": "weighted_sum", "terms": terms},
    )  # fmt: skip
    episodes, _ = played(task)
    scores = load_reward_model(text_model).with_combine("worst").score_episodes(episodes)
    assert np.allclose(episodes.column("reward/reward_model"), scores, atol=1e-5)
    assert np.allclose(episodes.returns, 3 * scores + 0.5 * episodes.column("reward/length"), atol=1e-5)


def test_a_model_of_another_vocabulary_is_refused_before_anything_is_played(text_model, tree_model):
    with pytest.raises(TokenGymError, match="take the tokenizer that it was fitted with"):
        make_task(
            "TextGeneration", prompts=["a"], tokenizer={"kind": "chars", "corpus": ["abc"]},
            reward={"name": "reward_model", "path": text_model},
        )  # fmt: skip
    with pytest.raises(TokenGymError, match="fit one on comparisons of this task"):
        make_task("KLTree", num_tokens=4, transforms=[{"name": "reward_model", "path": tree_model}])
    with pytest.raises(TokenGymError, match="reads 4 tokens, and an episode of KLTree can have 6"):
        make_task("KLTree", num_tokens=3, depth=5, transforms=[{"name": "reward_model", "path": tree_model}])
    with pytest.raises(TokenGymError, match="is no folder"):
        make_task("KLTree", transforms=[{"name": "reward_model", "path": f"{tree_model}-not-there"}])
    with pytest.raises(TokenGymError, match="single model"):
        make_task("KLTree", num_tokens=3, depth=3, transforms=[
            {"name": "reward_model", "path": tree_model, "combine": "worst"}
        ])  # fmt: skip


def test_the_transform_pays_the_proxy_and_reports_the_gold_reward_beside_it(tree_model):
    transforms = [{"name": "reward_model", "path": tree_model}]
    task = make_task("KLTree", num_tokens=3, depth=3, transforms=transforms)
    episodes, algorithm = played(task, "mlp-tiny")
    model = load_reward_model(tree_model)
    assert np.allclose(episodes.returns, model.score_episodes(episodes), atol=1e-5)
    assert np.allclose(episodes.column("proxy", "sum"), episodes.returns, atol=1e-5)
    plain, _ = played(make_task("KLTree", num_tokens=3, depth=3), "mlp-tiny")
    assert np.array_equal(plain.tokens, episodes.tokens)
    assert np.allclose(episodes.column("gold", "sum"), plain.returns, atol=1e-6)
    assert algorithm.learn(200).num_updates >= 1


def test_a_saved_learner_finds_its_reward_model_again(tree_model, tmp_path):
    task = make_task("KLTree", num_tokens=3, depth=3, transforms=[{"name": "reward_model", "path": tree_model}])
    PPO(task, "mlp-tiny", rollout_tokens=100).learn(100).save(tmp_path / "saved")
    again = load_algorithm(tmp_path / "saved")
    assert np.allclose(again.collect().returns.mean(), 0, atol=10)


def test_episodes_of_many_sequences_are_read_as_the_transform_keeps_them(tmp_path):
    """Where a turn is a sequence of its own, what is fitted to and what is scored are the same ids."""
    for context in ("turn", "episode"):
        task = counting(context)
        episodes, _ = played(task, "mlp-tiny", 120)
        longest = int(sequences_of(episodes).lengths.max())
        data = compared(episodes, task.vocabulary, episodes.returns)
        model = fit_reward_model(data, "gpt2-tiny", max_length=max(longest, 60), **QUICK)
        model.save(tmp_path / context)
        paid, _ = played(counting(context, tmp_path / context), "mlp-tiny", 120)
        assert np.array_equal(paid.tokens, episodes.tokens)
        assert np.allclose(paid.returns, model.score_episodes(paid), atol=1e-5)
        assert np.allclose(paid.column("gold", "sum"), episodes.returns, atol=1e-5)


def test_a_process_model_pays_each_turn_and_credits_its_tokens(tmp_path):
    task = counting("episode")
    episodes, _ = played(task, "mlp-tiny", 120)
    data = compared(episodes, task.vocabulary, episodes.returns)
    model = fit_reward_model(data, "gpt2-tiny", process=True, max_length=60, **QUICK)
    model.save(tmp_path / "process")
    around = counting("episode", tmp_path / "process")
    dense, _ = played(around, "mlp-tiny", 120)
    steps = model.score_steps(dense.tokens, dense.lengths, dense.agent_mask)
    assert np.allclose(dense.rewards, steps, atol=1e-5)
    sparse, _ = played(around, "mlp-tiny", 120, token_rewards=False)
    assert np.allclose(sparse.returns, steps.sum(axis=1), atol=1e-5)
    assert np.count_nonzero(sparse.rewards) < np.count_nonzero(dense.rewards)
    text = make_task("TextGeneration", prompts=PROMPTS, tokenizer=WORDS, max_new_tokens=4, reward=SHORT)
    said, _ = played(text)
    comparisons = compared(said, text.vocabulary, said.episode_lengths)
    steps_model = fit_reward_model(comparisons, process=True, max_length=text.max_length, **QUICK)
    steps_model.save(tmp_path / "text")
    reward = {"name": "reward_model", "path": str(tmp_path / "text")}
    paying = make_task("TextGeneration", prompts=PROMPTS, tokenizer=WORDS, max_new_tokens=4, reward=reward)
    credited, _ = played(paying)
    wanted = steps_model.score_steps(credited.tokens, credited.lengths, credited.agent_mask)
    assert np.allclose(credited.rewards, wanted, atol=1e-5)


def test_a_state_under_way_is_saved_and_restored_with_its_history(tree_model):
    task = make_task("KLTree", num_tokens=3, depth=3, transforms=[{"name": "reward_model", "path": tree_model}])
    env = TokenEnv(task)
    env.reset(seed=0)
    env.step(1)
    saved = env.get_state()
    first = [env.step(action)[1] for action in (2, 0)]
    env.reset(seed=1)
    env.set_state(saved)
    assert [env.step(action)[1] for action in (2, 0)] == first and first[-1] != 0
    saved["engine"]["task"]["own"]["count"] = 99
    with pytest.raises(TokenGymError, match="count"):
        env.set_state(saved)


def test_an_export_gives_equal_differences_in_plain_transformers_and_comes_back(tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification

    data = tree_comparisons(60)
    model = fit_reward_model(data, "gpt2-tiny", **QUICK)
    export_reward_model(model, tmp_path / "export")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "export").eval()
    tokens, lengths = data.episodes.tokens, data.episodes.lengths
    with torch.no_grad():
        logits = theirs(input_ids=torch.from_numpy(tokens).long()).logits[:, 0].double().numpy()
    ours = model.score(tokens, lengths)
    assert np.ptp(logits - ours) < 1e-4
    again = load_reward_model(tmp_path / "export")
    assert np.allclose(again.score(tokens, lengths), logits, atol=1e-5)
    task = make_task("KLTree", num_tokens=3, depth=3, transforms=[
        {"name": "reward_model", "path": str(tmp_path / "export")}
    ])  # fmt: skip
    episodes, _ = played(task, "mlp-tiny")
    assert np.ptp(episodes.returns - model.score_episodes(episodes)) < 1e-4
    with pytest.raises(TokenGymError, match="MLPTrunk"):
        export_reward_model(fit_reward_model(data, "mlp-tiny", **QUICK), tmp_path / "other")


def test_a_classifier_of_another_tokenizer_is_given_texts(tmp_path):
    from tokengym.envs.text import build_tokenizer

    task = make_task("TextGeneration", prompts=PROMPTS, tokenizer=WORDS, max_new_tokens=4, reward=SHORT)
    other = build_tokenizer({"kind": "chars", "corpus": ["the sea is calm and the wood is dark"]})
    chars = make_task("TextGeneration", prompts=PROMPTS, tokenizer=other, max_new_tokens=12, reward=SHORT)
    episodes, _ = played(chars)
    data = compared(episodes, chars.vocabulary, episodes.episode_lengths)
    export_reward_model(fit_reward_model(data, "gpt2-tiny", max_length=64, **QUICK), tmp_path / "chars", other)
    reward = {"name": "reward_model", "path": str(tmp_path / "chars")}
    paying = make_task("TextGeneration", prompts=PROMPTS, tokenizer=WORDS, max_new_tokens=4, reward=reward)
    engine = Engine(paying, 2)
    engine.reset(None, [0, 1])
    turns = [[*paying.encode("is calm"), paying.vocabulary.eos], [*paying.encode("dark"), paying.vocabulary.eos]]
    prompts = [paying.render_tokens(engine.tokens[row, : engine.lengths[row]]) for row in (0, 1)]
    rewards = engine.append(None, turns).rewards
    model = load_reward_model(tmp_path / "chars")
    assert np.allclose(rewards, model.score_texts(prompts, ["is calm", "dark"]))
    with pytest.raises(TokenGymError, match="reads"):
        make_task("KLTree", transforms=[reward])
    assert task.vocabulary != chars.vocabulary


def test_rows_that_end_together_are_scored_in_one_call(tree_model, monkeypatch):
    task = make_task("KLTree", num_tokens=3, depth=3, transforms=[{"name": "reward_model", "path": tree_model}])
    calls = []
    score = task.model.score
    monkeypatch.setattr(task.model, "score", lambda *given: calls.append(len(given[1])) or score(*given))
    engine = Engine(task, 8)
    engine.reset(None, np.arange(8))
    for _ in range(3):
        engine.step(None, np.zeros(8, int))
    assert calls == [8]


def test_one_row_many_rows_and_copies_of_rows_are_paid_alike(tree_model):
    task = make_task("KLTree", num_tokens=3, depth=3, transforms=[{"name": "reward_model", "path": tree_model}])
    turns = np.array([[2, 0, 1], [0, 0, 2], [1, 2, 2]])
    engine = Engine(task, 6)
    engine.reset(None, np.arange(6))
    engine.step([0, 1, 2], turns[:, 0])
    engine.fork([0, 1, 2], [3, 4, 5])
    engine.step(None, np.tile(turns[:, 1], 2))
    many = engine.step(None, np.tile(turns[:, 2], 2)).rewards
    assert np.allclose(many[:3], many[3:], atol=1e-6)
    env = TokenEnv(task)
    for turn, paid in zip(turns.tolist(), many[:3], strict=True):
        env.reset(seed=0)
        assert [env.step(token)[1] for token in turn] == [0, 0, pytest.approx(paid, abs=1e-6)]


def test_comparisons_come_from_a_file(tmp_path):
    data = tree_comparisons(40)
    data.save(tmp_path / "pairs.safetensors")
    again = PreferenceDataset.load(tmp_path / "pairs.safetensors", data.vocabulary)
    models = [fit_reward_model(one, "mlp-tiny", **QUICK) for one in (data, again)]
    scores = [model.score_episodes(data.episodes) for model in models]
    assert np.array_equal(*scores)
