"""From data to play: a replay that begins with recorded episodes, and weights that go on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tokengym.agents import OptimalPlayer, RandomPlayer
from tokengym.agents.masks import PackedMasks
from tokengym.algorithms import BC, DQN, PPO, SAC, EpisodeDataset, StopAfter, load_algorithm
from tokengym.algorithms.offline import record
from tokengym.envs import TokenGymError, make_task

QUICK = {"learning_starts": 0, "rollout_tokens": 32, "num_rows": 8, "batch_episodes": 8, "updates_per_collection": 1}


def a_file(folder, task, count=24):
    episodes, _ = record(task, OptimalPlayer(task), count, 5)
    EpisodeDataset(episodes, task.vocabulary).save(folder / "data.safetensors")
    return str(folder / "data.safetensors"), episodes


@pytest.mark.parametrize("kind", [DQN, SAC])
def test_a_replay_begins_with_the_data_and_a_checkpoint_goes_on_without_their_file(kind, tmp_path):
    task = make_task("Copy", num_tokens=3)
    path, recorded = a_file(tmp_path, task)
    through = kind(task, "mlp-tiny", seed=0, data=path, **QUICK).learn(128)
    halfway = kind(task, "mlp-tiny", seed=0, data=path, **QUICK).learn(128, callback=StopAfter(64))
    held = halfway.replay.sample(8).episodes  # drawn from what was recorded and what was played
    assert len(halfway.replay) == len(recorded) + halfway.num_episodes and len(held) == 8
    halfway = kind(task, "mlp-tiny", seed=0, data=path, **QUICK).learn(128, callback=StopAfter(64))
    halfway.save(tmp_path / "half")
    (tmp_path / "data.safetensors").unlink()
    resumed = load_algorithm(tmp_path / "half", env=task).learn(128)
    for ours, theirs in zip(through.agent.parameters(), resumed.agent.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_tokens_of_the_data_are_not_asked_of_the_environment():
    algorithm = DQN("Copy", "mlp-tiny", seed=0, **QUICK)
    episodes, _ = record(algorithm.task, OptimalPlayer(algorithm.task), 24, 5)
    algorithm.remember(episodes)
    algorithm.learn(32)
    assert len(algorithm.replay) == 24 + algorithm.num_episodes and algorithm.num_timesteps < 24 * 6


def test_good_data_teach_what_play_does_not_find(tmp_path):
    """The lock's code is said in the data, and hardly ever by chance."""
    task = make_task("Lock", length=8)
    path, _ = a_file(tmp_path, task, 8)
    given = {**QUICK, "updates_per_collection": 8, "final_epsilon": 0.0, "epsilon": 0.0, "learning_rate": 0.1}
    returns = []
    for more in ({"data": path}, {}):
        learnt = DQN(task, "table", seed=0, **given, **more).learn(2_000)
        returns.append(float(learnt.collect().returns.max()))
    assert returns[0] == pytest.approx(1.0, abs=0.05) and returns[1] < 0.5


def test_a_cloned_policy_goes_on_from_the_folder_of_its_run(tmp_path):
    clone = BC("Copy", "mlp-tiny", seed=0, demonstrations=64).learn(40)
    clone.save(tmp_path / "clone")
    online = PPO("Copy", str(tmp_path / "clone"), seed=0)
    for ours, theirs in zip(clone.agent.trunk.parameters(), online.agent.trunk.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(
        clone.agent.readouts["policy"].parameters(), online.agent.readouts["policy"].parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_what_does_not_fit_is_named(tmp_path):
    path, episodes = a_file(tmp_path, make_task("Copy", num_tokens=3))
    with pytest.raises(TokenGymError, match="another vocabulary"):
        DQN("Copy", "mlp-tiny", data=path, **QUICK).learn(32)
    with pytest.raises(TokenGymError, match="replay_capacity is 8, and 24 episodes are to be remembered"):
        DQN(make_task("Copy", num_tokens=3), "mlp-tiny", replay_capacity=8, **QUICK).remember(episodes)
    for wrong, says in (
        ("texts.jsonl", "is meant as texts"),
        ("minari:copy/expert-v0", r"from_minari\('copy/expert-v0'"),
    ):
        with pytest.raises(TokenGymError, match=says):
            DQN("Copy", "mlp-tiny", data=wrong, **QUICK).learn(32)
    with pytest.raises(TokenGymError, match=r"nowhere\.safetensors"):
        DQN("Copy", "mlp-tiny", data=str(tmp_path / "nowhere.safetensors"), **QUICK).learn(32)


@pytest.mark.parametrize("kind", [DQN, SAC])
def test_what_is_given_to_be_remembered_is_looked_at_before_anything_is_kept(kind):
    algorithm = kind("KLTree", "mlp-tiny", seed=0, **QUICK)
    episodes, _ = record(algorithm.task, RandomPlayer(algorithm.task.vocabulary), 8, 5)
    dataset = EpisodeDataset(episodes, algorithm.task.vocabulary)
    for wrong in (dataset, "data.safetensors"):
        with pytest.raises(TokenGymError, match=r"expected Episodes.*the `episodes` of an EpisodeDataset"):
            algorithm.remember(wrong)
    other = make_task("Nim")
    with pytest.raises(TokenGymError, match=r"of another vocabulary.*'KLTree' has 6, of which 4 are said"):
        algorithm.remember(record(other, RandomPlayer(other.vocabulary), 8, 5)[0])
    longer = make_task("KLTree", depth=8)
    with pytest.raises(TokenGymError, match=r"up to 9 tokens, and the context of 'KLTree'.*holds 5"):
        algorithm.remember(record(longer, RandomPlayer(longer.vocabulary), 8, 5)[0])
    broken = episodes.select(np.arange(8))
    broken.rewards[broken.agent_mask] = np.nan
    with pytest.raises(TokenGymError, match="holds a reward that is nan"):
        algorithm.remember(broken)
    assert not len(algorithm.replay)
    algorithm.remember(dataset.episodes)
    assert len(algorithm.replay) == 8


@pytest.mark.parametrize("kind", [DQN, SAC])
def test_what_is_refused_is_not_counted_and_masks_that_nobody_asks_for_are_left_out(kind):
    task = make_task("Nim")
    masked, _ = record(task, RandomPlayer(task.vocabulary), 12, 5, action_masks=True)
    open_ones = replace(masked, action_masks=None, final_action_masks=None)
    silent = replace(open_ones, agent_mask=open_ones.agent_mask & (open_ones.episode_id > 0)[:, None])
    legal = np.asarray(masked.action_masks).copy()
    legal[3, masked.flat.action[3]] = False
    forbidden = replace(masked, action_masks=PackedMasks.pack(legal))
    for masks, wrong, says in (
        (False, silent, "in 1 of 12 episodes the agent says nothing"),
        (True, open_ones, "action_masks is True, and the episodes hold no masks"),
        (True, forbidden, r"hold 1 of \d+ tokens that their own action masks forbid \(the first is token 3"),
    ):
        algorithm = kind(task, "mlp-tiny", seed=0, count_bonus=0.1, action_masks=masks, **QUICK)
        with pytest.raises(TokenGymError, match=says):
            algorithm.remember(wrong)
        assert not len(algorithm.replay) and not len(algorithm.visits) and not algorithm.return_scale.count
        algorithm.remember(masked)
        assert len(algorithm.replay) == 12 and int(algorithm.visits.counts.sum()) == masked.num_tokens
