import json

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

import tokengym  # noqa: F401
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.tasks.text.text_generation import TextGeneration

BPE = {"kind": "bpe", "corpus": ["hello world, how are you?\n"] * 4, "vocab_size": 280}


def finish(engine, texts):
    """Appends a text and the end token in every row."""
    task = engine.task
    ids = [[*task.encode(text), task.vocabulary.eos] for text in texts]
    tokens = np.zeros((len(ids), max(map(len, ids))), int)
    for row, row_ids in enumerate(ids):
        tokens[row, : len(row_ids)] = row_ids
    return engine.append(None, tokens, [len(row_ids) for row_ids in ids])


def test_a_completion_under_a_bpe_tokenizer_trained_on_the_spot():
    task = TextGeneration(["hello", "how are"], BPE, {"name": "regex", "pattern": "^ world"}, max_new_tokens=6)
    engine = Engine(task, 4)
    engine.reset(None, [0, 1, 2, 3])
    prompts = [task.render_tokens(engine.tokens[row, : engine.lengths[row]]) for row in range(4)]
    assert set(prompts) == {"hello", "how are"}
    result = finish(engine, [" world", "world", " world, how", ""])
    assert result.rewards.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert result.terminated.all() and not result.truncated.any()
    for row, text in enumerate([" world", "world", " world, how", ""]):
        ids = engine.tokens[row, : engine.lengths[row]].tolist()
        assert ids == [task.vocabulary.bos, *task.encode(prompts[row]), *task.encode(text), task.vocabulary.eos]


def test_any_sampled_ids_are_kept_even_if_their_text_would_be_encoded_otherwise():
    task = TextGeneration(["hello"], BPE, lambda completions, **_: [1.0] * len(completions), max_new_tokens=5)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    spelled = [task.encode(letter)[0] for letter in "world"]
    assert task.encode("world") != spelled
    engine.append(None, [spelled], [5])
    assert engine.tokens[0, -5:].tolist() == spelled


def test_the_length_limit_is_part_of_the_task():
    engine = Engine(TextGeneration(max_new_tokens=3), 1)
    engine.reset(None, [0])
    results = [engine.step(None, [5]) for _ in range(3)]
    assert [bool(result.terminated[0]) for result in results] == [False, False, True]
    assert not results[-1].truncated[0] and engine.lengths[0] == engine.task.max_length


def test_a_stop_string_ends_the_completion_and_is_cut_from_its_text():
    seen = []

    def reward(completions, completion_ids, **kwargs):
        seen.append((completions, completion_ids))
        return [0.0] * len(completions)

    task = TextGeneration(["hello"], BPE, reward, max_new_tokens=8, stop=["?"])
    engine = Engine(task, 1)
    engine.reset(None, [0])
    ids = task.encode(" how are you?")
    engine.append(None, [ids], [len(ids)])
    assert engine.over[0] and seen == [([" how are you"], [ids])]


def test_the_reward_function_is_called_once_for_all_rows_that_finished_in_a_step():
    calls = []

    def reward(prompts, completions, completion_ids, answer, **kwargs):
        calls.append(dict(zip(prompts, answer, strict=True)))
        assert len(prompts) == len(completions) == len(completion_ids)
        return [1.0 if text == right else None for text, right in zip(completions, answer, strict=True)]

    prompts = [{"prompt": "hello", "answer": "you"}, {"prompt": "how", "answer": "are"}]
    task = TextGeneration(prompts, BPE, reward)
    engine = Engine(task, 6)
    engine.reset(None, np.arange(6))
    you, end = task.encode("you"), task.vocabulary.eos
    assert len(you) == 1
    engine.step(None, [*you * 5, end])
    engine.step(np.arange(5), [end] * 5)
    assert len(calls) == 2
    assert all(item.items() <= {"hello": "you", "how": "are"}.items() for item in calls)


def test_the_same_start_gives_the_same_prompt():
    task = TextGeneration([f"prompt {index}" for index in range(20)], {"kind": "bpe"}, "repetition_penalty")
    engine = Engine(task, 8)
    engine.reset(None, [5] * 8)
    assert (engine.tokens == engine.tokens[0]).all()
    engine.reset(None, np.arange(8))
    assert len(np.unique(engine.tokens, axis=0)) > 3


def test_per_token_rewards_pay_their_sum_at_the_end_and_are_told_apart():
    def each(completion_ids, **kwargs):
        return [[0.25 * index for index in range(len(ids))] for ids in completion_ids]

    env = gymnasium.make("tokengym/TextGeneration-v0", reward=each).unwrapped
    env.reset(seed=0)
    steps = [env.step(5) for _ in range(8)]
    assert [step[1] for step in steps] == [0.0] * 7 + [7.0]
    assert "token_rewards" not in steps[0][4]
    assert steps[-1][4]["token_rewards"].tolist() == [0.25 * index for index in range(8)]


def test_held_out_prompts_are_never_drawn_in_training():
    prompts = [f"{index}" for index in range(10)]
    shown = {}
    for split in ("train", "held_out"):
        task = TextGeneration(prompts, {"kind": "bpe"}, "repetition_penalty", split=split, held_out=0.3)
        engine = Engine(task, 200)
        engine.reset(None, np.arange(200))
        shown[split] = {task.render_tokens(row) for row in engine.tokens}
    assert len(shown["held_out"]) == 3 and shown["train"] == set(prompts) - shown["held_out"]


def test_prompt_files_are_read(tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "the sea", "answer": "salt"}\n', encoding="utf-8")
    task = TextGeneration(str(tmp_path / "prompts.jsonl"), reward={"name": "exact_match", "column": "answer"})
    engine = Engine(task, 2)
    engine.reset(None, [0, 1])
    assert finish(engine, ["salt", "sea"]).rewards.tolist() == [1.0, 0.0]


def test_the_default_passes_gymnasiums_check_and_round_trips():
    environment = gymnasium.make("tokengym/TextGeneration-v0")
    check_env(environment.unwrapped)
    spec = {"name": "weighted_sum", "terms": [{"weight": 1.0, "reward": {"name": "length", "target": 3}}]}
    made = gymnasium.make("tokengym/TextGeneration-v0", reward=spec, prompts=["the sea"], tokenizer={"kind": "chars"})
    text = made.spec.to_json()
    again = gymnasium.make(EnvSpec.from_json(text))
    assert json.loads(again.spec.to_json()) == json.loads(text)
    one, two = made.reset(seed=4)[0], again.reset(seed=4)[0]
    np.testing.assert_array_equal(one["tokens"], two["tokens"])


def test_the_declared_scores_of_the_default_hold():
    task = TextGeneration()
    engine = Engine(task, 4)
    best = []
    for start in range(20):
        engine.reset(None, [start] * 4)
        words = task.prompts.columns["words"][engine._state["episode"][0]]
        best.append(finish(engine, [words] * 4).rewards[0])
    assert best == [task.optimal_return] * 20 == [task.reward_range[1]] * 20

    engine, rng, returns = Engine(task, 4000), np.random.default_rng(1), np.zeros(4000)
    engine.reset(None, np.arange(4000))
    while not engine.over.all():
        rows = np.flatnonzero(~engine.over)
        returns[rows] += engine.step(rows, rng.integers(task.vocabulary.num_actions, size=len(rows))).rewards
    assert abs(returns.mean() - task.random_return) < 4 * returns.std() / 4000**0.5
    assert TextGeneration(max_new_tokens=4).random_return is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_length": 10}, r"'the sea'.*max_length=10.*at least 11"),
        ({"prompts": []}, "no prompts"),
        ({"reward": {"name": "keywords"}}, "did you mean 'keyword'"),
        ({"tokenizer": {"kind": "word"}}, "did you mean 'words'"),
    ],
)
def test_bad_arguments_stop_at_the_door(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        TextGeneration(**arguments)


def test_a_failing_reward_function_stops_the_step():
    def faulty(completions, **kwargs):
        return [float("nan")] * len(completions)

    engine = Engine(TextGeneration(reward=faulty), 1)
    engine.reset(None, [0])
    with pytest.raises(TokenGymError, match=r"faulty.*nan for row 0"):
        engine.step(None, [engine.task.vocabulary.eos])


def test_with_a_chat_template_a_prompt_is_the_user_s_and_the_completion_the_assistant_s():
    tokenizer = {**BPE, "special_tokens": ["<|im_start|>", "<|im_end|>"]}
    task = TextGeneration(
        [{"prompt": "hello", "answer": "world"}],
        tokenizer,
        {"name": "exact_match", "column": "answer"},
        template="chatml",
        system="how are you?",
    )
    engine = Engine(task, 1)
    engine.reset(None, [0])
    shown = task.tokenizer.decode(engine.tokens[0, 1 : engine.lengths[0]].tolist())
    assert shown == (
        "<|im_start|>system\nhow are you?<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    )
    assert task.vocabulary.tokens[task.vocabulary.eos or 0] == "<|im_end|>"
    assert finish(engine, ["world"]).rewards.tolist() == [1.0]
    with pytest.raises(TokenGymError, match="needs a chat template"):
        TextGeneration(system="x")
