"""Datasets of episodes: written, read, refused, drawn from and learnt from."""

import itertools
import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from episode_cases import random_episodes
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from tokengym.agents.masks import PackedMasks
from tokengym.algorithms import (
    A2C,
    ALGORITHMS,
    DQN,
    PPO,
    Algorithm,
    EpisodeDataset,
    Episodes,
    RecordEpisodes,
    SaveEvery,
    StopAfter,
)
from tokengym.algorithms.data import Batch, BrokenDatasetError, EpisodeOrder, columns_of
from tokengym.algorithms.parts import Loss
from tokengym.envs import TokenGymError, Vocabulary

VOCABULARY = Vocabulary(("a", "b", "c", "d", "<bos>", "<pad>"), num_actions=4, bos=4, pad=5, eos=3)


def some_episodes(seed=0, **options):
    """Random episodes, padded as an engine pads them."""
    episodes = random_episodes(np.random.default_rng(seed), **{"num_episodes": 6, **options})
    shown = np.arange(episodes.tokens.shape[1]) < episodes.lengths[:, None]
    gold = np.where(episodes.flat.is_last, episodes.flat.reward, np.float32("nan"))
    tokens = np.where(shown, episodes.tokens, 5).astype(np.int32)
    return replace(episodes, tokens=tokens, pad=5, extras={"gold": gold, "a/b": episodes.flat.log_prob})


def assert_same(left: Episodes, right: Episodes):
    for field in fields(Episodes):
        ours, theirs = getattr(left, field.name), getattr(right, field.name)
        if isinstance(ours, dict):
            assert ours.keys() == theirs.keys()
            assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)
        elif isinstance(ours, PackedMasks):
            assert torch.equal(ours.bits, theirs.bits) and ours.num_actions == theirs.num_actions
        elif isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans(), st.integers(1, 8))
def test_what_is_saved_is_read_back_to_the_bit(tmp_path_factory, seed, by_turn, with_masks, count):
    episodes = some_episodes(seed, by_turn=by_turn, with_masks=with_masks, num_episodes=count)
    path = tmp_path_factory.mktemp("data") / "episodes.safetensors"
    EpisodeDataset(episodes, VOCABULARY, about={"seed": seed}).save(path)
    read = EpisodeDataset.load(path, VOCABULARY)
    assert_same(read.episodes, episodes)
    assert read.vocabulary == VOCABULARY and read.about == {"seed": seed}
    assert [child.name for child in path.parent.iterdir()] == [path.name]


def test_rewards_that_are_not_finite_or_negative_zero_keep_their_bits(tmp_path):
    episodes = some_episodes()
    rewards = episodes.rewards.copy()
    row, column = episodes.flat.row, episodes.flat.column
    rewards[row[:4], column[:4]] = [-0.0, 1e-45, np.inf, np.float32(0.1)]
    EpisodeDataset(replace(episodes, rewards=rewards), VOCABULARY).save(tmp_path / "e")
    assert EpisodeDataset.load(tmp_path / "e").episodes.rewards.tobytes() == rewards.tobytes()


def test_every_cut_and_every_changed_byte_is_noticed(tmp_path):
    path, episodes = tmp_path / "episodes.safetensors", some_episodes(num_episodes=2, with_masks=True)
    EpisodeDataset(episodes, VOCABULARY, about={"seed": 3}).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for size in [0, 1, 8, *rng.integers(9, len(whole), 40).tolist()]:
        path.write_bytes(whole[:size])
        with pytest.raises(BrokenDatasetError, match=r"episodes\.safetensors"):
            EpisodeDataset.load(path)
    unnoticed = 0
    for place in rng.integers(0, len(whole), 200).tolist():
        altered = bytearray(whole)
        altered[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(altered))
        try:
            read = EpisodeDataset.load(path)
        except BrokenDatasetError:
            continue
        unnoticed += 1  # a blank of the header, say
        assert read.about == {"seed": 3} and read.vocabulary == VOCABULARY
        assert_same(read.episodes, episodes)
    assert unnoticed < 10


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x04K\x01.", b"{}" * 100])
def test_what_is_no_dataset_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BrokenDatasetError):
        EpisodeDataset.load(tmp_path / "x")


def test_other_safetensors_files_folders_and_nothing_are_refused(tmp_path):
    save_file({"weight": np.zeros(3)}, tmp_path / "model")
    with pytest.raises(BrokenDatasetError, match="no file of episodes"):
        EpisodeDataset.load(tmp_path / "model")
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(TokenGymError, match="There is no dataset"):
            EpisodeDataset.load(path)


def rewritten(path, **changes):
    """The file with other columns, and a hash that fits them: what a stranger may send."""
    from tokengym.algorithms.data import episode_file

    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["tokengym"])
        columns = {name: file.get_tensor(name) for name in file.keys()}
    columns = {name: value for name, value in (columns | changes).items() if value is not None}
    header = {name: value for name, value in header.items() if name not in ("format", "sha256")}
    episode_file.write_file(path, columns, header)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": None}, "missing or unknown: rewards"),
        ({"more": np.zeros(1)}, "missing or unknown: more"),
        ({"lengths": np.zeros(6, np.int32)}, "every sequence has a token"),
        ({"lengths": np.zeros(6, np.int64)}, "lengths is of type int64"),
        ({"sequences": np.full(6, 2, np.int32)}, "there are 6 sequences, and the episodes have 12"),
        ({"tokens": np.zeros(3, np.int32)}, "tokens has the shape"),
        ({"rewards": np.zeros(2, np.float32)}, "rewards has the shape"),
        ({"extras/gold": np.zeros(2, np.float32)}, "extras/gold has the shape"),
        ({"extras/gold": np.zeros(2)}, "extras/gold is of type float64"),
        ({"starts": np.zeros(9, np.uint64)}, "starts has the shape"),
        ({"action_masks": np.zeros((1, 9), np.uint8)}, "action_masks has the shape"),
    ],
)
def test_columns_that_do_not_fit_together_are_refused_though_sealed(tmp_path, changes, message):
    path = tmp_path / "e"
    EpisodeDataset(some_episodes(), VOCABULARY).save(path)
    rewritten(path, **changes)
    with pytest.raises(BrokenDatasetError, match=message):
        EpisodeDataset.load(path)


@pytest.mark.parametrize(("place", "message"), [(0, "tokens lie outside 0 … 5"), (1, "the agent's lie outside 0 … 3")])
def test_ids_outside_the_vocabulary_are_refused(tmp_path, place, message):
    path, episodes = tmp_path / "e", some_episodes()
    EpisodeDataset(episodes, VOCABULARY).save(path)
    columns = columns_of(episodes)
    said = np.unpackbits(columns["agent_mask"], count=len(columns["tokens"])).astype(bool)
    tokens = columns["tokens"].copy()
    tokens[np.flatnonzero(said)[0] if place else 0] = 5 if place else 6
    rewritten(path, tokens=tokens)
    with pytest.raises(BrokenDatasetError, match=message):
        EpisodeDataset.load(path)
    with pytest.raises(TokenGymError, match="give the vocabulary under which they were played"):
        EpisodeDataset(episodes, Vocabulary(("a", "<bos>", "<pad>"), 1, 1, 2))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Vocabulary(("a", "b", "c", "d", "e", "<bos>", "<pad>"), 4, 5, 6), "it has 6 tokens, not 7"),
        (Vocabulary(("a", "x", "c", "d", "<bos>", "<pad>"), 4, 4, 5, 3), "its token 1 is 'b', not 'x'"),
        (Vocabulary(VOCABULARY.tokens, 5, 4, 5, 3), "its num_actions is 4, not 5"),
        (Vocabulary(VOCABULARY.tokens, 4, 4, 5, None), "its eos is 3, not None"),
    ],
)
def test_a_dataset_of_another_vocabulary_is_refused_with_what_differs(tmp_path, other, message):
    EpisodeDataset(some_episodes(), VOCABULARY).save(tmp_path / "e")
    with pytest.raises(TokenGymError, match=f"of another vocabulary: {message}"):
        EpisodeDataset.load(tmp_path / "e", other)
    with pytest.raises(TokenGymError, match="dataset 2 of 2 is of another vocabulary"):
        EpisodeDataset.concat([EpisodeDataset(some_episodes(), each) for each in (VOCABULARY, other)])


def test_datasets_are_selected_filtered_and_joined():
    dataset = EpisodeDataset(some_episodes(with_masks=True), VOCABULARY)
    kept = dataset.filter(lambda episodes: episodes.returns > 0)
    assert 0 < len(kept) < len(dataset) and (kept.episodes.returns > 0).all()
    rest = dataset.filter(dataset.episodes.returns <= 0)
    joined = EpisodeDataset.concat([kept, rest])
    assert sorted(joined.episodes.returns) == sorted(dataset.episodes.returns)
    assert_same(dataset.select([2]).episodes, dataset.episodes.select([2]))
    with pytest.raises(TokenGymError, match="None of the 6 episodes is kept"):
        dataset.filter(np.zeros(6, bool))
    with pytest.raises(TokenGymError, match=r"expected bool \(6,\)"):
        dataset.filter(lambda episodes: episodes.returns)
    with pytest.raises(TokenGymError, match="empty list of datasets"):
        EpisodeDataset.concat([])


def test_what_is_told_about_a_dataset_must_be_json(tmp_path):
    with pytest.raises(TokenGymError, match="must be JSON data"):
        EpisodeDataset(some_episodes(), VOCABULARY, about={"task": object()}).save(tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_one_message_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "e"
    path.mkdir()
    with pytest.raises(TokenGymError, match="cannot be written"):
        EpisodeDataset(some_episodes(), VOCABULARY).save(path)
    assert [child.name for child in tmp_path.iterdir()] == ["e"]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(0, 99), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_every_pass_draws_each_episode_once_however_it_is_cut(num_episodes, seed, counts):
    order, whole = EpisodeOrder(num_episodes, seed), EpisodeOrder(num_episodes, seed)
    drawn = []
    for count in counts:
        resumed = EpisodeOrder(num_episodes, seed)
        resumed.drawn = order.drawn
        batch = order.next(count)
        np.testing.assert_array_equal(batch, resumed.next(count))
        drawn += batch.tolist()
    np.testing.assert_array_equal(drawn, whole.next(sum(counts)))
    for first in range(0, len(drawn) - num_episodes + 1, num_episodes):
        assert sorted(drawn[first : first + num_episodes]) == list(range(num_episodes))


def test_orders_of_other_seeds_and_passes_differ():
    order = EpisodeOrder(50, 1)
    first, second = order.next(50), order.next(50)
    assert (first != second).any() and (first != EpisodeOrder(50, 2).next(50)).any()


# --- recording runs


@pytest.mark.parametrize(("kind", "env"), [(PPO, "Copy"), (A2C, "FrozenLake"), (DQN, "Wordle")])
@pytest.mark.filterwarnings("ignore:.*learning_starts is 500")
def test_a_run_records_what_it_collected(tmp_path, kind, env):
    collected = []

    class Kept(RecordEpisodes):
        def on_episodes(self, algorithm, episodes):
            collected.append(episodes)
            super().on_episodes(algorithm, episodes)

    algorithm = kind(env, "table", seed=3, rollout_tokens=40, num_rows=4, action_masks=env == "Wordle")
    algorithm.learn(120, Kept(tmp_path / "deep" / "run.safetensors"))
    read = EpisodeDataset.load(tmp_path / "deep" / "run.safetensors", algorithm.task.vocabulary)
    assert_same(read.episodes, Episodes.concat(collected))
    assert read.about == {"name": algorithm.name, "seed": 3, "env_spec": algorithm.env_spec}


def test_an_interrupted_run_records_what_an_uninterrupted_one_does(tmp_path):
    def begun():
        return PPO("Copy", "table", seed=3, rollout_tokens=40, num_rows=4)

    begun().learn(200, RecordEpisodes(tmp_path / "whole", most=30))
    callbacks = [RecordEpisodes(tmp_path / "half", most=30), SaveEvery(tmp_path / "checkpoints", 40), StopAfter(100)]
    begun().learn(200, callbacks)
    PPO.load(tmp_path / "checkpoints").learn(200, RecordEpisodes(tmp_path / "resumed", most=30))
    whole, half, resumed = (EpisodeDataset.load(tmp_path / name).episodes for name in ("whole", "half", "resumed"))
    assert_same(resumed, whole)
    assert len(whole) == 30 and len(half) <= 30


def test_what_has_no_episodes_or_no_file_is_refused_before_anything_is_played(tmp_path):
    with pytest.raises(TokenGymError, match="sb3-a2c steps environments by itself"):
        ALGORITHMS["sb3-a2c"]("Copy").learn(10, RecordEpisodes(tmp_path / "e"))
    algorithm = PPO("Copy", "table")
    with pytest.raises(TokenGymError, match="is a folder"):
        algorithm.learn(10, RecordEpisodes(tmp_path))
    assert algorithm.num_timesteps == 0
    with pytest.raises(TokenGymError, match="Nothing is recorded yet"):
        len(RecordEpisodes(tmp_path / "e").episodes)


# --- learnt from


class Cloning(Algorithm):
    """Says what a dataset's agents said: the mean negative log-likelihood of their tokens."""

    name = "cloning"
    dataset: EpisodeDataset
    batch = 8

    def setup(self):
        self.order: EpisodeOrder | None = None

    def next_batch(self):
        self.order = self.order or EpisodeOrder(len(self.dataset), self.seed)
        return self.dataset.episodes.select(self.order.next(self.batch))

    @property
    def spent(self):
        return self.num_updates

    def update(self, batch):
        whole = Batch.from_episodes(batch, self.device)
        step = self.optimise(self.loss(part, len(whole)) for part in whole.parts(self.config.micro_batch_tokens))
        return {"loss": step.terms["nll"]}

    def loss(self, part, num_tokens):
        scores = self.agent.score(part.tokens, part.lengths, part.rows, part.columns, part.actions, part.masks)
        nll = -scores.log_probs.sum() / num_tokens
        return Loss(nll, terms={"nll": nll})


def test_an_algorithm_learns_from_a_dataset_and_its_gradient_is_that_of_the_enumerated_likelihood(tmp_path):
    teacher = PPO("Copy", "table", seed=0, rollout_tokens=400)
    recorded = EpisodeDataset(teacher.collect(), teacher.task.vocabulary)
    best = recorded.filter(lambda episodes: episodes.returns >= np.quantile(episodes.returns, 0.8))
    best.save(tmp_path / "best")
    dataset = EpisodeDataset.load(tmp_path / "best", teacher.task.vocabulary)

    gradients = []
    for limit in (None, 16):
        learner = Cloning("Copy", "mlp-tiny", seed=1, learning_rate=1e-2, micro_batch_tokens=limit)
        learner.dataset = dataset
        learner.optimizer.step = lambda: None
        batch = learner.next_batch()
        learner.update(batch)
        gradients.append(torch.cat([p.grad.flatten() for p in learner.parameters]))

    # By hand: one pass over every prefix of every episode.
    agent = learner.agent
    agent.zero_grad()
    total, count = 0.0, batch.num_tokens
    for row, column in itertools.product(range(batch.num_sequences), range(batch.tokens.shape[1])):
        if batch.agent_mask[row, column]:
            prefix = torch.from_numpy(batch.tokens[row : row + 1, :column].astype(np.int64))
            end = torch.tensor([column])
            logits = agent.evaluate(prefix, end, torch.tensor([0]), end).logits
            total = total - torch.log_softmax(logits, -1)[0, int(batch.tokens[row, column])] / count
    total.backward()
    expected = torch.cat([p.grad.flatten() for p in learner.parameters])
    scale = min(1.0, learner.config.max_grad_norm / float(expected.norm()))
    for gradient in gradients:
        assert (gradient - scale * expected).norm() <= 1e-4 * scale * expected.norm()

    learner = Cloning("Copy", "mlp-tiny", seed=1, learning_rate=1e-2)
    learner.dataset = dataset
    losses = []

    class Losses(RecordEpisodes):
        def on_update(self, algorithm, metrics):
            losses.append(metrics["loss"])

    learner.learn(60, Losses(tmp_path / "none"))
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    assert learner.num_timesteps == 0 and not (tmp_path / "none").exists()  # nothing was asked of an environment
