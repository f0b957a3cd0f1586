"""Rewards written for other trainers: messages in and out, async functions, names of columns, weights."""

import asyncio
import math
import re
import threading

import numpy as np
import pytest

from tokengym.envs import Engine, TokenGymError, build_reward, make_task
from tokengym.envs.rewards.scorer import Scorer
from tokengym.envs.tasks.text.text_generation import TextGeneration
from tokengym.envs.text.prompts import read_prompts

TOKENIZER = {"kind": "bpe", "special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"]}
ASK = [{"role": "user", "content": "a"}]


def think_format(completions: list[list[dict[str, str]]], **kwargs) -> list[float]:
    """As a format reward has it: content of the one message against an expression."""
    contents = [completion[0]["content"] for completion in completions]
    return [1.0 if re.match(r"^<think>(?!.*<think>)(.*?)</think>.*$", text, re.DOTALL) else 0.0 for text in contents]


def accuracy(completions, solution, log_extra=None, log_metric=None, **kwargs):
    """As an accuracy reward has it: None where the solution cannot be read."""
    rewards = [
        None if wanted == "" else float(completion[0]["content"].endswith(wanted))
        for completion, wanted in zip(completions, solution, strict=True)
    ]
    if log_extra:
        log_extra("solution", list(solution))
    if log_metric:
        log_metric("accuracy", sum(reward or 0 for reward in rewards) / len(rewards))
    return rewards


class CosineScaled:
    """As a length-scaled accuracy reward has it: an object with a name of its own, and ids."""

    __name__ = "cosine_scaled"

    def __init__(self, longest):
        self.longest = longest

    def __call__(self, completions, solution, completion_ids, **kwargs):
        right = accuracy(completions, solution)
        return [
            None if one is None else one * 0.5 * (1 + math.cos(len(ids) / self.longest * math.pi))
            for one, ids in zip(right, completion_ids, strict=True)
        ]


def soft_overlong(longest, cache):
    def punish(completion_ids: list[list[int]], **kwargs) -> list[float]:
        start = longest - cache
        return [0.0 if len(ids) <= start else max((start - len(ids)) / cache, -1.0) for ids in completion_ids]

    return punish


def says(task, *texts):
    """The rewards of texts said one after the other."""
    engine, rewards = Engine(task, 1), []
    for text in texts:
        engine.reset(None, [0])
        ids = [*task.encode(text), task.vocabulary.eos]
        rewards += engine.append(None, [ids], [len(ids)]).rewards.tolist()
    return rewards


def chat(reward, rows=None, **arguments):
    rows = [{"prompt": ASK, "solution": "4"}] if rows is None else rows
    arguments = {"template": "roles", "max_new_tokens": 60, **arguments}
    return TextGeneration(rows, TOKENIZER, reward, **arguments)


def test_with_a_template_prompts_and_completions_are_messages():
    seen = []

    def look(prompts, completions, **columns):
        seen.append((prompts, completions))
        return [0.0]

    says(chat(look), "hi")
    assert seen.pop() == ([ASK], [[{"role": "assistant", "content": "hi"}]])
    says(chat(look, ["a"], system="be kind"), "hi")
    assert seen.pop()[0] == [[{"role": "system", "content": "be kind"}, *ASK]]
    says(TextGeneration(["a"], TOKENIZER, look), "hi")
    assert seen.pop() == (["a"], ["hi"])


def test_functions_in_the_shapes_of_other_trainers_work_unchanged():
    assert says(chat(think_format), "<think>so</think>4", "4") == [1.0, 0.0]
    task = chat(accuracy)
    assert says(task, "it is 4", "it is 5") == [1.0, 0.0]
    engine = Engine(task, 2)
    engine.reset(None, [0, 0])
    told = engine.append(None, [[*task.encode(text), task.vocabulary.eos] for text in ("it is 4", "it is 5")]).columns
    assert told["accuracy"][:, -1].tolist() == [0.5, 0.5] and told["solution"][:, -1].tolist() == ["4", "4"]
    assert says(chat(accuracy, [{"prompt": ASK, "solution": ""}]), "4") == [0.0]
    long = len(task.encode("it is 4")) + 1
    assert says(chat(CosineScaled(2 * long)), "it is 4") == [pytest.approx(0.5)]
    assert says(chat(soft_overlong(long, 4)), "it is 4") == [-1.0]


def test_several_functions_and_their_weights_as_other_trainers_name_them():
    functions = [think_format, accuracy, {"name": "length", "target": 10}, "repetition_penalty"]
    task = make_task(
        "TextGeneration",
        prompts=[{"prompt": ASK, "solution": "4"}],
        tokenizer=TOKENIZER,
        template="roles",
        max_new_tokens=60,
        reward_funcs=functions[:2],
        reward_weights=[2.0, 0.5],
    )
    assert says(task, "<think>so</think>4", "4", "<think>so</think>5") == [2.5, 0.5, 2.0]
    assert task.spec["kwargs"]["reward_funcs"] == [f"{__name__}:think_format", f"{__name__}:accuracy"]
    assert says(chat(None, reward_funcs=functions), "4")[0] == pytest.approx(1 + 0.2)
    assert says(chat(None, reward_funcs=accuracy), "4") == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward_funcs": [accuracy], "reward": accuracy}, "reward or reward_funcs, not both"),
        ({"reward_funcs": [accuracy], "reward_weights": [1.0, 2.0]}, r"reward_weights=\[1.0, 2.0\] for 1 reward_funcs"),
        ({"reward_weights": [1.0]}, "give those, or a weighted_sum"),
        ({"reward_funcs": []}, "one function or more"),
        ({"reward_funcs": [accuracy], "reward_weights": [math.inf]}, "finite"),
        ({"columns": {"prompt": "prompt", "solution": "answr"}}, "unknown column 'answr': did you mean 'answer'"),
        ({"columns": {"prompt": "prompt", "x": "prompt"}}, "cannot have two names"),
        ({"columns": ["prompt"]}, "give a mapping from the names here"),
        ({"columns": {"answer": "prompt"}}, "has a column 'answer' of its own"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        TextGeneration([{"prompt": "a", "answer": "4"}], TOKENIZER, **arguments)


# --- async


async def waits(completions, **kwargs):
    await asyncio.sleep(0)
    return [float(len(completion[0]["content"])) for completion in completions]


class Judge:
    async def __call__(self, prompts, completions, **kwargs):
        await asyncio.sleep(0)
        return [None if completion[0]["content"] == "mine" else 2.0 for completion in completions]


def test_async_functions_and_objects_are_awaited():
    assert says(chat(waits), "abc") == [3.0]
    assert says(chat(Judge()), "abc", "mine") == [2.0, 0.0]
    assert says(chat([waits, Judge(), accuracy]), "abc4") == [7.0]
    assert Scorer(build_reward({"name": "weighted_sum", "terms": [(2, Judge())]}))(
        [ASK], [[{"role": "assistant", "content": "x"}]], [[1]]
    ).rewards.tolist() == [4.0]


def test_they_are_awaited_together_in_one_loop():
    # Each waits for the other: one after the other they would never end.
    met, loops = threading.Barrier(1), []
    events = {}

    def meeting(mine, other):
        async def reward(completions, **kwargs):
            loops.append(asyncio.get_running_loop())
            events.setdefault(mine, asyncio.Event()).set()
            await asyncio.wait_for(events.setdefault(other, asyncio.Event()).wait(), timeout=30)
            return [1.0] * len(completions)

        return reward

    task = chat(None, reward_funcs=[meeting("a", "b"), meeting("b", "a")])
    assert says(task, "x") == [2.0] and met.parties == 1
    events.clear()
    assert says(task, "x") == [2.0] and len(set(loops)) == 1


def test_they_work_where_a_loop_runs_already():
    task = chat([waits, Judge()])

    async def notebook():
        return says(task, "abc")

    assert asyncio.run(notebook()) == [5.0]


def test_what_an_async_function_raises_stops_the_step():
    async def fails(completions, **kwargs):
        raise KeyError("price")

    for reward in (fails, [waits, fails], [fails, think_format]):
        with pytest.raises(TokenGymError, match="'fails' raised KeyError: 'price'") as caught:
            says(chat(reward), "abc")
        assert isinstance(caught.value.__cause__, KeyError)

    async def wrong(completions, **kwargs):
        return [math.nan]

    with pytest.raises(TokenGymError, match="'wrong' gave nan for row 0"):
        says(chat(wrong), "abc")


def test_no_coroutine_is_left_unawaited_where_another_function_fails():
    def fails(completions, **kwargs):
        raise ValueError("no")

    with pytest.raises(TokenGymError, match="'fails' raised ValueError"):  # warnings are errors
        says(chat([waits, fails]), "abc")


def test_an_async_function_is_refused_where_nothing_can_be_waited_for():
    for reward in (waits, Judge()):
        with pytest.raises(TokenGymError, match="is async, and a guarded process lets nothing wait"):
            build_reward({"name": "guarded", "reward": reward})


def test_an_error_says_which_form_the_completions_have():
    with pytest.raises(TokenGymError, match="Without a chat template, prompts and completions are strings"):
        says(TextGeneration(["a"], TOKENIZER, think_format), "hi")

    def plain(completions):
        return [float(text.isupper()) for text in completions]

    with pytest.raises(TokenGymError, match=r"With a chat template, .* completions\[0\]\[0\]\['content'\]"):
        says(chat(plain), "hi")


# --- data


def test_rules_read_the_text_of_messages():
    rows = [{"prompt": ASK, "answer": "4", "words": ["four"]}]
    assert says(chat({"name": "exact_match", "column": "answer"}, rows), "4", "5") == [1.0, 0.0]
    assert says(chat([{"name": "keyword", "column": "words"}, {"name": "regex", "pattern": "^f"}], rows), "four") == [
        2.0
    ]


def test_rows_of_messages_are_prompts_with_or_without_a_named_template():
    rows = [
        {"prompt": [{"role": "system", "content": "be kind"}, *ASK], "solution": "1"},
        {"prompt": [*ASK, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}], "solution": "2"},
        {"prompt": "d", "solution": "3"},
    ]
    task = chat(accuracy, rows)
    shown = [task.tokenizer.decode(task.prompt_ids(prompt)) for prompt in task.prompts.texts]
    assert shown == [
        "<|system|>be kind<|user|>a<|assistant|>",
        "<|user|>a<|assistant|>b<eos><|user|>c<|assistant|>",
        "<|user|>d<|assistant|>",
    ]
    plain = TextGeneration([{"prompt": ASK}], TOKENIZER, think_format, max_new_tokens=30)
    assert plain.decode([plain.prompt_ids(ASK)]) == ["user: a\nassistant:"]
    assert says(plain, "<think></think>") == [1.0]
    assert TextGeneration([ASK, ASK], TOKENIZER, think_format).prompts.texts == [ASK, ASK]


def test_columns_get_the_names_that_functions_ask_for(tmp_path):
    rows = [{"question": "a", "answer": "4", "topic": "sums"}]
    columns = {"prompt": "question", "solution": "answer"}
    assert says(chat(accuracy, rows, columns=columns), "4", "5") == [1.0, 0.0]
    assert read_prompts(rows, columns=columns) == (["a"], {"solution": ["4"], "topic": ["sums"]})
    assert read_prompts([{"prompt": "x", "text": "y"}], columns={"prompt": "text", "old": "prompt"}) == (
        ["y"],
        {"old": ["x"]},
    )
    (tmp_path / "rows.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}], "gold": "4"}\n')
    task = make_task(
        "TextGeneration",
        prompts=str(tmp_path / "rows.jsonl"),
        columns={"prompt": "messages", "solution": "gold"},
        tokenizer=TOKENIZER,
        template="roles",
        reward=accuracy,
    )
    assert says(make_task(task.spec["id"], **task.spec["kwargs"]), "4") == [1.0]


def test_the_split_keeps_equal_conversations_on_one_side():
    many = [[{"role": "user", "content": str(number % 10)}] for number in range(40)]
    train, held = (read_prompts(many, split, 0.3).texts for split in ("train", "held_out"))
    sides = [{prompt[0]["content"] for prompt in side} for side in (train, held)]
    assert not sides[0] & sides[1] and len(sides[1]) == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": [{"role": "owner", "content": "a"}]}, "prompt 0: unknown role 'owner'"),
        ({"prompt": [{"content": "a"}]}, "prompt 0: message 0 is .*give a mapping with 'role' and 'content'"),
        ({"prompt": []}, "prompt 0: messages are empty"),
        ({"question": "a"}, r"under 'prompt', not only \['question'\]; columns="),
        ({"prompt": 3}, "give a string, a list of messages"),
    ],
)
def test_a_row_that_is_no_prompt_is_named(row, message):
    with pytest.raises(TokenGymError, match=message):
        read_prompts([row])


def test_prompts_may_be_any_iterable():
    task = TextGeneration(({"prompt": text} for text in ("a", "b")), TOKENIZER, {"name": "length", "target": 1})
    assert task.prompts.texts == ["a", "b"]
    assert says(TextGeneration(["a"], TOKENIZER, lambda completion_ids, **_: np.ones(len(completion_ids))), "x") == [
        1.0
    ]
