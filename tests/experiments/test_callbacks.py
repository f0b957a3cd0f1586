"""Evaluating while learning, the best checkpoint, and early stopping: right, and the same after an interruption."""

import json

import pytest

from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.registry import load_algorithm
from tokengym.algorithms.runs import checkpoint
from tokengym.algorithms.runs.callbacks import Callback, SaveEvery, StopAfter
from tokengym.algorithms.runs.milestones import SaveBest, StopWhen
from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.callbacks import EvaluateEvery
from tokengym.experiments.evaluation import evaluate_agent


class Says(Callback):
    """Gives a metric one value after the other."""

    def __init__(self, *values):
        self.values = list(values)

    def on_update(self, algorithm, metrics):
        if self.values and (value := self.values.pop(0)) is not None:
            metrics["said"] = value


def learn(callback, tokens=200):
    return PPO("TokenBandit", "table", rollout_tokens=20, num_rows=8, seed=1).learn(tokens, callback=callback)


def test_evaluations_are_those_of_the_agent_at_that_moment(tmp_path):
    evaluations = EvaluateEvery(60, deterministic=False, file=tmp_path / "evaluations.jsonl")
    algorithm = learn(evaluations)
    rows = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [row["tokens"] for row in rows] == [60, 120, 180]
    stopped = learn([EvaluateEvery(60, deterministic=False), StopAfter(120)])
    found = evaluate_agent(stopped, stopped.task, deterministic=False)
    assert rows[1]["expected_return"] == found.expected_return != rows[0]["expected_return"]
    assert evaluations.latest["evaluation/return"] == rows[2]["expected_return"]
    assert rows[2]["score"] == evaluations.latest["evaluation/score"] and algorithm.num_timesteps == 200


@pytest.mark.parametrize(
    ("values", "options", "updates"),
    [
        ((1, 2, 3, 4, 5), {"reaches": 3}, 3),
        ((5, 4, 3, 2, 1), {"reaches": 3, "largest": False}, 3),
        ((1, 3, 2, 2, 3, 9), {"patience": 3}, 5),
        ((1, None, 1, None, None, 1, 9), {"patience": 2}, 6),
        ((9, 8, 8.5, 7, 7, 7, 7), {"patience": 2, "largest": False}, 6),
        ((1.0, 1.1, 1.2, 1.3), {"patience": 2, "min_delta": 0.5}, 3),
        ((1, float("nan"), float("nan"), 2), {"patience": 2}, 3),
        ((1, 2, 3, 4), {"reaches": 99, "patience": 4}, 10),
    ],
)
def test_learning_stops_at_the_right_update(values, options, updates):
    stop = StopWhen("said", **options)
    assert learn([Says(*values), stop]).num_updates == updates
    assert bool(stop.reason) is (updates < 10)


def test_the_best_checkpoint_is_the_first_of_the_best(tmp_path):
    best = SaveBest(tmp_path / "best", "said")
    learn([best, Says(1, 5, float("nan"), 5, 4)])
    assert (best.best, best.timesteps) == (5, 40) and load_algorithm(tmp_path / "best").num_timesteps == 40
    least = SaveBest(tmp_path / "least", "said", largest=False)
    learn([Says(3, 2, 4, 2), least])
    assert (least.best, load_algorithm(tmp_path / "least").num_timesteps) == (2, 40)


def test_a_resumed_run_evaluates_keeps_and_stops_as_one_that_was_not_interrupted(tmp_path):
    def callbacks(name):
        # What saves the run stands first, and is called last all the same.
        folder = tmp_path / name
        return [
            SaveEvery(folder / "checkpoints", 40),
            SaveBest(folder / "best", "evaluation/return"),
            EvaluateEvery(40, deterministic=False, file=folder / "evaluations.jsonl"),
            StopWhen("evaluation/return", patience=3, min_delta=0.02),
        ]

    through = learn(callbacks("through"), tokens=2000)
    learn([*callbacks("halves"), StopAfter(120)], tokens=2000)
    resumed = load_algorithm(tmp_path / "halves" / "checkpoints")
    resumed.learn(2000, callback=callbacks("halves"))
    assert 120 < resumed.num_timesteps == through.num_timesteps < 2000
    for name in ("evaluations.jsonl", "best/state.json", "best/state.safetensors"):
        assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
    states = [checkpoint.read(tmp_path / name / "checkpoints")[1]["callbacks"] for name in ("through", "halves")]
    assert states[0] == states[1] and states[0]["StopWhen"]["waited"] == 3


def test_settings_that_could_never_act_stop_at_the_door():
    with pytest.raises(TokenGymError, match=r"would never stop: give reaches=…, patience=…"):
        StopWhen("said")
    for options in ({"patience": 0}, {"reaches": "high"}, {"patience": 2, "min_delta": -1.0}):
        with pytest.raises(TokenGymError):
            StopWhen("said", **options)
    with pytest.raises(TokenGymError, match="timesteps is 0"):
        EvaluateEvery(0)
