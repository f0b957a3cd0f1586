"""Pipelines as files: what they say, what is refused before any time is spent, and that they come back the same."""

from pathlib import Path

import pytest

from tokengym.agents.specs import NAMES
from tokengym.envs import TokenGymError
from tokengym.experiments.rlhf import check_pipeline, find_pipeline, load_pipeline, packaged_pipelines
from tokengym.experiments.rlhf.file import pipeline_from_mapping, pipeline_to_mapping

WHOLE = {
    "name": "whole",
    "seeds": 2,
    "environment": {"id": "Sentiment", "kwargs": {"length": 8}},
    "model": {"kind": "gpt2", "hidden_size": 32},
    "sft": {"updates": 10},
    "comparisons": {"labels": 50, "flips": 0.25},
    "reward_model": {"config": {"members": 2}},
    "methods": {"ppo": {"tokens": 100}, "dpo": {"updates": 10}, "best-of-n": {"n": 4}},
}


def test_a_pipeline_comes_back_from_its_own_mapping():
    pipeline = pipeline_from_mapping(WHOLE)
    assert pipeline.seeds == (0, 1)
    assert pipeline_from_mapping(pipeline_to_mapping(pipeline)) == pipeline


@pytest.mark.parametrize("name", sorted(packaged_pipelines()))
def test_packaged_pipelines_are_in_order(name: str):
    pipeline = load_pipeline(find_pipeline(name))
    if pipeline.model not in NAMES:  # a folder that is made first
        pipeline = pipeline.with_model("gpt2-tiny")
    check_pipeline(pipeline)
    assert pipeline.name == name and pipeline.description


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metods": {}}, "did you mean 'methods'"),
        ({"methods": {}}, "methods is empty"),
        ({"methods": {"ppo": {}}}, "needs one budget"),
        ({"methods": {"ppo": {"tokens": 10, "updates": 10}}}, "needs one budget"),
        ({"methods": {"ppo": {"updates": 10}}}, "ppo has a budget of tokens"),
        ({"methods": {"dpo": {"tokens": 10}}}, "dpo has a budget of updates"),
        ({"methods": {"best": {"algorithm": "best-of-n"}}}, "best-of-n needs n"),
        ({"methods": {"best-of-n": {"n": [4, 2]}}}, "expected numbers that grow"),
        ({"methods": {"before": {"algorithm": "ppo", "tokens": 10}}}, "the name of a stage"),
        ({"methods": {"ppoo": {"tokens": 10}}}, "did you mean 'ppo'"),
        ({"methods": {"ppo": {"tokens": 10, "config": {"kl_coeff": 1}}}}, "did you mean 'kl_coef'"),
        ({"comparisons": {"labels": 0}}, "labels is 0"),
        ({"comparisons": {"labels": 1}}, "buy more"),
        ({"comparisons": {"flips": 0.75}}, "flips is 0.75"),
        ({"comparisons": {"file": "nowhere.jsonl"}}, "there is no such file"),
        ({"comparisons": {"file": "a.jsonl", "labels": 5}}, "has its labels already"),
        ({"comparisons": None}, "there are no comparisons"),
        (
            {"comparisons": None, "reward_model": None, "methods": {"dpo": {"updates": 1}}},
            "dpo learns from comparisons",
        ),
        ({"reward_model": {"path": "nowhere"}}, "there is no such folder"),
        ({"reward_model": {"backbone": "sft"}, "sft": None}, "nothing is tuned"),
        ({"reward_model": {"config": {"member": 2}}}, "did you mean 'members'"),
        ({"reward_model": None}, "best-of-n chooses by a reward model"),
        ({"environment": {"id": "Sentimental"}}, "did you mean 'Sentiment'"),
        ({"model": "gpt3-tiny"}, "did you mean"),
        ({"sft": {"data": "nowhere.jsonl"}}, "there is no such file"),
        ({"seeds": [1_000_003]}, "that of its judgement"),
    ],
)
def test_what_is_wrong_is_refused_before_any_time_is_spent(changes: dict[str, object], message: str):
    with pytest.raises(TokenGymError, match=message):
        check_pipeline(pipeline_from_mapping({**WHOLE, **changes}))


def test_a_pipeline_that_is_nowhere_is_named_with_the_nearest(tmp_path: Path):
    with pytest.raises(TokenGymError, match="did you mean 'sentiment'"):
        find_pipeline("sentimant")
    with pytest.raises(TokenGymError, match="cannot read"):
        load_pipeline(tmp_path / "none.yaml")
