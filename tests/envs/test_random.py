"""Counter-based randomness: streams that depend on their start alone, and the right distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengym.envs import CounterRandom, TokenGymError, derive_start

MASK = (1 << 64) - 1


def splitmix64(state):
    """The published generator, in plain Python: yields its numbers from a state on."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def seeded(starts):
    random = CounterRandom(len(starts))
    random.seed_rows(np.arange(len(starts)), np.array(starts, np.uint64))
    return random


def test_the_stream_is_splitmix64():
    # The first numbers from state 0 that the generator's authors publish.
    stream = splitmix64(0)
    assert [next(stream) for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    start = 12345
    stream = splitmix64(next(splitmix64(start)))
    random = seeded([start])
    drawn = [*random.bits(np.array([0]), 3)[0].tolist(), *random.bits(np.array([0]), 1)[0].tolist()]
    assert drawn == [next(stream) for _ in range(4)]


@settings(max_examples=50, deadline=None)
@given(
    starts=st.lists(st.integers(0, MASK), min_size=1, max_size=5),
    draws=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), max_size=12),
)
def test_a_rows_stream_does_not_depend_on_its_neighbours_or_on_how_it_is_cut(starts, draws):
    batch, taken = seeded(starts), {row: [] for row in range(len(starts))}
    for row, count in draws:
        rows = np.array([row % len(starts), *([(row + 1) % len(starts)] if len(starts) > 1 else [])])
        for place, numbers in zip(rows.tolist(), batch.uniform(rows, count).tolist(), strict=True):
            taken[place] += numbers
    for row, numbers in taken.items():
        alone = seeded([starts[row]])
        assert alone.uniform(np.array([0]), max(1, len(numbers)))[0].tolist()[: len(numbers)] == numbers


def test_a_saved_stream_goes_on_where_it_was():
    random = seeded([1, 2])
    random.uniform(np.array([1]), 3)
    saved = random.get_row(1)
    expected = random.uniform(np.array([1]), 5)
    other = CounterRandom(4)
    other.set_row(3, saved)
    np.testing.assert_array_equal(other.uniform(np.array([3]), 5), expected)
    assert other.starts.tolist() == [0, 0, 0, 2]


def test_uniform_numbers_are_uniform_within_a_stream_and_across_starts():
    along = seeded([7]).uniform(np.array([0]), 40_000)[0]
    across = seeded(range(40_000)).uniform(np.arange(40_000), 1)[:, 0]
    for numbers in (along, across):
        assert numbers.min() >= 0 and numbers.max() < 1
        counts = np.histogram(numbers, 20, (0, 1))[0]
        assert ((counts - 2000) ** 2 / 2000).sum() < 44  # chi-square of 19 degrees of freedom, p < .001
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.02


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    numbers = seeded([3]).normal(np.array([0]), 100_000)[0]
    moments = [numbers.mean(), (numbers**2).mean(), (numbers**3).mean(), (numbers**4).mean()]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)


def test_integers_cover_their_range_evenly_and_take_a_bound_for_each_row():
    numbers = seeded([5]).integers(np.array([0]), 6, 60_000)[0]
    assert numbers.dtype == np.int64
    np.testing.assert_allclose(np.bincount(numbers, minlength=6) / 60_000, 1 / 6, atol=0.006)
    rows = np.arange(3)
    drawn = seeded([1, 2, 3]).integers(rows, np.array([1, 2, 1000]), 200)
    assert drawn.shape == (3, 200)
    assert set(drawn[0]) == {0} and set(drawn[1]) == {0, 1} and drawn[2].max() > 900
    with pytest.raises(TokenGymError, match="must be at least 1"):
        seeded([1]).integers(np.array([0]), 0)


def test_starts_differ_between_seeds_and_episodes_and_are_the_same_one_by_one():
    seeds, episodes = np.meshgrid(np.arange(200), np.arange(200), indexing="ij")
    derived = derive_start(seeds, episodes)
    assert derived.shape == (200, 200) and derived.dtype == np.uint64
    assert len(np.unique(derived)) == derived.size
    for seed, episode in [(0, 0), (3, 7), (199, 1)]:
        assert derive_start(seed, episode) == int(derived[seed, episode])
    assert derive_start(MASK, 2) == int(derive_start(np.array([MASK], np.uint64), 2)[0])


@pytest.mark.parametrize(("seed", "episode"), [(-1, 0), (0, -1), (np.array([1, -1]), 0), (np.array([0.5]), 0)])
def test_a_negative_or_broken_seed_is_refused(seed, episode):
    with pytest.raises(TokenGymError, match="at least 0"):
        derive_start(seed, episode)
