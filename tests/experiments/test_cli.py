"""The command line: exit codes, one-line errors, and a study from one end to the other."""

import json
import re
import subprocess
import sys

import fake_jobs
import pytest

from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.registry import load_algorithm
from tokengym.algorithms.runs.callbacks import SaveEvery
from tokengym.envs.registration import make_task
from tokengym.experiments.commands.main import main
from tokengym.experiments.study import pool
from tokengym.experiments.study.mappings import parse_arguments

STUDY = """
name: tiny
total_tokens: 60
seeds: [0, 1]
evaluation: {episodes: 20, training_episodes: 10, points: 2, samples: 1}
environments:
  TokenBandit: {}
  KLTree: {beta: 0.2}
algorithms:
  ppo: {config: {rollout_tokens: 30, num_rows: 8}}
  dqn: {config: {rollout_tokens: 20, num_rows: 8, learning_starts: 20}, overrides: {KLTree: {learning_rate: 1e-2}}}
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "tiny.yaml"
    # The table learns the same way as a language model and takes a fraction of its time.
    path.write_text(
        STUDY.replace("TokenBandit: {}", "TokenBandit: {agent: table}").replace("{beta", "{agent: table, beta")
    )
    return path


def results_of(folder):
    """Return the bytes of everything below a results folder that holds no times."""
    files = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("timings.jsonl", ".lock")
    )
    kept = (path for path in files if path.relative_to(folder).parts[0] == "runs" or path.name == "summary.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def test_a_study_leaves_a_report_and_the_same_bits_whatever_the_number_of_workers(study, tmp_path, capsys):
    assert main(["compare", str(study), "--out", str(tmp_path / "a"), "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "8 of 8 runs to do" in printed and "Normalised scores" in printed and "Aggregates" in printed
    for name in ("report.html", "table.md", "summary.json", "plots/scores.png"):
        assert (tmp_path / "a" / name).stat().st_size > 0
    assert main(["compare", str(study), "--out", str(tmp_path / "b"), "--workers", "2"]) == 0
    first, second = results_of(tmp_path / "a"), results_of(tmp_path / "b")
    assert sum(name.endswith("metrics.jsonl") for name in first) == 8
    assert sum(name.endswith(".safetensors") for name in first) == 8
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    run = json.loads(first["runs/KLTree/ppo/seed-0/done.json"])["summary"]
    assert run["sampled"]["exact"] and run["score"] == run["sampled"]["score"]
    assert run["references"]["optimal"] > run["references"]["random"]

    capsys.readouterr()
    assert main(["compare", str(study), "--out", str(tmp_path / "a")]) == 0
    assert "0 of 8 runs to do, 8 finished before" in capsys.readouterr().out
    checkpoint = tmp_path / "a" / "runs" / "KLTree" / "ppo" / "seed-0"
    assert main(["evaluate", str(checkpoint), "--samples", "1", "--beta", "0.2"]) == 0
    assert "exact" in capsys.readouterr().out


def test_a_failed_run_is_shown_and_the_exit_code_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pool, "JOBS", fake_jobs)
    path = tmp_path / "s.yaml"
    path.write_text(
        "total_tokens: 10\nseeds: [0]\nenvironments: {Copy: {}}\nalgorithms: {ppo: {}, raises: {algorithm: ppo}}\n"
    )
    assert main(["compare", str(path), "--out", str(tmp_path / "o")]) == 1
    printed = capsys.readouterr().out
    assert "Copy/raises/seed-0  failed ValueError: loss is NaN" in printed
    assert "1 of 1 failed" in (tmp_path / "o" / "table.md").read_text()
    assert main(["report", str(path), "--out", str(tmp_path / "o")]) == 1


def test_a_report_of_an_unfinished_study_names_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pool, "JOBS", fake_jobs)
    path = tmp_path / "s.yaml"
    path.write_text("total_tokens: 10\nseeds: [0]\nenvironments: {Copy: {}}\nalgorithms: {ppo: {}}\n")
    assert main(["compare", str(path), "--out", str(tmp_path / "o")]) == 0
    path.write_text(path.read_text().replace("[0]", "[0, 1]"))
    assert main(["report", str(path), "--out", str(tmp_path / "o")]) == 1
    assert "1 runs are missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["comapre"], "unknown command 'comapre': did you mean 'compare'?"),
        (["compare", "none.yaml"], "cannot read study 'none.yaml'"),
        (["report", "none.yaml"], "cannot read study 'none.yaml'"),
        (["train", "pppo", "Copy"], "unknown algorithm 'pppo': did you mean 'ppo' or"),
        (["train", "ppo", "Coppy"], "unknown environment 'Coppy': did you mean 'Copy'"),
        (["train", "ppo", "Copy", "--kwargs", "lenght=3"], "lenght"),
        (["train", "ppo", "Copy", "--learning-rate", "-1"], "learning_rate is -1.0"),
        (["train", "ppo", "Copy", "--agent", "gpt2-tyni"], "gpt2-tyni"),
        (["train", "ppo", "Copy", "--total-tokens", "0"], "--total-tokens is 0"),
        (["train", "ppo", "Copy", "--episodes", "0"], "--episodes is 0"),
        (["train", "ppo", "Copy", "--save-every", "0"], "--save-every is 0"),
        (["train", "ppo", "Copy", "--seed", "-1"], "--seed is -1"),
        (["train", "ppo", "Copy", "--missing-eos-penalty", "1"], "ppo requires a vocabulary with an end token"),
        (["train", "ppo", "TextGeneration", "--kwargs", "max_length=4"], "exceed max_length=4"),
        (["evaluate", "no-such-folder", "--samples", "-1"], "--samples is -1"),
        (["play", "Copy", "--episodes", "0"], "--episodes is 0"),
        (["play", "Latice"], "unknown environment 'Latice'"),
        (["evaluate", "no-such-folder"], "no-such-folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_2(below, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    out = str(tmp_path / below)
    assert main(["train", "ppo", "TokenBandit", "--agent", "table", "--total-tokens", "10", "--out", out]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error and error.startswith("error: ") and error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_reward_function_that_fails_ends_training_with_one_line_and_keeps_what_was_saved(
    tmp_path, capsys, monkeypatch
):
    module = "calls = []\ndef reward(completions, **_):\n    calls.append(0)\n"
    (tmp_path / "fails_late.py").write_text(module + "    return [1 / (5 - len(calls))] * len(completions)\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    words = ["train", "ppo", "TextGeneration", "--agent", "gru-tiny", "--rollout-tokens", "4", "--num-rows", "1"]
    words += ["--total-tokens", "100", "--save-every", "1", "--out", str(run)]
    assert main([*words, "--kwargs", "reward=fails_late:reward", "max_new_tokens=4"]) == 2
    error = capsys.readouterr().err
    assert "error: The reward function 'reward' raised ZeroDivisionError" in error and error.count("\n") == 1
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    newest = max(folder.name for folder in (run / "checkpoints").glob("step-*"))
    assert records and newest == f"step-{records[-1]['tokens']:012d}"
    assert load_algorithm(run / "checkpoints").num_timesteps == records[-1]["tokens"]


def test_an_unknown_flag_is_exit_code_2_and_help_is_0(capsys):
    assert main(["compare", "x.yaml", "--wokers", "2"]) == 2
    for arguments in (["--help"], ["compare", "--help"], ["train", "dqn", "--help"], []):
        assert main(arguments) == 0
    assert "--replay-capacity" in capsys.readouterr().out


def test_the_list_names_every_environment_and_algorithm_without_torch():
    code = (
        "import sys; from tokengym.experiments.commands.main import main; "
        "sys.exit(main(['list']) or 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "Lattice" in told.stdout and "sb3-ppo" in told.stdout


def test_a_reader_that_has_seen_enough_is_no_failure():
    code = "import sys; from tokengym.experiments.commands.main import main; sys.exit(main(['list']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as told:
        assert told.stdout is not None and told.stderr is not None
        told.stdout.close()
        assert (told.stderr.read(), told.wait()) == (b"", 0)


def test_training_writes_a_checkpoint_and_resuming_goes_on_from_it(tmp_path, capsys):
    words = [
        "train",
        "ppo",
        "TokenBandit",
        "--agent",
        "table",
        "--rollout-tokens",
        "20",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*words, "--total-tokens", "40"]) == 0
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    assert main([*words, "--total-tokens", "80"]) == 2
    assert "pass --resume to go on to the new total" in " ".join(capsys.readouterr().err.split())
    more = ["train", "ppo", "TokenBandit", "--out", str(tmp_path / "run"), "--total-tokens", "80", "--resume"]
    assert main([*more, "--gamma", "0.5"]) == 2
    assert "--gamma is 0.5 (the run's is 1.0)" in " ".join(capsys.readouterr().err.split())
    assert main(more) == 0  # what is left out is the run's own: its agent, its tokens a roll-out
    assert "going on from 40 tokens" in capsys.readouterr().out
    assert main([*words[:-1], str(tmp_path / "none"), "--resume"]) == 2
    assert "no run in" in capsys.readouterr().err and not (tmp_path / "none").exists()
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_a_run_of_a_version_that_recorded_no_configuration_is_resumed(tmp_path, capsys):
    words = ["train", "ppo", "TokenBandit", "--agent", "table", "--rollout-tokens", "20", "--out", str(tmp_path)]
    callback = SaveEvery(tmp_path / "checkpoints", 20)
    PPO("TokenBandit", "table", rollout_tokens=20).learn(40, callback=callback, log_dir=tmp_path)
    assert main([*words, "--total-tokens", "80"]) == 2
    assert "pass --resume" in capsys.readouterr().err
    assert main([*words, "--total-tokens", "80", "--gamma", "0.5", "--resume"]) == 2
    assert "--gamma is 0.5 (the run's is 1.0)" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--total-tokens", "80", "--resume"]) == 0
    assert "going on from 40 tokens" in capsys.readouterr().out
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.filterwarnings("always")
def test_a_broken_checkpoint_is_named_in_one_line_and_the_one_before_is_used(tmp_path, capsys):
    words = ["train", "ppo", "TokenBandit", "--agent", "table", "--rollout-tokens", "20", "--out", str(tmp_path)]
    assert main([*words, "--total-tokens", "40", "--save-every", "20", "--keep", "2"]) == 0
    capsys.readouterr()
    newest = max((tmp_path / "checkpoints").glob("step-*"))
    (newest / "state.json").write_text("{")
    assert main(["evaluate", str(newest)]) == 2
    error = capsys.readouterr().err
    assert "state.json is cut short or altered" in error and error.count("\n") == 1
    assert main(["evaluate", str(newest.parent), "--samples", "0"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told and all(line.startswith("warning: ") and "It is skipped." in line for line in told)


def test_arguments_of_an_environment_are_yaml():
    assert parse_arguments(["a=3", "b=[1, x]", "c=d=e"]) == {"a": 3, "b": [1, "x"], "c": "d=e"}


def test_the_episodes_of_an_agent_with_masks_hold_only_what_is_legal(tmp_path, capsys):
    task = make_task("WordleMini", num_letters=4, word_length=2, num_words=3, words_only=True)
    PPO(task, agent="table", action_masks=True, seed=0).save(tmp_path)
    assert main(["evaluate", str(tmp_path), "--samples", "3", "--episodes", "10"]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("return")]
    guesses = [guess for line in shown for guess in re.findall(r"\[(\w \w)\]", line)]
    words = [" ".join(task.vocabulary.names(word)) for word in task.words]
    assert len(shown) == 3 and guesses and set(guesses) <= set(words)
