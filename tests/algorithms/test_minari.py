"""Minari datasets: what goes out comes back, and what was recorded of a Gymnasium environment is written in tokens."""

import warnings

import gymnasium
import numpy as np
import pytest

from tokengym.agents import RandomPlayer
from tokengym.algorithms import BC, EpisodeDataset
from tokengym.algorithms.data import check_minari_id, from_minari, to_minari
from tokengym.algorithms.offline import record
from tokengym.envs import TokenGymError, make_task

minari = pytest.importorskip("minari", reason="Minari is not installed")
pytest.importorskip("h5py", reason="h5py is not installed")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def recorded(name, count=12, **kwargs):
    task = make_task(name, **kwargs)
    return task, EpisodeDataset(record(task, RandomPlayer(task.vocabulary), count, 3)[0], task.vocabulary)


@pytest.mark.parametrize("name", ["Copy", "Dyck", "Lattice", "Nim", "HaggleChat", "FrozenLake", "CartPole"])
def test_what_is_written_comes_back(name):
    task, dataset = recorded(name)
    back = from_minari(to_minari(dataset, f"tokengym/{name}-v0", f"test/{name.lower()}-v0"), task)
    ours, theirs = dataset.episodes, back.episodes
    for field in ("lengths", "turn", "terminated", "truncated", "starts", "episode_id"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)
    np.testing.assert_array_equal(ours.tokens, theirs.tokens)
    np.testing.assert_array_equal(ours.agent_mask, theirs.agent_mask)
    np.testing.assert_allclose(ours.rewards, theirs.rewards, rtol=1e-6)
    np.testing.assert_allclose(ours.log_probs, theirs.log_probs, rtol=1e-6)


def test_minari_makes_the_environment_again_and_its_observations_are_those_of_the_space():
    _, dataset = recorded("Copy", num_tokens=3)
    written = to_minari(
        dataset, gymnasium.make("tokengym/Copy-v0", num_tokens=3), "test/copy-v0", algorithm_name="random"
    )
    env = written.recover_environment()
    assert env.unwrapped.task.num_tokens == 3
    episode = next(iter(written.iterate_episodes()))
    for step in range(len(episode)):
        assert env.observation_space.contains({name: column[step] for name, column in episode.observations.items()})
    assert minari.load_dataset("test/copy-v0").total_episodes == 12


def test_an_id_and_a_folder_are_read_and_an_algorithm_learns_from_it(tmp_path):
    task, dataset = recorded("Copy", 64)
    to_minari(dataset, "tokengym/Copy-v0", "test/copy-v0")
    by_id = from_minari("test/copy-v0", task)
    by_folder = from_minari(tmp_path / "minari" / "test" / "copy-v0", task)
    assert np.array_equal(by_id.episodes.tokens, by_folder.episodes.tokens) and by_id.about == {
        "minari": "test/copy-v0"
    }
    learnt = BC("Copy", dataset=by_id, seed=0).learn(3)
    assert learnt.num_updates == 3


def frozen_lake(episodes=6):
    """Episodes of Gymnasium's own environment, as a stranger records them."""
    env = gymnasium.make("FrozenLake-v1", max_episode_steps=5)
    buffers = []
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        seen, done, said, paid, ends, cuts = [observation], False, [], [], [], []
        while not done:
            said.append(env.action_space.sample())
            observation, reward, terminated, truncated, _ = env.step(said[-1])
            seen.append(observation)
            paid.append(float(reward))
            ends.append(terminated)
            cuts.append(truncated)
            done = terminated or truncated
        kind = minari.data_collector.EpisodeBuffer
        buffers.append(kind(None, None, None, seen, said, paid, ends, cuts, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it has no author
        return minari.create_dataset_from_buffers("test/lake-v0", buffers, env=env), buffers


def test_a_strangers_dataset_is_written_in_the_tokens_of_the_task_that_writes_its_environment():
    written, buffers = frozen_lake()
    task = make_task("Gym", env_id="FrozenLake-v1")
    episodes = from_minari(written, task).episodes
    assert len(episodes) == len(buffers)
    np.testing.assert_allclose(episodes.returns, [sum(buffer.rewards) for buffer in buffers])
    np.testing.assert_array_equal(episodes.flat.action, np.concatenate([buffer.actions for buffer in buffers]))
    numbers = task.read_observations(episodes.tokens[:, 1 : task.max_length - task.max_turn_tokens])
    shown = [seen for buffer in buffers for seen in buffer.observations[: -1 if buffer.terminations[-1] else None]]
    np.testing.assert_array_equal(numbers[:, 0], shown)
    assert {bool(cut) for cut in episodes.truncated[episodes.last_sequences]} == {True, False}


def test_what_does_not_fit_is_refused():
    task, dataset = recorded("Copy")
    written = to_minari(dataset, "tokengym/Copy-v0", "test/copy-v0")
    for other in (make_task("Copy", num_tokens=2), make_task("Nim")):  # fewer tokens, and more, that mean others
        with pytest.raises(TokenGymError, match=r"is of another vocabulary: its environment has .* Read it for"):
            from_minari(written, other)
    for name in ("copy", "copy/random", "", "a b-v0"):
        with pytest.raises(TokenGymError, match=r"the id of a Minari dataset is .*; expected .*'copy/expert-v0'"):
            to_minari(dataset, "tokengym/Copy-v0", name)
    with pytest.raises(TokenGymError, match="there is no Minari dataset 'test/other-v0'"):
        from_minari("test/other-v0", task)
    with pytest.raises(TokenGymError, match="is a Minari dataset 'test/copy-v0' already: take another"):
        to_minari(dataset, "tokengym/Copy-v0", "test/copy-v0")
    with pytest.raises(TokenGymError, match="another vocabulary"):
        to_minari(dataset, "tokengym/Dyck-v0", "test/dyck-v0")
    with pytest.raises(TokenGymError, match="expected a token environment"):
        to_minari(dataset, "CartPole-v1", "test/pole-v0")
    lake, _ = frozen_lake()
    with pytest.raises(TokenGymError, match="expected 'tokens' and 'length', or a task that writes"):
        from_minari(lake, task)


def test_what_minari_refuses_leaves_nothing_behind_and_is_known_before_anything_is_played(tmp_path):
    _, dataset = recorded("Copy")
    with pytest.raises(TokenGymError, match=r"Minari refuses 't/copy-v0': Malformed"):  # a namespace of one letter
        check_minari_id("t/copy-v0")
    with pytest.raises(TokenGymError, match="Minari refuses 'test/copy-v0'"):
        to_minari(dataset, "tokengym/Copy-v0", "test/copy-v0", no_such_field=1)
    assert to_minari(dataset, "tokengym/Copy-v0", "test/copy-v0").total_episodes == 12


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_file_that_is_cut_short_is_called_broken(share, tmp_path):
    task, dataset = recorded("Copy")
    to_minari(dataset, "tokengym/Copy-v0", "test/copy-v0")
    (file,) = (tmp_path / "minari" / "test" / "copy-v0").rglob("*.hdf5")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(TokenGymError, match="Minari dataset 'test/copy-v0' is broken"):
        from_minari("test/copy-v0", task)


def test_legal_tokens_do_not_go_out_in_silence():
    task = make_task("Nim")
    episodes, _ = record(task, RandomPlayer(task.vocabulary), 4, 3, action_masks=True)
    with pytest.warns(RuntimeWarning, match="holds which tokens were legal, and 'test/nim-v0' will not"):
        to_minari(EpisodeDataset(episodes, task.vocabulary), "tokengym/Nim-v0", "test/nim-v0")
