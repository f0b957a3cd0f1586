import numpy as np
import pytest
from episode_cases import random_episodes

from tokengym.algorithms.data.episodes import Episodes, episode_metrics
from tokengym.envs.checking.errors import TokenGymError


@pytest.fixture(params=[False, True], ids=["by episode", "by turn"])
def episodes(request):
    return random_episodes(np.random.default_rng(0), num_episodes=6, by_turn=request.param, with_masks=True)


def test_the_flat_view_holds_the_agents_tokens_in_the_order_of_saying(episodes):
    flat = episodes.flat
    assert len(flat) == episodes.agent_mask.sum() == episodes.num_tokens
    assert (np.diff(flat.episode) >= 0).all()
    np.testing.assert_array_equal(flat.action, episodes.tokens[flat.row, flat.column])
    np.testing.assert_array_equal(flat.reward, episodes.rewards[episodes.agent_mask])
    for episode in range(len(episodes)):
        part = slice(flat.episode_offsets[episode], flat.episode_offsets[episode + 1])
        assert (flat.episode[part] == episode).all()
        assert flat.step[part].tolist() == list(range(part.stop - part.start))
        assert flat.is_last[part].tolist() == [False] * (part.stop - part.start - 1) + [True]
    assert flat.terminated.sum() == episodes.terminated.sum()


def test_returns_and_lengths_count_all_sequences_of_an_episode(episodes):
    for episode in range(len(episodes)):
        rows = episodes.episode_id == episode
        assert episodes.returns[episode] == pytest.approx(episodes.rewards[rows].sum(), abs=1e-5)
        assert episodes.episode_lengths[episode] == episodes.agent_mask[rows].sum()


def test_selecting_and_joining_gives_the_same_episodes_back(episodes):
    parts = [episodes.select([i]) for i in range(len(episodes))]
    joined = Episodes.concat(parts)
    for name in ("lengths", "episode_id", "turn", "terminated", "truncated", "starts", "action_masks"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(episodes, name))
    np.testing.assert_array_equal(joined.flat.action, episodes.flat.action)
    np.testing.assert_array_equal(joined.final_action_masks, episodes.final_action_masks)
    within = np.arange(joined.tokens.shape[1]) < joined.lengths[:, None]
    np.testing.assert_array_equal(joined.tokens[within], episodes.tokens[:, : joined.tokens.shape[1]][within])


def test_selecting_keeps_the_given_order_and_takes_repetitions(episodes):
    chosen = episodes.select([3, 0, 3])
    np.testing.assert_allclose(chosen.returns, episodes.returns[[3, 0, 3]])
    assert chosen.starts.tolist() == episodes.starts[[3, 0, 3]].tolist()
    a, b = (chosen.flat.episode_offsets[i] for i in (0, 1))
    where = slice(*episodes.flat.episode_offsets[3:5])
    np.testing.assert_array_equal(chosen.action_masks[a:b], episodes.action_masks[where])


@pytest.mark.parametrize("indices", [[], [-1], [6], [[0]]])
def test_selecting_what_is_not_there_says_what_is(episodes, indices):
    with pytest.raises(TokenGymError, match=r"0 … 5"):
        episodes.select(indices)


def test_arrays_of_different_shapes_are_refused(episodes):
    with pytest.raises(TokenGymError, match="rewards has the shape"):
        Episodes(**{**{k: v for k, v in vars(episodes).items() if k != "flat"}, "rewards": np.zeros((1, 1))})


def test_masks_are_all_or_none_when_joining():
    rng = np.random.default_rng(0)
    with pytest.raises(TokenGymError, match="action masks"):
        Episodes.concat([random_episodes(rng), random_episodes(rng, with_masks=True)])


def test_metrics_tell_groups_that_teach_nothing():
    episodes = random_episodes(np.random.default_rng(0), num_episodes=4)
    episodes.starts[:] = [5, 5, 9, 9]
    episodes.rewards[:] = 0
    episodes.rewards[0, episodes.flat.column[0]] = 2.0
    metrics = episode_metrics(episodes.select([0, 1, 2, 3]))
    assert metrics["group/zero_std_fraction"] == 0.5
    assert metrics["group/reward_std"] == pytest.approx(0.5)
    assert metrics["episode/return"] == pytest.approx(0.5)
