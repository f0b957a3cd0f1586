"""`tokengym train`: one run folder, taken up by the same command wherever it was interrupted."""

import hashlib
import json
import os
import resource
import shutil
import signal
import time

import pytest
import yaml

from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.runs import checkpoint
from tokengym.experiments.commands.main import main
from tokengym.experiments.study.folder import RunFolder
from tokengym.experiments.study.lock import sole_use
from tokengym.experiments.study.run import RunRecorder, Saving, train_run
from tokengym.experiments.study.spec import run_hash
from tokengym.experiments.study.yaml_text import write_yaml

WORDS = ["train", "ppo", "TokenBandit", "--agent", "table", "--rollout-tokens", "20", "--total-tokens", "200"]


def results(folder):
    """The bytes of every file of a run, times apart."""
    timed = ("timings.jsonl", ".lock")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in timed]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if "tensorboard" not in p.parts}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main([*WORDS, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(tmp_path):
    """The folder of a run to come, and the command for it."""
    folder = tmp_path / "run"
    return folder, [*WORDS, "--out", str(folder)]


class Killed(BaseException):
    """What no `except Exception` and no callback sees, as a kill is."""


def at_update(number, action, monkeypatch):
    update = PPO.update

    def counted(self, episodes):
        if self.num_updates == number:
            action()
        return update(self, episodes)

    monkeypatch.setattr(PPO, "update", counted)


def kill():
    raise Killed


def test_a_run_is_a_folder_as_a_study_has_them(whole, capsys):
    assert {name.split("/")[0] for name in results(whole)} == {
        "config.yaml", "metrics.jsonl", "evaluations.jsonl", "episodes.jsonl", "done.json", "checkpoints"
    }  # fmt: skip
    folder = RunFolder(whole)
    spec, summary = folder.recorded(), folder.verify()
    assert spec is not None and spec.config["gamma"] == 1.0 and folder.state(spec) == "done"
    final = folder.read("evaluations.jsonl")
    assert [(row["kind"], row["mode"]) for row in final] == [("final", "greedy"), ("final", "sampled")]
    assert summary["score"] == final[0]["score"] and len(folder.read("metrics.jsonl")) == 10
    assert [path.name for path in checkpoint.steps(folder.checkpoints)] == [checkpoint.step_name(200)]
    capsys.readouterr()
    assert main(["evaluate", str(whole), "--json", "--samples", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["greedy"]["score"] == summary["score"] and len(told["episodes"]) == 1


def test_a_finished_run_is_said_to_be_finished(whole, capsys):
    before = results(whole)
    assert main([*WORDS, "--out", str(whole)]) == 0
    assert "finished before: 200 tokens" in capsys.readouterr().out
    assert main([*WORDS, "--out", str(whole), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == 200 and results(whole) == before


@pytest.mark.parametrize("number", [0, 1, 5, 9])
def test_the_same_command_takes_up_a_run_killed_while_it_learnt(number, whole, run, monkeypatch):
    folder, command = run
    with monkeypatch.context() as patch:
        at_update(number, kill, patch)
        with pytest.raises(Killed):
            main(command)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"tokens": 9999}\n{"tok')
    assert main(command) == 0
    assert results(folder) == results(whole)


HALF_MADE = {
    "a lock": [".lock"],
    "a configuration under way": [".config.yaml.new", ".lock"],
    "empty logs": ["metrics.jsonl", "timings.jsonl"],
}


@pytest.mark.parametrize("case", HALF_MADE)
def test_the_same_command_takes_up_a_run_killed_while_it_began(case, whole, run):
    folder, command = run
    folder.mkdir()
    for name in HALF_MADE[case]:
        (folder / name).touch()
    assert main(command) == 0
    assert {name: text for name, text in results(folder).items() if ".new" not in name} == results(whole)


@pytest.mark.parametrize("function", ["append", "finish"])
def test_the_same_command_takes_up_a_run_killed_while_it_was_evaluated(function, whole, run, monkeypatch):
    folder, command = run
    with monkeypatch.context() as patch:
        original = getattr(RunFolder, function)

        def first(self, *arguments):
            original(self, *arguments)
            (folder / "done.json").unlink(missing_ok=True)
            raise Killed

        patch.setattr(RunFolder, function, first)
        with pytest.raises(Killed):
            main(command)
    assert main(command) == 0
    assert results(folder) == results(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_finishes_the_update_and_saves_it(number, whole, run, monkeypatch, capfd):
    folder, command = run
    with monkeypatch.context() as patch:
        at_update(4, lambda: os.kill(os.getpid(), number), patch)
        assert main([*command, "--save-every", "1000"]) == 130
    assert "finishing the update under way" in capfd.readouterr().err
    assert [path.name for path in checkpoint.steps(folder / "checkpoints")] == [checkpoint.step_name(100)]
    assert main([*command, "--resume"]) == 0
    assert "going on from 100 tokens" in capfd.readouterr().out
    assert results(folder) == results(whole)


def test_a_second_interruption_ends_at_once(run, monkeypatch):
    folder, command = run
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell started the tests in the background
    with monkeypatch.context() as patch:
        # Two signals at once may arrive as one.
        at_update(4, lambda: [(os.kill(os.getpid(), signal.SIGINT), time.sleep(0.2)) for _ in range(2)], patch)
        assert main([*command, "--save-every", "1000"]) == 130
    assert checkpoint.steps(folder / "checkpoints") == []
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_run_of_other_settings_is_refused_with_what_differs(run, monkeypatch, capsys):
    folder, command = run
    with monkeypatch.context() as patch:
        at_update(5, kill, patch)
        with pytest.raises(Killed):
            main(command)
    before = results(folder)
    other = ["--gamma", "0.5", "--seed", "3", "--kwargs", "noise=0.5"]
    for more in (other, [*other, "--resume"]):
        assert main([*command, *more]) == 2
        told = " ".join(capsys.readouterr().err.split())
        for part in ("--gamma is 0.5 (the run's is 1.0)", "--seed is 3 (the run's is 0)", "--kwargs noise is 0.5"):
            assert part in told
    assert main(["train", "a2c", *command[2:]]) == 2
    assert "the algorithm is 'a2c' (the run's is 'ppo')" in " ".join(capsys.readouterr().err.split())
    assert results(folder) == before


def test_two_commands_do_not_train_in_one_folder(whole, capsys):
    with sole_use(whole, "training"):
        assert main([*WORDS, "--out", str(whole)]) == 2
    error = capsys.readouterr().err
    assert "another process is training in" in error and error.count("\n") == 1
    assert main([*WORDS, "--out", str(whole)]) == 0


def test_a_folder_with_something_else_in_it_is_left_alone(run, capsys):
    folder, command = run
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    assert main(command) == 2
    assert "'thesis.txt' and no run" in " ".join(capsys.readouterr().err.split())
    assert (folder / "thesis.txt").read_text() == "mine" and not (folder / "config.yaml").exists()


def test_a_full_disk_is_one_line_and_the_same_command_goes_on_after_room_was_made(whole, run, capsys):
    folder, command = run
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert (whole / "metrics.jsonl").stat().st_size > 4000 > (whole / "config.yaml").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        assert main(command) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "Make room" in error
    assert main(command) == 0
    assert results(folder) == results(whole)


def test_an_algorithm_that_cannot_go_on_starts_over(tmp_path, monkeypatch):
    words = ["train", "sb3-a2c", "TokenBandit", "--n-steps", "8", "--num-envs", "4", "--total-tokens", "128"]
    words += ["--save-every", "32"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "conclude", lambda *_: kill())
        with pytest.raises(Killed):
            main([*words, "--out", str(tmp_path / "run")])
    folder = tmp_path / "run" / "checkpoints"
    newest, earlier = checkpoint.steps(folder)[:2]
    newest.rename(tmp_path / "moved")
    assert earlier.exists() and main([*words, "--out", str(tmp_path / "run")]) == 0
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_study_goes_on_with_its_run_and_the_commands_take_its_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(
        "total_tokens: 200\nseeds: [0]\nsave_every: 20\nevaluation: {points: 2, samples: 1}\n"
        "environments: {TokenBandit: {agent: table}}\nalgorithms: {ppo: {config: {rollout_tokens: 20}}}\n"
    )
    assert main(["compare", "s.yaml", "--out", "whole", "--workers", "1"]) == 0
    place = "runs/TokenBandit/ppo/seed-0"
    spec = RunFolder(f"whole/{place}").recorded()
    assert spec is not None and spec.config["gamma"] == 1.0
    with monkeypatch.context() as patch:
        at_update(6, kill, patch)
        with pytest.raises(Killed):
            train_run(spec, RunFolder(f"out/{place}"), saving=Saving(every=20))
    capsys.readouterr()
    assert main(["compare", "s.yaml", "--out", "out", "--workers", "1"]) == 0
    assert "goes on from 120 of 200 tokens" in capsys.readouterr().out
    assert "went on from 120 tokens" in (tmp_path / "out" / "report.html").read_text()
    whole, out = tmp_path / "whole" / place, tmp_path / "out" / place
    assert results(out) == results(whole)

    assert main(["evaluate", str(out), "--json", "--samples", "0"]) == 0
    assert main(["watch", "TokenBandit", "--agent", str(out), "--delay", "0"]) == 0
    again = ["train", "ppo", "TokenBandit", "--out", str(out), "--resume", "--total-tokens"]
    assert main([*again, "200"]) == 0 and results(out) == results(whole)
    assert main([*again, "240"]) == 0
    longer = RunFolder(out)
    assert longer.verify()["tokens"] == 240 and len(longer.read("metrics.jsonl")) == 12
    assert main(["compare", "s.yaml", "--out", "out"]) == 2
    assert "total_tokens: 240 there, 200 asked" in " ".join(capsys.readouterr().err.split())


def test_a_study_takes_the_run_of_train_for_its_own_and_the_report_draws_its_evaluations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(
        "total_tokens: 200\nseeds: [0]\nevaluation: {points: 4, samples: 2, episodes: 1000}\n"
        "environments: {TokenBandit: {agent: table}}\nalgorithms: {ppo: {config: {rollout_tokens: 20}}}\n"
    )
    out = tmp_path / "out" / "runs" / "TokenBandit" / "ppo" / "seed-0"
    assert main([*WORDS, "--evaluations", "4", "--out", str(out)]) == 0
    before = results(out)
    assert main(["compare", "s.yaml", "--out", "out"]) == 0 and results(out) == before
    curve = [row["target_tokens"] for row in RunFolder(out).read("evaluations.jsonl") if row["kind"] == "training"]
    assert curve == [0, 50, 100, 150, 200]


def test_folders_of_the_format_before_are_read_and_those_of_a_later_one_refused(whole, run, capsys):
    folder, command = run
    shutil.copytree(whole, folder)
    for name, mark in (("config.yaml", "format: 2"), ("done.json", '"format": 2')):
        text = (folder / name).read_text()
        assert mark in text
        (folder / name).write_text(text.replace(mark, mark.replace("2", "1")).replace("points: 0", "points: 1"))
    content = yaml.safe_load((folder / "config.yaml").read_text())
    seal = json.loads((folder / "done.json").read_text())
    content["hash"] = run_hash(content["run"])
    (folder / "config.yaml").write_text(write_yaml(content))
    seal["files"]["config.yaml"] = hashlib.sha256((folder / "config.yaml").read_bytes()).hexdigest()
    (folder / "done.json").write_text(json.dumps(seal))
    assert main(command) == 0 and "finished before: 200 tokens" in capsys.readouterr().out
    (folder / "done.json").unlink()
    assert main(command) == 0 and results(folder) == results(whole)

    later = (folder / "config.yaml").read_text().replace("format: 2", "format: 3")
    (folder / "config.yaml").write_text(later)
    assert main(command) == 2 and "update tokengym" in " ".join(capsys.readouterr().err.split())
    assert (folder / "config.yaml").read_text() == later
