"""What `repr` shows of tasks and of what runs them."""

import copy
import pickle

from tokengym.envs.engine import Engine
from tokengym.envs.env import TokenEnv
from tokengym.envs.registration import make_task
from tokengym.envs.vector_env import TokenVectorEnv


def test_a_task_shows_its_arguments_that_are_not_the_defaults():
    assert repr(make_task("Copy")) == "Copy()"
    task = make_task("Copy", k=2)
    assert repr(task) == repr(copy.deepcopy(task)) == repr(pickle.loads(pickle.dumps(task))) == "Copy(k=2)"
    assert repr(make_task("TicTacToe-both")) == "TicTacToe(side='both')"


def test_long_arguments_and_functions_are_named_in_short():
    task = make_task("TextGeneration", prompts=["abc"] * 5, tokenizer={"kind": "bpe"}, reward=len)
    assert "prompts=['abc', 'abc', 'abc', …]" in repr(task) and len(repr(task)) < 200


def test_a_transform_shows_the_task_inside():
    task = make_task("Copy", k=2, transforms=[{"name": "reward_scale", "scale": 2.0}])
    assert repr(task) == "FiniteRewardScale(Copy(k=2), scale=2.0)"


def test_engines_and_environments_show_their_task():
    task = make_task("Copy", k=2)
    assert repr(Engine(task, 8)) == "Engine(Copy(k=2), num_rows=8)"
    assert repr(TokenEnv(task)) == "TokenEnv(Copy(k=2))"
    assert repr(TokenEnv(task, "ansi", True)) == "TokenEnv(Copy(k=2), render_mode='ansi', action_masks=True)"
    assert repr(TokenVectorEnv(3, task)) == "TokenVectorEnv(Copy(k=2), num_envs=3)"
