"""An agent named by the folder of a run begins as what learnt there ended."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tokengym import make_task
from tokengym.algorithms import A2C, DQN, PPO, Distill, load_algorithm
from tokengym.algorithms.sb3.algorithm import SB3PPO
from tokengym.envs import Engine, TokenGymError


def said_of(algorithm: Any) -> np.ndarray:
    """What an agent would say next after some prompts."""
    engine = Engine(algorithm.task, 8)
    engine.reset(None, np.arange(8, dtype=np.uint64))
    return algorithm.agent.probabilities(engine.tokens, engine.lengths)


@pytest.fixture(scope="module", params=["mlp-tiny", "gpt2-tiny", "gru-tiny", "table"])
def learnt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    algorithm = PPO("tokengym/Copy-v0", agent=request.param, seed=3)
    algorithm.learn(600)
    folder = tmp_path_factory.mktemp("learnt") / "saved"
    algorithm.save(folder)
    return algorithm, folder


def test_the_policy_is_the_same_bit_for_bit_and_so_is_the_reference(learnt: tuple[Any, Path]):
    begun = A2C("tokengym/Copy-v0", agent=str(learnt[1]), seed=9, kl_coef=0.1)
    assert (said_of(begun) == said_of(learnt[0])).all()
    kept = begun.reference.agent.state_dict()
    begun.learn(200)
    assert (said_of(begun) != said_of(learnt[0])).any()
    assert all(torch.equal(value, kept[name]) for name, value in begun.reference.agent.state_dict().items())


def test_a_head_that_was_there_goes_on_and_another_is_new(learnt: tuple[Any, Path]):
    before = learnt[0].agent.readouts["value"].state_dict()
    begun = PPO("tokengym/Copy-v0", agent=learnt[1], seed=9)
    assert all(torch.equal(value, before[name]) for name, value in begun.agent.readouts["value"].state_dict().items())
    other = DQN("tokengym/Copy-v0", agent=learnt[1], seed=9).agent
    trunk = learnt[0].agent.trunk.state_dict()
    assert "value" not in other.readouts
    assert all(torch.equal(value, trunk[name]) for name, value in other.trunk.state_dict().items())


def test_a_critic_of_its_own_begins_as_a_copy_of_the_policys_trunk(learnt: tuple[Any, Path]):
    agent = PPO("tokengym/Copy-v0", agent=learnt[1], seed=9, separate_critic=True).agent
    if agent.critic_trunk is None:  # a table has entries of its own for each head
        return
    own, copied = agent.trunk.state_dict(), agent.critic_trunk.state_dict()
    assert own.keys() == copied.keys()
    assert all(torch.equal(value, copied[name]) for name, value in own.items())


def test_what_has_begun_so_is_saved_and_loaded_without_the_folder(learnt: tuple[Any, Path], tmp_path: Path):
    begun = A2C("tokengym/Copy-v0", agent=learnt[1], seed=9)
    begun.learn(100)
    begun.save(tmp_path / "saved")
    assert (said_of(load_algorithm(tmp_path / "saved")) == said_of(begun)).all()


def test_a_run_of_other_tokens_or_of_a_shorter_context_is_refused(learnt: tuple[Any, Path]):
    with pytest.raises(TokenGymError, match="learnt another vocabulary"):
        PPO("tokengym/Lattice-v0", agent=learnt[1])
    own = learnt[0].task
    longer = make_task("Copy", gap=40)
    assert longer.vocabulary == own.vocabulary and longer.max_length > own.max_length
    with pytest.raises(TokenGymError, match=r"reads \d+ tokens, and Copy shows up to"):
        PPO(longer, agent=learnt[1])


def test_a_run_of_stable_baselines3_has_no_agent_to_begin_from(tmp_path: Path):
    SB3PPO("Copy", seed=0).save(tmp_path / "theirs")
    for make in (lambda folder: PPO("Copy", folder), lambda folder: Distill("Copy", teacher=folder)):
        with pytest.raises(TokenGymError, match=r"is a run of sb3-ppo, .*bc learns what it says from the recording"):
            make(str(tmp_path / "theirs"))
