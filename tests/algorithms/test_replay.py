"""The episode replay: what goes in comes out, draws follow their probabilities, and nothing is lost in a file."""

import numpy as np
import pytest

from tokengym.agents.masks import PackedMasks
from tokengym.algorithms.data.episodes import Episodes
from tokengym.algorithms.data.replay import EpisodeReplay
from tokengym.envs.checking.errors import TokenGymError

PAD = 9


def make_episodes(count, seed, *, num_actions=None, turns=3, longest=6):
    """Random episodes of one or more sequences, with task tokens, ragged lengths, and now and then a truncation."""
    rng = np.random.default_rng(seed)
    rows, episode_id, turn, terminated, truncated = [], [], [], [], []
    for episode in range(count):
        num_turns = int(rng.integers(1, turns + 1))
        cut = bool(rng.random() < 0.3)
        for t in range(num_turns):
            length = int(rng.integers(2, longest + 1))
            spoken = rng.random(length) < 0.5
            spoken[0] = False
            spoken[-1] |= t == 0
            rows.append((rng.integers(0, 8, length), spoken))
            episode_id.append(episode)
            turn.append(t)
            terminated.append(t == num_turns - 1 and not cut)
            truncated.append(t == num_turns - 1 and cut)
    lengths = np.array([len(ids) for ids, _ in rows], np.int32)
    shape = (len(rows), int(lengths.max()))
    tokens, mask = np.full(shape, PAD, np.int32), np.zeros(shape, bool)
    for i, (ids, spoken) in enumerate(rows):
        tokens[i, : len(ids)], mask[i, : len(ids)] = ids, spoken
    total = int(mask.sum())
    return Episodes(
        tokens=tokens,
        lengths=lengths,
        agent_mask=mask,
        rewards=np.where(mask, rng.normal(size=shape), 0).astype(np.float32),
        log_probs=np.where(mask, -rng.random(shape), 0).astype(np.float32),
        episode_id=np.array(episode_id),
        turn=np.array(turn, np.int32),
        terminated=np.array(terminated),
        truncated=np.array(truncated),
        starts=rng.integers(0, 2**64, count, dtype=np.uint64),
        action_masks=None if num_actions is None else rng.random((total, num_actions)) < 0.5,
        final_action_masks=None if num_actions is None else rng.random((count, num_actions)) < 0.5,
        pad=PAD,
    )


def assert_equal(got: Episodes, expected: Episodes):
    for name, value in vars(expected).items():
        if isinstance(value, PackedMasks):
            np.testing.assert_array_equal(getattr(got, name), value, err_msg=name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(got, name), value, err_msg=name)
            assert getattr(got, name).dtype == value.dtype, name
    assert (got.action_masks is None) == (expected.action_masks is None)


@pytest.mark.parametrize("num_actions", [None, 11])
def test_episodes_come_back_as_they_went_in(num_actions):
    replay = EpisodeReplay(1000, PAD, num_actions)
    batches = [make_episodes(13, seed, num_actions=num_actions) for seed in range(9)]
    for batch in batches:
        replay.add(batch)
    everything = Episodes.concat(batches)
    chosen = np.array([100, 3, 3, 57, 0, 116])
    assert len(replay) == 117
    assert replay.num_tokens == everything.num_tokens
    assert_equal(replay.get(chosen), everything.select(chosen))


def test_the_oldest_episodes_go_first_and_the_rest_stays_intact():
    replay = EpisodeReplay(20, PAD, 5)
    batches = [make_episodes(7, seed, num_actions=5) for seed in range(12)]
    for batch in batches:
        replay.add(batch)
    everything = Episodes.concat(batches)
    newest = np.arange(64, 84)
    assert len(replay) == 20
    assert_equal(replay.get(newest), everything.select(newest))
    assert replay.num_tokens == everything.select(newest).num_tokens


def test_a_batch_larger_than_the_replay_leaves_its_newest_episodes():
    replay = EpisodeReplay(4, PAD)
    batch = make_episodes(10, seed=1)
    replay.add(batch)
    assert_equal(replay.get(np.arange(6, 10)), batch.select(np.arange(6, 10)))


@pytest.mark.parametrize("prioritised", ["none", "episode", "token"])
def test_a_token_takes_at_most_32_bytes(prioritised):
    completions = EpisodeReplay(1000, PAD, prioritised=prioritised)
    shortest = EpisodeReplay(1000, PAD, prioritised=prioritised)
    for seed in range(20):
        completions.add(make_episodes(50, seed, turns=1, longest=40))
        shortest.add(make_episodes(50, seed, turns=1, longest=2))
    per_token = completions.nbytes / completions.num_tokens
    assert completions.nbytes_per_token < per_token < 32
    assert shortest.nbytes_per_token <= 32


def test_bytes_are_counted_from_the_columns():
    replay = EpisodeReplay(10, PAD)
    batch = make_episodes(10, seed=0)
    replay.add(batch)
    ids, sequences = int(batch.lengths.sum()), batch.num_sequences
    assert replay.nbytes == 5 * ids + 8 * batch.num_tokens + 8 * sequences + 34 * 10
    assert replay.nbytes_per_token == replay.nbytes / ids


def test_uniform_draws_are_uniform_and_weigh_one():
    replay = EpisodeReplay(8, PAD, seed=3)
    replay.add(make_episodes(12, seed=0))
    sample = replay.sample(8000)
    counts = np.bincount(sample.positions - 4, minlength=8)
    np.testing.assert_allclose(counts / 8000, 1 / 8, atol=4 * np.sqrt(1 / 8 * 7 / 8 / 8000))
    assert (sample.weights == 1).all()
    assert len(sample.weights) == sample.episodes.num_tokens


def test_same_seed_same_draws():
    first, second = EpisodeReplay(50, PAD, seed=5), EpisodeReplay(50, PAD, seed=5)
    for replay in (first, second):
        replay.add(make_episodes(30, seed=0))
    np.testing.assert_array_equal(first.sample(100).positions, second.sample(100).positions)


def prioritised(kind, *, alpha, draws):
    """A replay of 6 episodes whose errors are known, many draws of it, and the batch."""
    replay = EpisodeReplay(10, PAD, prioritised=kind, alpha=alpha, seed=1)
    batch = make_episodes(6, seed=4)
    replay.add(batch)
    errors = np.linspace(0.1, 2.0, batch.num_tokens)
    every = replay.sample(1).__class__(batch, np.ones(batch.num_tokens, np.float32), np.arange(6))
    replay.prioritise(every, -errors)
    return replay, batch, errors, replay.sample(draws, beta=0.5)


def test_episodes_are_drawn_by_the_mix_of_their_largest_and_mean_error():
    alpha = 0.6
    _, batch, errors, sample = prioritised("episode", alpha=alpha, draws=20000)
    of_episode = [errors[batch.flat.episode == e] for e in range(6)]
    priorities = np.array([(0.9 * e.max() + 0.1 * e.mean() + 1e-6) ** alpha for e in of_episode])
    probabilities = priorities / priorities.sum()
    np.testing.assert_allclose(np.bincount(sample.positions) / 20000, probabilities, atol=0.015)
    weights = (6 * probabilities) ** -0.5
    expected = np.repeat((weights / weights.max())[sample.positions], batch.episode_lengths[sample.positions])
    np.testing.assert_allclose(sample.weights, expected, rtol=1e-5)


def test_tokens_are_drawn_by_their_own_errors():
    """The mean of weights · x over many draws is the importance-weighted mean of x under the priorities."""
    alpha, draws = 0.6, 20000
    _, batch, errors, sample = prioritised("token", alpha=alpha, draws=draws)
    priorities = (errors + 1e-6) ** alpha
    probabilities = priorities / priorities.sum()
    importance = (batch.num_tokens * probabilities) ** -0.5
    importance /= importance.max()
    cluster = round(batch.num_tokens / 6)
    token = np.concatenate([np.flatnonzero(batch.flat.episode == e) for e in sample.positions])
    drawn = np.bincount(token, weights=sample.weights / importance[token])
    share = drawn * (draws * cluster / len(token)) / (draws * cluster)
    np.testing.assert_allclose(share, probabilities, atol=0.01)
    assert share.sum() == pytest.approx(1, rel=1e-5)
    assert len(sample.weights) == sample.episodes.num_tokens


@pytest.mark.parametrize("kind", ["episode", "token"])
def test_beta_one_removes_the_bias_of_prioritised_draws(kind):
    replay = EpisodeReplay(10, PAD, prioritised=kind, alpha=1.0, seed=0)
    batch = make_episodes(8, seed=2)
    replay.add(batch)
    rng = np.random.default_rng(0)
    replay.prioritise(replay.sample(1).__class__(batch, np.ones(0), np.arange(8)), rng.random(batch.num_tokens) + 0.1)
    sample = replay.sample(40000, beta=1.0)
    values = sample.episodes.flat.reward
    estimate = (sample.weights * values).sum() / sample.weights.sum()
    assert estimate == pytest.approx(float(batch.flat.reward.mean()), abs=0.02)


@pytest.mark.parametrize("kind", ["episode", "token"])
def test_what_is_new_has_the_largest_priority(kind):
    replay, _, _, _ = prioritised(kind, alpha=1.0, draws=1)
    replay.add(make_episodes(1, seed=9))
    ring = replay._rings["episodes" if kind == "episode" else "tokens"]
    priorities = ring.get("priority")
    assert priorities[-1] == priorities.max() > 1


@pytest.mark.parametrize("kind", ["none", "episode", "token"])
@pytest.mark.parametrize("num_actions", [None, 5])
def test_a_saved_replay_goes_on_as_the_first_would_have(kind, num_actions):
    def used():
        replay = EpisodeReplay(20, PAD, num_actions, prioritised=kind, seed=7)
        for seed in range(5):
            replay.add(make_episodes(9, seed, num_actions=num_actions))
            sample = replay.sample(8, beta=0.4)
            replay.prioritise(sample, np.random.default_rng(seed).normal(size=len(sample.weights)))
        return replay

    first = used()
    second = EpisodeReplay(20, PAD, num_actions, prioritised=kind, seed=0)
    second.load_state_arrays({name: array.copy() for name, array in used().state_arrays().items()})
    for seed in range(5, 9):
        for replay in (first, second):
            replay.add(make_episodes(9, seed, num_actions=num_actions))
        mine, theirs = first.sample(16, beta=0.7), second.sample(16, beta=0.7)
        np.testing.assert_array_equal(mine.positions, theirs.positions)
        np.testing.assert_array_equal(mine.weights, theirs.weights)
        assert_equal(mine.episodes, theirs.episodes)
        for replay in (first, second):
            replay.prioritise(mine, np.arange(len(mine.weights)))


def test_bad_input_stops_at_the_door():
    for arguments in ({"capacity": 0}, {"capacity": 1, "prioritised": "steps"}, {"capacity": 1, "alpha": -1.0}):
        with pytest.raises(TokenGymError):
            EpisodeReplay(pad=PAD, **arguments)
    replay = EpisodeReplay(3, PAD)
    with pytest.raises(TokenGymError, match="empty"):
        replay.sample(1)
    with pytest.raises(TokenGymError, match="masks"):
        replay.add(make_episodes(2, 0, num_actions=4))
    replay.add(make_episodes(5, 0))
    with pytest.raises(TokenGymError, match="count is 0"):
        replay.sample(0)
    with pytest.raises(TokenGymError, match="configuration"):
        EpisodeReplay(3, PAD, prioritised="token").load_state_arrays(replay.state_arrays())
    with pytest.raises(TokenGymError, match="capacity"):
        EpisodeReplay(2, PAD).load_state_arrays(replay.state_arrays())
