"""Datasets of comparisons: parts, splits, joins, files."""

from dataclasses import replace

import numpy as np
import pytest

from tokengym.algorithms import PPO, EpisodeDataset, PreferencePairs, Ranks
from tokengym.algorithms.data import BrokenDatasetError, Episodes, PreferenceDataset, prompt_numbers
from tokengym.envs import TokenGymError, Vocabulary


@pytest.fixture(scope="module")
def copied():
    """A PPO on Copy and twelve groups of four of its episodes, each group with a prompt of its own."""
    algorithm = PPO("Copy", "table", seed=0, num_rows=8, group_size=4, rollout_tokens=150)
    return algorithm, algorithm.collect()


@pytest.fixture(scope="module")
def compared(copied):
    algorithm, episodes = copied
    return PreferenceDataset.of_ranks(episodes, algorithm.task.vocabulary, Ranks.by_return(episodes), {"from": "Copy"})


def said(dataset):
    """Each pair as what the better and the worse one show and say, with its weight."""
    tokens, pairs = dataset.episodes.tokens, dataset.pairs
    return [
        (tokens[better].tolist(), tokens[worse].tolist(), float(weight))
        for better, worse, weight in zip(pairs.better, pairs.worse, pairs.weight, strict=True)
    ]


def test_prompts_are_numbered_as_they_are_equal(copied):
    _, episodes = copied
    numbers = prompt_numbers(episodes)
    _, groups = np.unique(episodes.starts, return_inverse=True)
    assert all(len(set(numbers[groups == group])) == 1 for group in range(groups.max() + 1))
    shown = episodes.tokens[:, : int(episodes.agent_mask[0].argmax())]
    assert len(set(numbers)) == len(np.unique(shown, axis=0))


def test_a_selection_says_the_same_of_fewer_episodes(compared):
    some = compared.select([4, 0, 2])
    assert said(some) == [said(compared)[place] for place in (4, 0, 2)]
    assert len(some.episodes) == len({int(x) for p in (some.pairs.better, some.pairs.worse) for x in p})
    assert some.ranks is None and some.about == {"from": "Copy"}
    assert len(compared.select(slice(None, 3))) == 3


def test_a_split_by_prompt_shares_none_and_keeps_rankings(compared):
    train, held_out = compared.split(0.25, seed=1)
    assert sorted(said(train) + said(held_out)) == sorted(said(compared))
    prompts = [{tuple(p[0][:5]) for p in said(side)} for side in (train, held_out)]
    assert not prompts[0] & prompts[1]
    assert len(train.ranks) + len(held_out.ranks) <= len(compared.ranks)
    assert sorted(said(PreferenceDataset.of_ranks(train.episodes, train.vocabulary, train.ranks))) == sorted(
        said(train)
    )
    assert said(compared.split(0.25, seed=1)[1]) == said(held_out) != said(compared.split(0.25, seed=2)[1])


def test_which_prompts_are_held_out_does_not_depend_on_their_order(compared):
    backwards = compared.select(np.arange(len(compared))[::-1])
    assert sorted(said(backwards.split(0.3)[1])) == sorted(said(compared.split(0.3)[1]))


def test_a_split_by_pair_keeps_the_two_orders_of_a_pair_together(copied, compared):
    algorithm, episodes = copied
    pairs = compared.pairs
    both = PreferencePairs.concat([pairs, PreferencePairs(pairs.worse, pairs.better, pairs.weight)])
    doubled = PreferenceDataset(episodes, algorithm.task.vocabulary, both)
    for side in doubled.split(0.3, by="pair"):
        told = {(a, b) for a, b, _ in ((str(a), str(b), w) for a, b, w in said(side))}
        assert told == {(b, a) for a, b in told}


def test_one_prompt_alone_is_split_by_pair_only(compared):
    alone = compared.select(
        np.flatnonzero(compared.prompts[compared.pairs.better] == compared.prompts[compared.pairs.better[0]])
    )
    with pytest.raises(TokenGymError, match=r'only one prompt.*by="pair"'):
        alone.split()
    with pytest.raises(TokenGymError, match="only one pair"):
        alone.select([0]).split(by="pair")


def test_a_file_gives_everything_back(compared, tmp_path):
    margins = PreferencePairs(
        compared.pairs.better, compared.pairs.worse, compared.pairs.weight, np.arange(len(compared))
    )
    whole = PreferenceDataset(compared.episodes, compared.vocabulary, margins, compared.ranks, {"from": "Copy"})
    whole.save(tmp_path / "a.safetensors")
    back = PreferenceDataset.load(tmp_path / "a.safetensors", compared.vocabulary)
    assert said(back) == said(whole) and back.about == whole.about
    assert np.array_equal(back.pairs.margin, whole.pairs.margin)
    assert np.array_equal(back.ranks.places, whole.ranks.places) and np.array_equal(back.ranks.order, whole.ranks.order)
    assert np.array_equal(back.episodes.returns, whole.episodes.returns)
    compared.select([0, 1]).save(tmp_path / "b.safetensors")
    assert PreferenceDataset.load(tmp_path / "b.safetensors").pairs.margin is None


def test_what_is_no_file_of_comparisons_is_refused(compared, copied, tmp_path):
    path = tmp_path / "a.safetensors"
    EpisodeDataset(copied[1], compared.vocabulary).save(path)
    with pytest.raises(BrokenDatasetError, match="'tokengym episodes 1'; expected 'tokengym preferences 1'"):
        PreferenceDataset.load(path)
    compared.save(path)
    with pytest.raises(BrokenDatasetError, match="'tokengym preferences 1'; expected 'tokengym episodes 1'"):
        EpisodeDataset.load(path)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenDatasetError, match="altered"):
        PreferenceDataset.load(path)
    other = PPO("TokenBandit", "table").task.vocabulary
    compared.save(path)
    with pytest.raises(TokenGymError, match="of another vocabulary"):
        PreferenceDataset.load(path, other)


def test_joined_datasets_say_what_their_parts_say(compared):
    parts = [compared.select([0, 3]), compared.select([1])]
    assert said(PreferenceDataset.concat(parts)) == [said(compared)[place] for place in (0, 3, 1)]
    train, held_out = compared.split(0.3)
    joined = PreferenceDataset.concat([train, held_out])
    assert said(joined) == said(train) + said(held_out)
    assert len(joined.ranks) == len(train.ranks) + len(held_out.ranks)
    assert PreferenceDataset.concat([train, parts[0]]).ranks is None


def test_what_compares_nothing_or_two_prompts_is_refused(copied, compared):
    algorithm, episodes = copied
    vocabulary = algorithm.task.vocabulary
    with pytest.raises(TokenGymError, match="no pair"):
        PreferenceDataset(episodes, vocabulary, PreferencePairs([], []))
    numbers = prompt_numbers(episodes)
    stranger = int(np.flatnonzero(numbers != numbers[0])[0])
    with pytest.raises(TokenGymError, match="different prompts"):
        PreferenceDataset(episodes, vocabulary, PreferencePairs([0], [stranger]))
    even = replace(episodes, rewards=np.zeros_like(episodes.rewards))
    with pytest.raises(TokenGymError, match="no pair"):
        PreferenceDataset.of_ranks(even, vocabulary, Ranks.by_return(even))
    with pytest.raises(TokenGymError, match="Cannot select the pairs"):
        compared.select([len(compared)])
    with pytest.raises(TokenGymError, match="None of the pairs"):
        compared.select([])
    with pytest.raises(TokenGymError, match="empty list"):
        PreferenceDataset.concat([])


def test_margins_are_numbers_of_at_least_zero():
    with pytest.raises(TokenGymError, match="Margins of pairs must be finite numbers of at least 0"):
        PreferencePairs([0], [1], margin=[-1.0])
    with pytest.raises(TokenGymError, match="a number a pair"):
        PreferencePairs([0], [1], margin=[1.0, 2.0])
    for weight in (np.nan, 1e300):
        with pytest.raises(TokenGymError, match="Weights of pairs must be finite"):
            PreferencePairs([0], [1], weight=[weight])
    pairs = PreferencePairs([0, 2], [1, 3], margin=[1.0, 2.0])
    assert pairs[1:].margin.tolist() == [2.0] and PreferencePairs.concat([pairs, pairs]).margin.tolist() == [1, 2, 1, 2]
    assert PreferencePairs.concat([pairs, PreferencePairs([0], [1])]).margin is None


def test_episodes_of_another_vocabulary_are_refused(copied):
    episodes = copied[1]
    assert isinstance(episodes, Episodes)
    with pytest.raises(TokenGymError, match="outside"):
        PreferenceDataset(episodes, Vocabulary.of(["a"]), PreferencePairs([0], [1]))
