"""Studies: what a YAML file may say, what it becomes, and what is refused."""

from pathlib import Path

import pytest

from tokengym.algorithms.registry import ALGORITHMS
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.registration import check_task, list_ids
from tokengym.experiments.study.file import load_study, study_from_mapping, study_to_mapping
from tokengym.experiments.study.spec import RunSpec
from tokengym.experiments.study.yaml_text import read_yaml, write_yaml

STUDIES = sorted((Path(__file__).parents[2] / "experiments" / "studies").glob("*.yaml"))


PPO = {"ppo": {}}


def small(**changes):
    return {
        "name": "small",
        "total_tokens": 100,
        "seeds": [3, 4],
        "environments": {"Copy": {}, "Lattice": {"total_tokens": 500}},
        "algorithms": {
            "ppo": {"config": {"learning_rate": 0.001}, "overrides": {"Lattice": {"learning_rate": 0.01}}},
            "dqn": {"environments": ["Copy"]},
        },
        **changes,
    }


def test_a_study_is_the_product_of_environments_algorithms_and_seeds():
    runs = study_from_mapping(small()).runs()
    assert [run.name for run in runs] == [
        "Copy/ppo/seed-3",
        "Copy/dqn/seed-3",
        "Lattice/ppo/seed-3",
        "Copy/ppo/seed-4",
        "Copy/dqn/seed-4",
        "Lattice/ppo/seed-4",
    ]


def test_overrides_apply_on_their_environment_only():
    by_name = {run.name: run for run in study_from_mapping(small()).runs()}
    assert by_name["Copy/ppo/seed-3"].config == {"learning_rate": 0.001}
    assert by_name["Lattice/ppo/seed-3"].config == {"learning_rate": 0.01}


def test_all_algorithms_have_the_budget_of_the_environment():
    budgets = {(run.environment, run.total_tokens) for run in study_from_mapping(small()).runs()}
    assert budgets == {("Copy", 100), ("Lattice", 500)}


def test_seeds_and_budget_can_be_changed_for_all():
    study = study_from_mapping(small()).with_changes(seeds=[9], total_tokens=50)
    assert {(run.seed, run.total_tokens) for run in study.runs()} == {(9, 50)}


def test_a_negative_seed_given_instead_of_the_studys_is_refused():
    with pytest.raises(TokenGymError, match=r"seeds\[0\] is -1; expected a whole number of at least 0"):
        study_from_mapping(small()).with_changes(seeds=[-1])


def test_a_number_of_seeds_stands_for_the_first_ones():
    assert study_from_mapping(small(seeds=3)).seeds == (0, 1, 2)


def test_an_environment_with_beta_is_scored_by_sampled_play_and_others_by_greedy():
    runs = study_from_mapping(small(environments={"Copy": {}, "Lattice": {"beta": 0.2}})).runs()
    assert {run.environment: run.score_by for run in runs} == {"Copy": "greedy", "Lattice": "sampled"}


def test_a_run_survives_its_dictionary_and_its_hash_tells_runs_apart():
    runs = study_from_mapping(small()).runs()
    assert [RunSpec.from_dict(run.to_dict()) for run in runs] == runs
    assert len({run.hash for run in runs}) == len(runs)


def test_a_study_survives_its_mapping():
    study = study_from_mapping(small(evaluation={"points": 4}))
    assert study_from_mapping(read_yaml(write_yaml(study_to_mapping(study)), "study")) == study


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "total_tokens: 10\nenvironments: {Copy: }\nalgorithms: {ppo: {config: {a: 1e-3, b: -2E+4, c: 1.5e3}}}\n"
    )
    assert load_study(path, check=False).algorithms[0].config == {"a": 0.001, "b": -20000.0, "c": 1500.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_token": 5}, "unknown key of study 'total_token'.*'total_tokens'"),
        ({"evaluation": {"episode": 5}}, "unknown key of evaluation 'episode'.*'episodes'"),
        ({"environments": {"Copy": {"arg": 1}}}, "unknown key of environment 'Copy' 'arg'"),
        (
            {"algorithms": {"ppo": {"overrides": {"Lattic": {}}}}},
            "unknown environment of algorithm 'ppo' 'Lattic'.*'Lattice'",
        ),
        ({"total_tokens": 0}, "'Copy' has no budget"),
        ({"environments": {"Copy": {"total_tokens": -5}}}, "total_tokens is -5; expected a whole number of at least 0"),
        ({"total_tokens": "many"}, "total_tokens is 'many'; expected a whole number"),
        ({"seeds": [1, 1]}, "repeats a seed"),
        ({"seeds": []}, "at least one environment, one algorithm and one seed"),
        ({"seeds": 0}, "seeds: 0 stands for the first 0 seeds; give 1 to 10,000"),
        ({"seeds": -3}, "give 1 to 10,000"),
        ({"seeds": 10**9}, "give 1 to 10,000"),
        ({"seeds": list(range(10_001))}, "has 10,001 seeds; give at most 10,000"),
        ({"seeds": [2**63]}, r"seeds\[0\] is 9223372036854775808; expected a whole number of at least 0 and at most"),
        ({"environments": {}}, "at least one environment"),
        ({"environments": None}, "at least one environment"),
        ({"algorithms": {}}, "at least one environment, one algorithm"),
        ({"algorithms": {"ppo": {"environments": []}}}, "'ppo' has no environment to run on"),
        ({"algorithms": {"ppo": {"environments": ["Copy"]}}}, "no algorithm runs on environment 'Lattice'"),
        ({"environments": {2048: {}}}, "the environment name 2048 is no text; write it in quotes: '2048'"),
        ({"algorithms": {None: {}}}, "the algorithm name None is no text"),
        ({"seeds": [-1]}, "whole numbers from 0 on"),
        ({"evaluation": {"seed": 3}}, "3 is a training seed and the evaluation seed"),
        ({"evaluation": {"episodes": 0}}, "evaluation: episodes is 0; expected a whole number within 1"),
        ({"environments": {"a/b": {}}}, "the environment name 'a/b' becomes a folder"),
        ({"environments": {"Copy": {"beta": 0}}}, "beta is 0; expected None or a number above 0"),
        ({"environments": {"Copy": {"score": "best"}}}, "score is 'best'; expected None or 'greedy' or 'sampled'"),
        ({"algorithms": []}, "algorithms must be a mapping"),
        ({"algorithms": {"ppo": {"environments": "Copy"}}}, r"must be a list of names, got 'Copy'; write \[Copy\]"),
        ({"algorithms": {"ppo": {"environments": 3}}}, "must be a list of names, got 3"),
    ],
)
def test_a_wrong_study_is_refused_with_the_value_and_what_was_expected(changes, message):
    with pytest.raises(TokenGymError, match=message):
        study_from_mapping(small(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithms": {"nope": {}}}, "algorithm 'nope': unknown algorithm 'nope'"),
        (
            {"algorithms": {"mine": {"algorithm": "dqm"}}},
            "algorithm 'mine': unknown algorithm 'dqm': did you mean 'dqn'",
        ),
        (
            {"algorithms": {"ppo": {"config": {"epochs": 1.5}}}},
            "algorithm 'ppo': epochs is 1.5; expected a whole number",
        ),
        ({"algorithms": {"ppo": {"config": {"lr": 1}}}}, "algorithm 'ppo': unknown PPOConfig field 'lr'"),
        (
            {"algorithms": {"ppo": {"config": {"whiten_advantages": "false"}}}},
            "is 'false'; expected None or True or False",
        ),
        ({"algorithms": {"ppo": {"config": {"rollout_tokens": 1e308}}}}, "rollout_tokens is 1e.308"),
        (
            {"algorithms": {"ppo": {"overrides": {"Copy": {"epochs": 0}}}}},
            "algorithm 'ppo' on environment 'Copy': epochs is 0; expected a whole number",
        ),
        (
            {"algorithms": {"ppo": {}, "dqn": {"environments": ["Copy"], "overrides": {"Lattice": {"x": 1}}}}},
            "algorithm 'dqn' on environment 'Lattice': unknown DQNConfig field 'x'",
        ),
        ({"environments": {"Nowhere": {}}}, "environment 'Nowhere': unknown environment 'Nowhere'"),
        ({"environments": {"Copi": {}}}, "unknown environment 'Copi': did you mean .*'Copy'"),
        ({"environments": {"Copi": {"id": "Copi"}}}, "unknown environment 'Copi': did you mean .*'Copy'"),
        (
            {"environments": {"Copy": {"kwargs": {"num_token": 3}}}},
            "unknown argument .*'num_token': did you mean 'num_t",
        ),
        ({"environments": {"Copy": {"kwargs": {"num_tokens": "x"}}}}, "environment 'Copy': num_tokens='x' is not"),
        ({"environments": {"Copy": {"kwargs": {"num_tokens": True}}}}, "environment 'Copy': num_tokens=True is not"),
        (
            {"environments": {"DelayChain": {"kwargs": {"delays": [1, "x"]}}}},
            r"environment 'DelayChain': delays\[1\]='x' is not a whole number",
        ),
        ({"environments": {"Copy": {"kwargs": {"transforms": [{"name": "time_limt"}]}}}}, "'time_limit'"),
        (
            {"environments": {"Copy": {"kwargs": {"transforms": [{"name": "time_limit", "max_tokens": "9"}]}}}},
            "environment 'Copy': time_limit: max_tokens='9' is not",
        ),
        ({"environments": {"Copy": {"agent": "gpt9"}}}, "environment 'Copy': unknown agent 'gpt9'"),
        ({"environments": {"Copy": {"agent": 3}}}, "environment 'Copy': agent is 3; expected .*gpt2-tiny"),
        ({"environments": {"Copy": {"agent": {"kind": "gpt2", "num_layers": -1}}}}, "num_layers is -1"),
        ({"algorithms": {"ppo": {"agent": {"kind": "x"}}}}, "algorithm 'ppo': unknown kind of agent 'x'"),
        ({"algorithms": {"ppo": {"agent": "mlp"}}}, "algorithm 'ppo': unknown agent 'mlp'"),
        (
            {"environments": {"Copy": {"agent": "mlp"}}, "algorithms": {"sb3-ppo": {}, "ppo": {}}},
            "algorithm 'ppo' on environment 'Copy': unknown agent 'mlp'",
        ),
        ({"algorithms": {"ppo": {}, "dqn": {"environments": ["Copy", "Copy"]}}}, "names the environment 'Copy' twice"),
    ],
)
def test_what_a_study_names_is_checked_when_it_is_read(changes, message):
    algorithms = {"algorithms": {"ppo": {}}} if "environments" in changes else {}
    with pytest.raises(TokenGymError, match=message):
        study_from_mapping({**small(**algorithms), **changes})


@pytest.mark.parametrize("name", list_ids())
def test_every_environment_is_right_as_it_is_and_refuses_an_argument_that_it_does_not_take(name):
    check_task(name)
    with pytest.raises(TokenGymError, match="unknown argument"):
        check_task(name, no_such_argument=1)


def test_a_module_of_the_user_is_left_to_the_jobs_that_a_time_limit_holds(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    study = study_from_mapping(small(environments={"Slow": {"id": "slow_to_import:tokengym/Slow-v0"}}, algorithms=PPO))
    assert study.runs()[0].env_id == "slow_to_import:tokengym/Slow-v0"


def test_a_study_that_was_run_elsewhere_is_read_without_what_it_names(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("total_tokens: 9\nenvironments: {Copy: {agent: models/mine}}\nalgorithms: {ppo: }\n")
    with pytest.raises(TokenGymError, match=r"s\.yaml: environment 'Copy': unknown agent 'models/mine'"):
        load_study(path)
    assert load_study(path, check=False).environments[0].agent == "models/mine"


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(TokenGymError, match=r"cannot read study .*none\.yaml"):
        load_study(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(TokenGymError, match=r"bad\.yaml.*not valid YAML"):
        load_study(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# nothing yet\n", "is empty"),
        (b"- a\n", "must be a mapping of keys to values"),
        (b"\xff\xfea\x00", "is not UTF-8 text"),
        (b"seeds: [0]\nalgorithms: {ppo: {}}\nseeds: [1]\n", "line 3, column 1: the key 'seeds' stands there twice"),
        (b"algorithms:\n  ppo: {}\n  ppo: {config: {}}\n", "line 3, column 3: the key 'ppo' stands there twice"),
        (b"environments: {Copy: {kwargs: {1: 2}}}\nalgorithms: {ppo: }\n", "has the key 1; keys are texts"),
        (b"1: 2\n", "unknown key of study '1'"),
        (b"total_tokens: 1_000\n", "total_tokens is '1_000'; expected a whole number"),
        (b"seeds: [2024-01-01]\n", "must be a number of seeds or a list of whole numbers"),
    ],
)
def test_a_file_that_is_no_study_is_named_with_what_is_wrong(content, message, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(TokenGymError, match=rf"bad\.yaml.*{message}"):
        load_study(path)


def test_a_number_with_leading_zeros_is_decimal(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("total_tokens: 01000\nenvironments: {Copy: }\nalgorithms: {ppo: }\n")
    assert load_study(path).total_tokens == 1000


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_committed_studies_ask_only_for_what_is_there(path):
    for run in load_study(path).runs():
        assert run.env_id in list_ids()
        ALGORITHMS[run.algorithm].Config().replace(**run.config)
