"""Wrong flags of every command: one message, exit code 2, never a traceback; and help that names what is meant."""

import dataclasses
import re
from typing import Any, get_type_hints

import pytest

from tokengym.algorithms import ALGORITHMS
from tokengym.experiments.commands import main as cli
from tokengym.experiments.commands import options as flags
from tokengym.experiments.commands.flags import with_truths

COMMANDS = {
    "list": (["list"], flags.ListOptions),
    "evaluate": (["evaluate", "nowhere"], flags.EvaluateOptions),
    "compare": (["compare", "nowhere.yaml"], flags.CompareOptions),
    "report": (["report", "nowhere.yaml"], flags.ReportOptions),
    "export": (["export", "nowhere", "there"], flags.ExportOptions),
    "model": (["model", "smollm2", "there"], flags.ModelOptions),
    "play": (["play", "Copy"], flags.PlayOptions),
    "watch": (["watch", "Copy"], flags.WatchOptions),
    "train": (["train", "ppo", "Copy"], flags.TrainOptions),
    **{f"train {name}": (["train", name, "Copy"], ALGORITHMS.config(name)) for name in ("ppo", "sb3-dqn")},
}
NOT_A_NUMBER = ["", " ", "x", "nan", "-inf", "-1", "9" * 5000, "True", "1,000", "0x10", "ä", "\0", "[3]", "1 2"]
NUMBERS = [
    (command, field.name)
    for command, (_, options) in COMMANDS.items()
    for field in dataclasses.fields(options)
    if re.search(r"\b(int|float)\b", str(get_type_hints(options)[field.name]))
]


def refused(arguments: list[str], capsys: Any) -> str:
    """What a command says that is refused."""
    assert cli.main(arguments) == 2, arguments
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert "Traceback" not in said and said.strip()
    return said


@pytest.mark.parametrize(("command", "field"), NUMBERS)
def test_a_number_refuses_what_is_none_or_out_of_range(command: str, field: str, capsys):
    arguments, _ = COMMANDS[command]
    flag = f"--{field.replace('_', '-')}"
    # What a configuration takes is tried field by field elsewhere: here, that what it refuses is told.
    for value in NOT_A_NUMBER if len(command.split()) == 1 else ["", "nan", "-1"]:
        said = refused([*arguments, flag, value], capsys)
        assert field in said.replace("-", "_") or "nowhere" not in said
    refused([*arguments, flag], capsys)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "more", [["--no-such-flag"], ["--no-such-flag", "3"], ["--ünknown=1"], ["--=", ""], ["\0"] * 2]
)
def test_a_flag_that_no_command_has_is_refused(command: str, more: list[str], capsys):
    refused([*COMMANDS[command][0], *more], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        [""],
        ["\0"],
        ["list", "--family", ""],
        ["list", "--json", "maybe"],
        ["train", "ppo"],
        ["train", "", "Copy"],
        ["train", "ppo", ""],
        ["train", "ppo", "Copy", "--agent", ""],
        ["train", "ppo", "Copy", "--agent", "{kind: gpt2"],
        ["train", "ppo", "Copy", "--agent", "{kind: gpt2, num_layers: 2147483648}"],
        ["train", "ppo", "Copy", "--kl-in", "both"],
        ["train", "ppo", "Copy", "--kwargs", "="],
        ["train", "ppo", "Copy", "--kwargs", "k=["],
        ["evaluate"],
        ["evaluate", ""],
        ["watch", "Copy", "--agent", ""],
    ],
)
def test_words_in_the_wrong_place_are_refused(arguments: list[str], capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(arguments, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_is_meant(command: str, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = COMMANDS[command][0]
    assert cli.main([*words[: 2 if words[0] == "train" else 1], "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: tokengym")
    assert "STR" not in shown.replace("STUDY.yaml", "") and "options options" not in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "dqn", "Copy", "--kl-estimator", "k3"], "dqn has no --kl-estimator: nothing is estimated"),
        (["train", "sac", "Copy", "--kl_in=loss"], "sac has no --kl-in: the KL is a part of the values"),
        (["train", "ppo", "Copy", "--learning-rate", "cosine(1)"], "learning_rate is 'cosine(1)'; expected a schedule"),
        (["train", "ppo", "Copy", "--kl-horizon", "5"], "it does nothing while kl_target is None"),
        (["train", "nowhere:reinforce", "Copy"], "there is no module 'nowhere' here"),
        (["train", "pppo", "Copy"], "'ppo'"),
    ],
)
def test_what_a_configuration_refuses_is_told_with_its_reason(arguments: list[str], says: str, capsys):
    assert says in " ".join(refused(arguments, capsys).split())


def test_a_coefficient_is_a_number_or_a_schedule_on_the_command_line(tmp_path, capsys):
    flags = ["--learning-rate", "cosine(1e-2, 1e-3, warmup=0.1)", "--clip", "0.1", "--entropy-coef", "linear(0.1, 0)"]
    run = ["--agent", "table", "--total-tokens", "60", "--episodes", "5", "--out", str(tmp_path / "run"), "--json"]
    assert cli.main(["train", "ppo", "Copy", *run, *flags]) == 0
    written = (tmp_path / "run" / "config.yaml").read_text()
    assert "learning_rate: cosine(0.01, 0.001, warmup=0.1)" in written and "clip: 0.1" in written
    capsys.readouterr()
    assert cli.main(["train", "ppo", "Copy", *run, *flags]) == 0, "the same command finds the finished run"


def test_what_pages_and_files_write_as_true_and_false_is_understood(tmp_path, capsys):
    said = ["dueling", "true", "--double=FALSE", "--untried_first", "true", "--resume", "false", "--dueling", "--json"]
    expected = ["dueling", "true", "--no-double", "--untried-first", "--no-resume", "--dueling", "--json"]
    assert with_truths(said, flags.TrainOptions, ALGORITHMS.config("dqn")) == expected
    group = with_truths(["--drop-tied", "false", "--drop_tied=true"], ALGORITHMS.config("grpo"))
    assert group == ["--drop-tied", "False", "--drop-tied", "True"]
    run = ["--agent", "table", "--total-tokens", "60", "--episodes", "5", "--out", str(tmp_path / "run"), "--json"]
    assert cli.main(["train", "ppo", "Copy", *run, "--reward-scaling", "false", "--whiten_advantages", "true"]) == 0
    written = (tmp_path / "run" / "config.yaml").read_text()
    assert "reward_scaling: false" in written and "whiten_advantages: true" in written
    capsys.readouterr()
    assert "maybe" in refused(["train", "dqn", "Copy", "--double", "maybe"], capsys)
