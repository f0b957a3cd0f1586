"""Labellers who read: functions of strings and language models; and the questions that files hold."""

import json

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tokengym.algorithms import PPO, EpisodeDataset
from tokengym.algorithms.labelling import (
    ModelJudge,
    Question,
    SimulatedLabeller,
    TextJudge,
    both_orders,
    label_episodes,
    read_questions,
    score_episodes,
)
from tokengym.envs import TokenGymError, make_task
from tokengym.envs.text import build_tokenizer

CHARS = {"kind": "chars", "corpus": ["abcdefghijklmnopqrstuvwxyzABPT .:,?\n{}"]}


@pytest.fixture(scope="module")
def generated():
    """A text environment and some of its episodes, of the same prompts."""
    algorithm = PPO("TextGeneration", "mlp-tiny", seed=0, num_rows=8, group_size=8, rollout_tokens=300)
    return algorithm.task, algorithm.collect()


def longer(asked):
    return [None if len(q.first) == len(q.second) else float(len(q.first) > len(q.second)) for q in asked]


def test_a_function_of_strings_labels_episodes(generated):
    task, episodes = generated
    judge = TextJudge(longer, task)
    labelled = label_episodes(episodes, task.vocabulary, judge, 40, seed=1)
    texts = [
        task.decode([row[mask].tolist()])[0]
        for row, mask in zip(labelled.episodes.tokens, labelled.episodes.agent_mask, strict=True)
    ]
    assert all(len(texts[b]) > len(texts[w]) for b, w in zip(labelled.pairs.better, labelled.pairs.worse, strict=True))
    assert labelled.about["labels"] == len(labelled) <= 40 and labelled.about["labeller"] == "TextJudge(longer)"


def test_a_judge_sees_the_prompt_and_both_answers():
    seen = []
    task = make_task("Copy")
    episodes = PPO("Copy", "table", seed=0, num_rows=8, group_size=4, rollout_tokens=60).collect()
    label_episodes(
        episodes, task.vocabulary, TextJudge(lambda asked: seen.extend(asked) or [1.0] * len(asked), task), 5
    )
    assert len(seen) == 5
    for question in seen:
        assert question.prompt and question.first != question.second
        assert all(name.startswith("t") for name in question.first.split())


@pytest.mark.parametrize("given", [["yes"], [[1.0]], [1.0, 0.0], [2.0]])
def test_what_is_no_answer_is_refused(generated, given):
    task, episodes = generated
    with pytest.raises(TokenGymError, match="expected"):
        label_episodes(episodes, task.vocabulary, TextJudge(lambda asked: given, task), 1)


def test_in_both_orders_a_liking_for_a_place_cancels():
    def biased(asked):
        return [0.9 if q.first == q.second else 0.8 + 0.2 * (q.first > q.second) for q in asked]

    asked = [Question("", "b", "a"), Question("", "a", "b"), Question("", "a", "a")]
    assert both_orders(biased)(asked) == pytest.approx([0.6, 0.4, 0.5])
    assert both_orders(lambda asked: [None] * len(asked))(asked[:1]) == [None]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with an untrained GPT-2 and its tokenizer."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = build_tokenizer(CHARS)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=400, n_embd=16, n_layer=1, n_head=2)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


ASKED = "Prompt: {prompt}\nA: {first}\nB: {second}\n"


def test_a_language_model_answers_with_its_next_token_in_both_orders(model):
    judge = ModelJudge(model, question=ASKED, max_length=200)
    asked = [Question("say", "a{second}", "b"), Question("say", "b", "a{second}"), Question("why", "c", "c")]
    answers = judge(asked)
    assert answers[0] == pytest.approx(1 - answers[1]) and answers[2] == pytest.approx(0.5)

    tokenizer = build_tokenizer(str(model))
    plain = GPT2LMHeadModel.from_pretrained(model).eval()

    def share(first, second):
        text = f"Prompt: say\nA: {first}\nB: {second}\n\n"
        ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
        logits = plain(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        # " A" begins with the space, which both letters share, so that only the letters themselves can be told.
        a, b = (logits[tokenizer.convert_tokens_to_ids(letter)].item() for letter in "AB")
        return a / (a + b)

    expected = (share("a{second}", "b") + 1 - share("b", "a{second}")) / 2
    assert answers[0] == pytest.approx(expected, abs=1e-5)


def test_what_cannot_judge_is_refused(model, tmp_path):
    judge = ModelJudge(model, question=ASKED, max_length=40)
    with pytest.raises(TokenGymError, match=r"A question has .* tokens, and max_length is 40"):
        judge([Question("a" * 50, "b", "c")])
    with pytest.raises(TokenGymError, match="no token for"):
        judge([Question("ü", "b", "c")])
    with pytest.raises(TokenGymError, match=r"has no \{second\}"):
        ModelJudge(model, question="{prompt} {first}")
    with pytest.raises(TokenGymError, match="does not exist"):
        ModelJudge(tmp_path / "none")
    with pytest.raises(TokenGymError, match="give tokenizer"):
        ModelJudge(GPT2LMHeadModel.from_pretrained(model))
    with pytest.raises(TokenGymError, match="A and B with the same token"):
        ModelJudge(model, {"kind": "chars", "corpus": ["ab"]})


def test_completions_are_scored_by_any_reward_function(generated):
    task, episodes = generated
    seen = {}

    def letters(prompts, completions, completion_ids, **columns):
        seen.update(prompts=prompts, ids=completion_ids)
        return [float(text.count("a")) for text in completions]

    gold = score_episodes(episodes, letters, task)
    said = [episodes.tokens[row][episodes.agent_mask[row]].tolist() for row in range(len(episodes))]
    assert seen["ids"] == said and set(map(len, seen["prompts"])) and len(gold) == len(episodes)
    assert gold.tolist() == [text.count("a") for text in task.decode(said)]
    named = score_episodes(episodes, {"name": "keyword", "words": ["sea"]}, task)
    assert np.array_equal(named > 0, ["sea" in text.split() for text in task.decode(said)])
    labelled = label_episodes(episodes, task.vocabulary, SimulatedLabeller(0.0), 30, gold=gold)
    texts = [
        task.decode([row[mask].tolist()])[0].count("a")
        for row, mask in zip(labelled.episodes.tokens, labelled.episodes.agent_mask, strict=True)
    ]
    better, worse = labelled.pairs.better.tolist(), labelled.pairs.worse.tolist()
    assert all(texts[b] >= texts[w] for b, w in zip(better, worse, strict=True))
    with pytest.raises(TokenGymError, match="unknown reward"):
        score_episodes(episodes, "nothing", task)


def write(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def unordered(questions):
    return {(json.dumps(q.prompt), frozenset(json.dumps(one) for one in q[1:])) for q in questions}


def test_questions_are_all_pairs_of_answers_to_a_prompt_in_any_layout(tmp_path):
    layouts = [
        [{"prompt": "a", "responses": ["b", "c", "d"]}],
        [{"prompt": "a", "completion": text} for text in "bcdb"],
        [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b", "rejected": "d"}],
    ]
    for number, lines in enumerate(layouts):
        questions = read_questions(write(tmp_path / f"{number}.jsonl", *lines))
        assert len(questions) == 3
        assert unordered(questions) == unordered([Question("a", *pair) for pair in ("bc", "bd", "cd")])
    talk = [{"role": "user", "content": "a"}]
    said = [[{"role": "assistant", "content": text}] for text in "bc"]
    assert unordered(read_questions(write(tmp_path / "m.jsonl", {"prompt": talk, "responses": said}))) == unordered(
        [Question(talk, *said)]
    )


def test_the_order_of_questions_tells_nothing_and_is_the_same_for_a_seed(tmp_path):
    lines = [{"prompt": f"{n}", "chosen": "good", "rejected": "bad"} for n in range(200)]
    path = write(tmp_path / "a.jsonl", *lines)
    questions = read_questions(path, seed=1)
    assert 70 < sum(q.first == "good" for q in questions) < 130
    assert read_questions(path, seed=1) == questions != read_questions(path, seed=2)
    assert len(read_questions(path, 20, seed=1)) == 20


def test_recorded_episodes_are_questions(generated, tmp_path):
    task, episodes = generated
    EpisodeDataset(episodes, task.vocabulary).save(tmp_path / "a.safetensors")
    questions = read_questions(tmp_path / "a.safetensors", 10, text=task)
    assert len(questions) == 10 and all(q.first != q.second for q in questions)
    with pytest.raises(TokenGymError, match="give the tokenizer, or the task"):
        read_questions(tmp_path / "a.safetensors", 10)
    copied = PPO("Copy", "table", seed=0, num_rows=8, group_size=4, rollout_tokens=60)
    EpisodeDataset(copied.collect(), copied.task.vocabulary).save(tmp_path / "b.safetensors")
    assert len(read_questions(tmp_path / "b.safetensors", 10)) == 10
    with pytest.raises(TokenGymError, match="of another vocabulary"):
        read_questions(tmp_path / "b.safetensors", 10, text=task)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"responses": ["a", "b"]}, "Line 1 .* 'prompt' is None"),
        ({"prompt": "a"}, "Line 1 .* 'chosen' is None"),
        ({"prompt": "a", "responses": "b"}, "'responses' is 'b'; expected a list"),
        ({"prompt": "a", "responses": ["b"]}, "There are 0 pairs of different answers"),
        ({"prompt": "a", "completion": "b"}, "There are 0 pairs of different answers"),
        ({"prompt": "a", "responses": ["b", "b"]}, "There are 0 pairs of different answers"),
    ],
)
def test_files_without_questions_are_refused(tmp_path, line, message):
    with pytest.raises(TokenGymError, match=message):
        read_questions(write(tmp_path / "a.jsonl", line))
    with pytest.raises(TokenGymError, match=r"There are 1 pairs .* 5 are asked for"):
        read_questions(write(tmp_path / "b.jsonl", {"prompt": "a", "responses": ["b", "c"]}), 5)


def test_a_seed_draws_the_same_episodes(generated, tmp_path):
    task, episodes = generated
    EpisodeDataset(episodes, task.vocabulary).save(tmp_path / "a.safetensors")
    first, again = (read_questions(tmp_path / "a.safetensors", 5, 3, task) for _ in range(2))
    assert first == again
