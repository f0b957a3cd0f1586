"""Texts and dialogues as data: what is learnt are the ids that the agent would say, and nothing else."""

import json

import numpy as np
import pytest

from tokengym.algorithms import SFT, EpisodeDataset, FilteredBC
from tokengym.algorithms.offline import read_texts, write_texts
from tokengym.envs import ChatTask, TokenGymError, make_task

CORPUS = [
    "the film was great and a joy to see ",
    "the plot was dull ",
    "so it is\n",
    "hello there friend ?! user: assistant: system:",
]
PLAIN = {"prompts": ["the film", "the plot"], "tokenizer": {"kind": "chars", "corpus": CORPUS}, "max_new_tokens": 12}


class Talk(ChatTask):
    """Two turns of small talk."""

    def __init__(self):
        super().__init__({"kind": "chars", "corpus": CORPUS}, max_turn_tokens=12, max_length=120, max_turns=2)

    def begin(self, random):
        return None, [{"role": "user", "content": "hello"}]

    def respond(self, episode, completion):
        return "so", 0.0, False


def plain():
    return make_task("TextGeneration", reward={"name": "length", "target": 3}, **PLAIN)


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


PAIRS = [{"prompt": "the film", "completion": " was great"}, {"prompt": "the plot", "completion": " was dull"}]
TALK = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hello there"},
    {"role": "user", "content": "so"},
    {"role": "assistant", "content": "it is"},
]


def test_prompt_and_completion_are_the_ids_that_the_environment_shows_and_hears(tmp_path):
    task = plain()
    dataset = read_texts(written(tmp_path / "pairs.jsonl", PAIRS), task)
    episodes = dataset.episodes
    for row, pair in enumerate(PAIRS):
        tokens, said = episodes.tokens[row, : episodes.lengths[row]], episodes.agent_mask[row, : episodes.lengths[row]]
        assert tokens[~said].tolist() == [task.vocabulary.bos, *task.unwrapped.encode(pair["prompt"])]
        assert tokens[said].tolist() == [*task.unwrapped.encode(pair["completion"]), task.vocabulary.eos]


def test_in_a_dialogue_everything_that_the_assistant_says_is_learnt_and_nothing_else(tmp_path):
    task = Talk()
    episodes = read_texts(written(tmp_path / "talk.jsonl", [{"messages": TALK}]), task).episodes
    said = task.decode([episodes.tokens[0][episodes.agent_mask[0]].tolist()])[0]
    assert said.replace("\n", "") == "hello thereit is"
    # As it would have been played: the same ids, the same speakers.
    from tokengym.envs import Engine

    engine = Engine(task, 1)
    engine.reset(None, 0)
    for token in episodes.tokens[0][episodes.agent_mask[0]]:
        engine.step(None, np.array([token]))
    length = int(episodes.lengths[0])  # the task says one more thing after the last turn
    np.testing.assert_array_equal(engine.tokens[0, :length], episodes.tokens[0, :length])


def test_a_prompt_as_messages_shows_earlier_words_of_the_assistants_and_learns_the_last(tmp_path):
    task = Talk()
    path = written(tmp_path / "talk.jsonl", [{"prompt": TALK[:3], "completion": TALK[3:]}])
    episodes = read_texts(path, task).episodes
    said = task.decode([episodes.tokens[0][episodes.agent_mask[0]].tolist()])[0]
    assert said.replace("\n", "") == "it is"


def test_what_was_written_is_read_again(tmp_path):
    for task, lines in ((plain(), PAIRS), (Talk(), [{"messages": TALK}])):
        first = read_texts(written(tmp_path / "first.jsonl", lines), task)
        write_texts(first, tmp_path / "second.jsonl", task)
        second = read_texts(tmp_path / "second.jsonl", task)
        np.testing.assert_array_equal(first.episodes.tokens, second.episodes.tokens)
        np.testing.assert_array_equal(first.episodes.agent_mask, second.episodes.agent_mask)


def test_sft_learns_to_say_the_texts_by_heart(tmp_path):
    task = plain()
    learner = SFT(task, "gpt2-tiny", data=written(tmp_path / "pairs.jsonl", PAIRS), batch_episodes=2, seed=0)
    learner.learn(150)
    for pair in PAIRS:
        prompt = [task.vocabulary.bos, *task.unwrapped.encode(pair["prompt"])]
        said: list[int] = []
        while not said or (said[-1] != task.vocabulary.eos and len(said) < 12):
            tokens = np.array([[*prompt, *said]], np.int32)
            said.append(int(learner.agent.probabilities(tokens, np.array([tokens.shape[1]]))[0].argmax()))
        assert task.unwrapped.decode([said])[0] == pair["completion"]


def test_returns_on_some_lines_alone_are_told_of(tmp_path):
    lines = [{**PAIRS[0], "return": -1.0}, PAIRS[1]]
    with pytest.warns(RuntimeWarning, match=r"1 of 2 lines of .* have no 'return', and count as 0"):
        read_texts(written(tmp_path / "pairs.jsonl", lines), plain())
    read_texts(written(tmp_path / "pairs.jsonl", PAIRS[:2]), plain())


def test_returns_in_the_file_can_be_filtered_by(tmp_path):
    lines = [{**pair, "return": value} for pair, value in zip(PAIRS, (0.0, 1.0), strict=True)]
    learner = FilteredBC(plain(), "gpt2-tiny", data=written(tmp_path / "pairs.jsonl", lines), least_return=0.5)
    assert learner.data.learnt.tolist() == [1] and isinstance(learner.data.dataset, EpisodeDataset)


LONG = {"prompt": "the film", "completion": " was great and a joy to see"}


def test_overlong_lines_are_refused_by_number_or_left_out_and_counted(tmp_path):
    path = written(tmp_path / "pairs.jsonl", [*PAIRS, LONG])
    with pytest.raises(TokenGymError, match=r"Line 3 of .* is too long: .*overlong='drop'"):
        SFT(plain(), "gpt2-tiny", data=path)
    learner = SFT(plain(), "gpt2-tiny", data=path, overlong="drop")
    assert len(learner.data.learnt) == 2 and learner.data.dataset.about["dropped"] == 1
    with pytest.raises(TokenGymError, match="all 1 lines are too long"):
        SFT(plain(), "gpt2-tiny", data=written(tmp_path / "long.jsonl", [LONG]), overlong="drop")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"prompt": "the film"}, "it has the fields prompt; expected 'prompt' and 'completion'"),
        ({"messages": TALK, "prompt": "x"}, "not both"),
        ({}, "expected 'prompt' and 'completion'"),
        ({"prompt": "the film", "completion": ""}, "its completion is empty"),
        ({"prompt": "the film", "completion": 3}, "'completion' is 3; expected a text or a list of messages"),
        ({"messages": "hello"}, "'messages' is a text; expected a list"),
        ({"messages": TALK[:1]}, "the assistant says nothing"),
        ({"messages": TALK}, "plain text"),
        ({"prompt": "the film", "completion": "ö"}, "no token for 'ö'"),
        (
            {"prompt": "the film", "completion": " was", "return": "much"},
            "'return' is 'much'; expected a finite number",
        ),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected(line, says, tmp_path):
    path = written(tmp_path / "pairs.jsonl", [PAIRS[0], line])
    with pytest.raises(TokenGymError, match=says) as caught:
        SFT(plain(), "gpt2-tiny", data=path)
    assert "Line 2" in str(caught.value)


def test_a_file_that_is_none_is_said_to_be(tmp_path):
    for content, says in ((None, "does not exist"), ("", "is empty"), ("{", "is not JSON"), ("[1]", "is no object")):
        path = tmp_path / "pairs.jsonl"
        if content is not None:
            path.write_text(content)
        with pytest.raises(TokenGymError, match=says):
            SFT(plain(), "gpt2-tiny", data=str(path))
