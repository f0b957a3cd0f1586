"""A person compares answers in the terminal, and what is kept of it."""

import io
import json

import pytest
from at_the_table import terminal
from rich.console import Console

from tokengym.algorithms import PPO, EpisodeDataset
from tokengym.algorithms.data import read_preferences
from tokengym.algorithms.labelling import Question
from tokengym.experiments.commands.main import main
from tokengym.experiments.terminal import Person

ASKED = [Question("The sky is", " blue.", " green."), Question("Grass is", " red.", " green."), Question("x", "y", "z")]


def answered(lines, asked=ASKED, console=None, told=None):
    console = console or Console(file=io.StringIO(), width=80)
    script = iter(lines)

    def ask():
        try:
            return next(script)
        except StopIteration:
            raise EOFError from None

    return Person(console, ask, told=told)(asked), console.file.getvalue()


def test_a_person_says_which_is_better_and_skips():
    answers, screen = answered(["a", "B", " s "])
    assert answers == [1.0, 0.0, None]
    for shown in ("The sky is", " blue.", "1 of 3 · 0 answered", "3 of 3 · 2 answered", "── A ──", "── B ──"):
        assert shown in screen


def test_an_answer_is_taken_back():
    told = []
    answers, screen = answered(["u", "1", "2", "undo", "u", "b", "a", "a"], told=lambda given: told.append(list(given)))
    assert answers == [0.0, 1.0, 1.0] and "there is nothing to take back" in screen
    assert told[:4] == [[1, None, None], [1, 0, None], [1, None, None], [None, None, None]]


@pytest.mark.parametrize("leaving", [["q"], []], ids=["quit", "end of input"])
def test_what_was_answered_stays_when_the_person_leaves(leaving):
    assert answered(["a", *leaving])[0] == [1.0, None, None]


def test_what_is_no_answer_is_asked_again():
    answers, screen = answered(["c", "", "?", "a", "q"])
    assert answers[0] == 1.0
    assert "'c' is no answer: type a, b or s" in screen and "say which is better" in screen
    assert "take the last answer back" in screen


def test_messages_are_shown_with_their_roles_and_control_characters_are_not_obeyed():
    talk = [{"role": "user", "content": "why\nnot?"}]
    replies = [[{"role": "assistant", "content": text}] for text in ("so", "\x1b[31mred")]
    _, screen = answered(["q"], [Question(talk, *replies)])
    assert "user: why" in screen and "assistant: so" in screen and "\x1b[31mred" not in screen


def test_long_texts_come_in_pages_that_fit_the_terminal():
    long = " ".join(f"word{number}" for number in range(300))
    console = terminal(height=20)
    answers, screen = answered(["", "", "", "a"], [Question("go on", long, "short")], console)
    assert answers == [1.0]
    assert "… A goes on" in screen and "page 1 of" in screen and "page 2 of" in screen and "word299" in screen
    screens = screen.split("\x1b[2J")
    assert len(screens) == 5 and all(one.count("\n") <= 20 for one in screens)


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "answers.jsonl"
    entries = [{"prompt": f"{number} is", "responses": [" more.", " less."]} for number in range(3)]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def type_in(monkeypatch, *typed):
    script = iter(typed)

    def read(*_, **__):
        try:
            return next(script)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("rich.console.Console.input", read)


def test_the_command_keeps_answers_and_goes_on_with_the_others(lines, monkeypatch, capsys):
    out = lines.with_name("answers.labels.jsonl")
    type_in(monkeypatch, "a", "s", "q")
    assert main(["label", str(lines)]) == 0
    assert "1 of 3 answered, 1 comparisons in" in capsys.readouterr().out
    type_in(monkeypatch, "b", "b")
    assert main(["label", str(lines)]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 answered, 3 comparisons in" in printed and "1 of 2 · 0 answered" in printed
    assert main(["label", str(lines)]) == 0
    assert "all 3 comparisons are in" in capsys.readouterr().out
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert {entry["prompt"] for entry in kept} == {"0 is", "1 is", "2 is"}
    assert all({entry["chosen"], entry["rejected"]} == {" more.", " less."} for entry in kept)
    assert len(read_preferences(out, {"kind": "bpe"})) == 3


def test_the_command_asks_about_recorded_episodes(tmp_path, monkeypatch, capsys):
    algorithm = PPO("TextGeneration", "mlp-tiny", seed=0, num_rows=8, group_size=4, rollout_tokens=100)
    EpisodeDataset(algorithm.collect(), algorithm.task.vocabulary).save(tmp_path / "episodes.safetensors")
    type_in(monkeypatch, "a", "b")
    options = ["--env", "TextGeneration", "--count", "2", "--out", str(tmp_path / "out.jsonl")]
    assert main(["label", str(tmp_path / "episodes.safetensors"), *options]) == 0
    assert "2 of 2 answered" in capsys.readouterr().out
    assert len(read_preferences(tmp_path / "out.jsonl", algorithm.task)) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "0"], "count"),
        (["--count", "9"], "There are 3 pairs of different answers"),
        (["--judge", "nowhere"], "nowhere"),
        (["--kwargs", "a=1"], "does nothing without --env"),
        (["--out", "{lines}"], "the file that is compared"),
        (["--env", "Copy"], "it is for recorded episodes"),
    ],
)
def test_what_cannot_be_compared_is_refused(lines, options, message, capsys):
    assert main(["label", str(lines), *(option.format(lines=lines) for option in options)]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_none_is_refused(tmp_path, capsys):
    assert main(["label", str(tmp_path / "none.jsonl")]) == 2
    assert "does not exist" in capsys.readouterr().err
