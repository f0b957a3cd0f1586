"""Runs of studies that were killed go on from their newest checkpoint, to the same bits."""

import os
import signal

import numpy as np
import pytest

from tokengym.algorithms import ALGORITHMS
from tokengym.algorithms.runs import checkpoint
from tokengym.experiments.study.file import study_from_mapping
from tokengym.experiments.study.folder import RunFolder
from tokengym.experiments.study.run import Saving, train_run

GPT2 = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}
EVERY, TOTAL, ROLLOUT = 80, 320, 24

CASES = {
    "ppo": ("Copy", "ppo", {"group_size": 2, "epochs": 2}, {}),
    "ppo-kl-control": ("Copy", "ppo", {"kl_coef": 0.1, "kl_target": 0.01, "reward_scaling": True}, {}),
    "ppo-gpt2": ("Copy", "ppo", {"kl_coef": 0.1}, {"agent": GPT2}),
    "ppo-masks": ("TicTacToe", "ppo", {"action_masks": True}, {"agent": "mlp-tiny"}),
    "a2c": ("Copy", "a2c", {"reward_scaling": True}, {}),
    "dqn": ("Copy", "dqn", {"prioritised": "token"}, {}),
    "dqn-masks": ("TicTacToe", "dqn", {"action_masks": True, "prioritised": "episode"}, {"agent": "mlp-tiny"}),
    "sac": ("Copy", "sac", {"entropy_target": 0.5}, {}),
    "sac-kl": ("Copy", "sac", {"kl_coef": 0.1, "kl_target": 0.5}, {"agent": "mlp-tiny"}),
    "shared-generators": (
        "TextGeneration",
        "ppo",
        {},
        {"kwargs": {"reward": "noisy_rewards:noisy", "max_new_tokens": 4}, "random_return": 0.0, "optimal_return": 1.0},
    ),
}
"""Environment, algorithm, configuration and what else the environment has in a study."""


def spec_of(case):
    name, algorithm, config, more = CASES[case]
    kwargs = {"num_tokens": 3, "k": 2} if name == "Copy" else {}
    off_policy = {"learning_starts": 2 * ROLLOUT, "batch_episodes": 8}
    quick = {"ppo": {"epochs": 1}, "dqn": off_policy, "sac": off_policy}.get(algorithm, {})
    environment = {"agent": "table", "kwargs": kwargs, **more}
    return study_from_mapping(
        {
            "total_tokens": TOTAL,
            "seeds": [1],
            "evaluation": {"episodes": 8, "training_episodes": 8, "points": 5, "samples": 1, "exact_limit": 100},
            "environments": {name: environment},
            "algorithms": {algorithm: {"config": {"rollout_tokens": ROLLOUT, **quick, **config}}},
        }
    ).runs()[0]


def attempt(spec, folder, kill_at=None):
    """Make a run in a process of its own, killed at a count of its updates; return its tokens, and what was told."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        counted = []

        def sign_of_life(tokens, score):
            os.write(writing, f"{tokens}\n".encode())
            counted.append(tokens)
            if len(counted) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        def tell(text):
            os.write(writing, f"{text}\n".encode())

        code = 1
        try:
            train_run(spec, folder, sign_of_life, saving=Saving(every=EVERY), tell=tell)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading) as pipe:
        lines = pipe.read().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (0 if kill_at is None else -signal.SIGKILL), lines
    return [int(line) for line in lines if line.isdigit()], [line for line in lines if not line.isdigit()]


def results(folder):
    """The bytes of every file of a run, times apart."""
    files = [path for path in sorted(folder.path.rglob("*")) if path.is_file() and path.name != "timings.jsonl"]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in files}


@pytest.fixture(scope="module", autouse=True)
def imported():
    """What every run needs, so that none of the processes has to import it anew."""
    for name in ("ppo", "a2c", "dqn", "sac", "sb3-a2c"):
        ALGORITHMS[name]


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_goes_on_to_the_same_bits_and_repeats_less_than_an_interval(case, tmp_path):
    spec = spec_of(case)
    whole, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    tokens, told = attempt(spec, whole)
    random = np.random.default_rng(list(case.encode()))
    saved = next(number for number, count in enumerate(tokens, start=1) if count >= EVERY)
    before, _ = attempt(spec, run, int(random.integers(saved + 2, len(tokens))))
    place = checkpoint.steps(run.checkpoints)[0]
    after, told_again = attempt(spec, run)
    assert told == [] and told_again == [f"goes on from {int(place.name[5:])} of {TOTAL} tokens"]
    assert results(run) == results(whole)
    repeated = sorted({count for count in before if count in after})
    # What was under way when it was killed had not been saved, though it may have passed a multiple of the interval.
    assert repeated == [count for count in sorted(set(before)) if count > int(place.name[5:])]
    assert len(repeated) <= EVERY // ROLLOUT + 1 and repeated[-1:] <= [int(place.name[5:]) + EVERY + ROLLOUT]


def test_a_run_killed_again_and_again_and_with_a_broken_checkpoint_ends_with_the_same_bits(tmp_path):
    spec = spec_of("ppo-kl-control")
    whole, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    tokens, _ = attempt(spec, whole)
    attempt(spec, run, 3)  # before its first checkpoint
    _, told = attempt(spec, run, len(tokens) * 2 // 3)
    assert told == ["interrupted before, it starts again: no checkpoint holds it"]
    newest, earlier = checkpoint.steps(run.checkpoints)
    (newest / checkpoint.TENSORS).write_bytes(b"")
    _, told = attempt(spec, run, 4)
    assert f"{newest} is broken" in told[0] and told[-1] == f"goes on from {int(earlier.name[5:])} of {TOTAL} tokens"
    attempt(spec, run)
    assert results(run) == results(whole)
    starts = [row["tokens"] for row in run.read("timings.jsonl") if row.get("kind") == "machine"]
    assert starts[:2] == [0, 0] and len(starts) == 4 and starts[2] == int(earlier.name[5:])


def test_without_a_whole_checkpoint_a_run_starts_again_and_the_broken_ones_are_named(tmp_path):
    spec = spec_of("a2c")
    whole, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    tokens, _ = attempt(spec, whole)
    attempt(spec, run, len(tokens) // 2)
    places = checkpoint.steps(run.checkpoints)
    for place in places:
        (place / checkpoint.MANIFEST).unlink()
    _, told = attempt(spec, run)
    assert all(any(str(place) in text for text in told) for place in places) and "starts again" in told[-1]
    assert results(run) == results(whole)


def test_a_run_that_raised_starts_anew_and_one_whose_process_was_lost_goes_on(tmp_path):
    spec = spec_of("a2c")
    whole, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    tokens, _ = attempt(spec, whole)
    attempt(spec, run, len(tokens) // 2)
    run.fail("its process died", "", lost=True)
    after, told = attempt(spec, run, len(tokens) // 4)
    assert after[0] > EVERY and "goes on from" in told[0] and run.state(spec) == "interrupted"
    run.fail("ValueError: no", "…")
    after, told = attempt(spec, run)
    assert after[0] == 0 and told == [] and results(run) == results(whole)


def test_a_reference_whose_checkpoints_hold_weights_alone_starts_again_and_says_so(tmp_path):
    spec = study_from_mapping(
        {
            "total_tokens": 128,
            "seeds": [0],
            "evaluation": {"episodes": 8, "training_episodes": 8, "points": 2, "samples": 1},
            "environments": {"Copy": {}},
            "algorithms": {"sb3-a2c": {"agent": "mlp", "config": {"n_steps": 8, "num_envs": 4}}},
        }
    ).runs()[0]
    whole, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    tokens, _ = attempt(spec, whole)
    attempt(spec, run, len(tokens) - 1)
    assert checkpoint.steps(run.checkpoints)
    after, told = attempt(spec, run)
    assert after == tokens and results(run) == results(whole)
    assert told == ["interrupted before, it starts again: checkpoints of sb3-a2c hold its weights alone"]
