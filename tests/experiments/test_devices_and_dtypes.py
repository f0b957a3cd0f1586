"""Device and dtype from the command line and from studies: recorded where they change results, refused at the door."""

import json

import pytest

from tokengym.algorithms import load_algorithm
from tokengym.envs import TokenGymError
from tokengym.experiments import run_study
from tokengym.experiments.commands.main import main
from tokengym.experiments.study import RunFolder, RunSpec, make_algorithm
from tokengym.experiments.study.file import study_from_mapping

LLAMA = "{kind: llama, hidden_size: 16, num_layers: 1, num_heads: 1}"
STUDY = {
    "total_tokens": 64,
    "seeds": [0],
    "evaluation": {"points": 0, "training_episodes": 8, "episodes": 8, "samples": 1},
    "environments": {"Copy": {"agent": {"kind": "llama", "hidden_size": 16, "num_layers": 1, "num_heads": 1}}},
    "algorithms": {"ppo": {"config": {"rollout_tokens": 32}}},
}


def train(*arguments):
    return main(["train", "ppo", "Copy", "--agent", LLAMA, "--total-tokens", "64", "--episodes", "8", *arguments])


def test_train_takes_a_dtype_and_goes_on_with_it(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert train("--dtype", "bfloat16", "--out", out) == 0
    assert RunFolder(tmp_path / "run").recorded().dtype == "bfloat16"
    assert load_algorithm(out).config.ratio_tolerance is None
    assert load_algorithm(out).agent.config()["dtype"] == "bfloat16"
    assert train("--out", out, "--dtype", "float64") != 0
    assert "--dtype is 'float64' (the run's is 'bfloat16')" in " ".join(capsys.readouterr().err.split())
    assert main(["train", "ppo", "Copy", "--out", out, "--resume", "--total-tokens", "96", "--episodes", "8"]) == 0
    assert load_algorithm(out).num_timesteps >= 96
    assert load_algorithm(out).agent.config()["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "cuda:63"], "cuda:63"),
        (["--device", "abacus"], "names none: take 'cpu'"),
        (["--dtype", "float16"], "float32"),
    ],
)
def test_what_is_not_there_is_refused_before_there_is_a_folder(tmp_path, capsys, arguments, told):
    try:
        code = train("--out", str(tmp_path / "run"), *arguments)
    except SystemExit as end:
        code = end.code
    assert code not in (0, None)
    printed = capsys.readouterr()
    assert told in " ".join((printed.out + printed.err).split())
    assert not (tmp_path / "run").exists()


def test_a_study_has_a_device_and_dtypes_and_a_run_only_what_changes_results(tmp_path):
    algorithms = {**STUDY["algorithms"], "half": {"algorithm": "ppo", "dtype": "bfloat16"}}
    study = study_from_mapping({**STUDY, "dtype": "float64", "device": "cpu", "algorithms": algorithms})
    first, second = study.runs()
    assert (first.dtype, second.dtype) == ("float64", "bfloat16")
    assert "device" not in first.to_dict()
    assert RunSpec.from_dict(json.loads(json.dumps(second.to_dict()))) == second
    assert make_algorithm(second).agent.config()["dtype"] == "bfloat16"
    assert run_study(study, tmp_path, workers=1) == 0
    assert load_algorithm(tmp_path / "runs" / "Copy" / "half" / "seed-0").agent.config()["dtype"] == "bfloat16"


def test_a_run_in_float32_has_the_hash_that_it_always_had():
    (spec,) = study_from_mapping(STUDY).runs()
    assert "dtype" not in spec.to_dict()
    assert RunSpec.from_dict(spec.to_dict()) == spec


def test_a_study_refuses_what_is_not_there():
    with pytest.raises(TokenGymError, match=r"dtype.*float16"):
        study_from_mapping({**STUDY, "dtype": "float16"})
    mlp = {**STUDY, "environments": {"Copy": {"agent": "mlp-tiny"}}, "dtype": "bfloat16"}
    with pytest.raises(TokenGymError, match=r"'ppo' on environment 'Copy': dtype is 'bfloat16' and the agent a mlp"):
        study_from_mapping(mlp)


def test_a_study_on_a_device_that_is_not_there_stops_before_its_first_run(tmp_path):
    with pytest.raises(TokenGymError, match=r"Copy/ppo: device is 'cuda:63'"):
        run_study(study_from_mapping({**STUDY, "device": "cuda:63"}), tmp_path, workers=1)
    assert not (tmp_path / "runs").exists()


def test_references_learn_in_float32_alone():
    pytest.importorskip("stable_baselines3")
    study = study_from_mapping({**STUDY, "algorithms": {"sb3-ppo": {"dtype": "bfloat16", "agent": "mlp"}}})
    with pytest.raises(TokenGymError, match="sb3-ppo learns in float32 alone"):
        make_algorithm(study.runs()[0])
