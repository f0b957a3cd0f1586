"""Small Bradley–Terry models: what they converge to, their gradient, and that what was fitted once is kept."""

import numpy as np
import pytest

from tokengym.algorithms.reward_models import fitted_tables
from tokengym.algorithms.reward_models.small import _Model, fit_scores
from tokengym.envs import TokenGymError

TEXTS = np.array([[0, 1], [1, 0], [1, 1]])
LENGTHS = np.array([2, 2, 1])
# The first beats the second three times of four, the second the third twice of three.
BETTER, WORSE = np.array([0, 0, 0, 1, 1, 1, 2]), np.array([1, 1, 1, 0, 2, 2, 1])


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch):
    monkeypatch.setattr(fitted_tables, "_known", {})


def fit(**settings):
    return fit_scores(TEXTS, LENGTHS, BETTER, WORSE, **{"num_tokens": 2, "updates": 3000, **settings})


@pytest.mark.parametrize("hidden", [0, 8])
def test_scores_differ_by_the_log_odds_of_the_labels(hidden):
    scores = fit(hidden=hidden, members=2)
    np.testing.assert_allclose(scores[:, 0] - scores[:, 1], np.log(3), atol=1e-3)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 2], np.log(2), atol=1e-3)


def test_counts_cannot_tell_orders_apart():
    scores = fit(features="counts", hidden=8)
    assert scores[0, 0] == scores[0, 1] != scores[0, 2]


def test_the_gradient_is_that_of_the_loss():
    draw = np.random.default_rng(0)
    read, slope = draw.normal(size=(2, 5, 4)), draw.normal(size=(2, 5))
    model = _Model(width=4, hidden=3, members=2, seed=1)
    gradients = model._gradients(read, slope, model._forward(read)[1])
    for weight, gradient in zip(model._weights, gradients, strict=True):
        assert weight.shape == gradient.shape
        for place in np.ndindex(weight.shape):
            kept, losses = weight[place], []
            for moved in (kept + 1e-5, kept - 1e-5):
                weight[place] = moved
                losses.append((model._forward(read)[0] * slope).sum())
            weight[place] = kept
            assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-8)


def test_equal_seeds_give_equal_scores_and_members_differ():
    first = fit(members=2, hidden=4, updates=20, batch_pairs=3)
    fitted_tables._known.clear()
    again = fit(members=2, hidden=4, updates=20, batch_pairs=3)
    np.testing.assert_array_equal(first, again)
    assert first is not again and (first[0] != first[1]).any()
    assert (first != fit(members=2, hidden=4, updates=20, batch_pairs=3, seed=1)).any()


def test_bootstrapped_members_fit_comparisons_of_their_own():
    scores = fit(hidden=0, members=2, bootstrap=True, seed=4)
    seen = np.random.default_rng(4).integers(len(BETTER), size=(2, len(BETTER)))
    assert (np.bincount(seen[0], minlength=7) != np.bincount(seen[1], minlength=7)).any()
    for own, drawn in zip(scores, seen, strict=True):
        alone = fit_scores(TEXTS, LENGTHS, BETTER[drawn], WORSE[drawn], num_tokens=2, updates=3000, hidden=0)[0]
        np.testing.assert_allclose(np.diff(own), np.diff(alone), atol=1e-3)
    one = dict(num_tokens=2, updates=30, hidden=4)  # of one comparison there is no other sample
    pair = TEXTS, LENGTHS, BETTER[:1], WORSE[:1]
    np.testing.assert_array_equal(fit_scores(*pair, **one, bootstrap=True), fit_scores(*pair, **one))


def test_what_lies_beyond_a_text_s_end_does_not_count():
    other = TEXTS.copy()
    other[2, 1] = 0
    np.testing.assert_array_equal(fit(updates=9), fit_scores(other, LENGTHS, BETTER, WORSE, num_tokens=2, updates=9))


def test_what_was_fitted_is_kept_in_the_process_and_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENGYM_CACHE", str(tmp_path))
    first = fit(updates=5)
    assert fit(updates=5) is first and not first.flags.writeable
    (file,) = (tmp_path / "scores").iterdir()
    fitted_tables._known.clear()
    monkeypatch.setattr(_Model, "fit", None)  # nothing is fitted any more
    np.testing.assert_array_equal(fit(updates=5), first)
    fitted_tables._known.clear()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(TypeError):  # a file that was altered is not believed
        fit(updates=5)


def test_where_no_file_can_be_written_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("TOKENGYM_CACHE", str(tmp_path / "occupied"))
    assert fit(updates=5).shape == (1, 3)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"better": [], "worse": []}, "no comparison"),
        ({"better": [0], "worse": [3]}, "do not fit 3 texts"),
        ({"lengths": [2, 2, 3]}, "do not fit 3 texts"),
        ({"tokens": [[0, 1], [1, 0], [2, 2]]}, "outside of 0 … 1"),
        ({"hidden": -1}, "hidden=-1 is negative"),
        ({"updates": 0}, "updates is 0"),
    ],
)
def test_bad_input_is_told(changed, told):
    given = {"tokens": TEXTS, "lengths": LENGTHS, "better": BETTER, "worse": WORSE, "num_tokens": 2}
    given |= {name: np.array(value, int) if isinstance(value, list) else value for name, value in changed.items()}
    with pytest.raises(TokenGymError, match=told):
        fit_scores(**given)
