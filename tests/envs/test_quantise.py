import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.continuous.quantise import MU, MU_LIMIT, Grid, digits_needed, from_digits, to_digits


@given(
    st.floats(-100, 100),
    st.floats(0.01, 100),
    st.integers(2, 300),
    st.floats(0, 1),
    st.sampled_from(["uniform", "mu_law"]),
)
def test_a_decoded_value_is_the_nearest_point_and_encodes_to_itself(low, width, bins, fraction, scale):
    grid = Grid(np.array([low]), np.array([low + width]), bins, scale)
    points = grid.decode(np.arange(bins)[:, None])
    assert (np.diff(points[:, 0]) >= 0).all()
    assert points[0, 0] == pytest.approx(low) and points[-1, 0] == pytest.approx(low + width)
    np.testing.assert_array_equal(grid.encode(points)[:, 0], np.arange(bins))
    value = low + fraction * width
    index = int(grid.encode([[value]])[0, 0])
    if scale == "uniform":
        assert abs(points[index, 0] - value) <= width / (bins - 1) / 2 * (1 + 1e-6) + 1e-9


def test_values_outside_the_bounds_are_clipped():
    grid = Grid(np.array([-1.0, 0.0]), np.array([1.0, 10.0]), 11)
    assert grid.encode([[-5.0, 50.0], [np.inf, -np.inf]]).tolist() == [[0, 10], [10, 0]]


def test_a_value_that_cannot_vary_takes_the_first_point():
    grid = Grid(np.array([3.0]), np.array([3.0]), 5)
    assert grid.encode([[3.0]]).tolist() == [[0]]
    assert grid.decode([[0]]).tolist() == [[3.0]]


def test_the_mu_law_is_gatos():
    grid = Grid(np.array([-MU_LIMIT]), np.array([MU_LIMIT]), 1025, "mu_law")
    values = np.array([[-256.0], [-1.0], [0.0], [0.01], [3.0]])
    bent = np.sign(values) * np.log(np.abs(values) * MU + 1) / np.log(MU_LIMIT * MU + 1)
    np.testing.assert_array_equal(grid.encode(values), np.rint((bent + 1) / 2 * 1024))


@given(st.integers(2, 12), st.lists(st.integers(1, 2000), min_size=1, max_size=5), st.data())
def test_digits_give_the_integers_back(base, sizes, data):
    counts = digits_needed(np.array(sizes), base)
    assert all(
        base**count >= size > (base ** (count - 1) if count > 1 else 0)
        for count, size in zip(counts, sizes, strict=True)
    )
    indices = np.array([[data.draw(st.integers(0, size - 1)) for size in sizes] for _ in range(3)])
    digits = to_digits(indices, counts, base)
    assert digits.shape == (3, counts.sum()) and digits.min() >= 0 and digits.max() < base
    np.testing.assert_array_equal(from_digits(digits, counts, base), indices)


def test_the_most_significant_digit_comes_first():
    assert to_digits(np.array([[407, 5]]), np.array([3, 2]), 10).tolist() == [[4, 0, 7, 0, 5]]


@pytest.mark.parametrize(
    ("low", "high", "bins", "scale", "message"),
    [
        ([0.0], [np.inf], 4, "uniform", "value 0 has the bounds"),
        ([0.0, 2.0], [1.0, 1.0], 4, "uniform", "value 1 has the bounds"),
        ([0.0], [1.0, 2.0], 4, "uniform", "shape"),
        ([0.0], [1.0], 1, "uniform", "at least 2"),
        ([0.0], [1.0], 4, "mulaw", "did you mean 'mu_law'"),
    ],
)
def test_a_wrong_grid_stops_at_the_door(low, high, bins, scale, message):
    with pytest.raises(TokenGymError, match=message):
        Grid(np.array(low), np.array(high), bins, scale)


def test_nan_is_refused():
    with pytest.raises(TokenGymError, match="NaN"):
        Grid(np.zeros(1), np.ones(1), 4).encode([[np.nan]])
