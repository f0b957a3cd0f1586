"""Tilted and best-of-n distributions over listed outcomes, against the solver and against enumeration."""

import itertools

import numpy as np
import pytest

from tokengym.envs import TokenGymError, solve
from tokengym.envs.exact import best_of_draws, divergence, tilted
from tokengym.envs.tasks.diagnostics import KLTree

SCORES = np.array([0.3, 1.0, 0.3, -2.0])
LOG_REFERENCE = np.log([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("beta", [0.05, 0.2, 3.0])
def test_the_tilted_optimum_is_the_solver_s(beta):
    task = KLTree()
    solution, found = solve(task, beta=beta), tilted(task.leaf_rewards, beta)
    assert found @ task.leaf_rewards == pytest.approx(solution.kl_optimal_reward, abs=1e-12)
    assert divergence(found) == pytest.approx(solution.kl_optimal_kl, abs=1e-12)


def test_the_tilted_optimum_is_as_its_formula_says():
    weights = np.exp(LOG_REFERENCE + SCORES / 0.7)
    np.testing.assert_allclose(tilted(SCORES, 0.7, LOG_REFERENCE), weights / weights.sum(), atol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_best_of_n_is_what_enumeration_gives(n):
    expected = np.zeros(4)
    for draw in itertools.product(range(4), repeat=n):
        winners = [one for one in draw if SCORES[one] == max(SCORES[list(draw)])]
        for one in winners:
            expected[one] += np.exp(LOG_REFERENCE[list(draw)].sum()) / len(winners)
    np.testing.assert_allclose(best_of_draws(SCORES, n, LOG_REFERENCE), expected, atol=1e-15)


def test_the_best_of_eight_of_a_rare_success_has_the_known_divergence():
    reference = np.log([0.9, 0.1])
    found = best_of_draws([0.0, 1.0], 8, reference)
    assert found[1] == pytest.approx(1 - 0.9**8, abs=1e-15)
    assert divergence(found, reference) == pytest.approx(0.673, abs=5e-4)
    assert divergence(found, reference) < np.log(8) - 7 / 8


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: tilted(SCORES, 0.0), "beta=0.0: give a number above 0"),
        (lambda: tilted([np.nan, 1.0], 1.0), "one finite number an outcome"),
        (lambda: tilted(SCORES, 1.0, np.zeros(4)), "sum 4"),
        (lambda: best_of_draws(SCORES, 0), "n=0 is too small"),
        (lambda: best_of_draws(SCORES, 2, np.log([0.5, 0.5])), "logarithms of 4"),
    ],
)
def test_bad_input_is_told(call, told):
    with pytest.raises(TokenGymError, match=told):
        call()


def test_what_the_reference_excludes_is_infinitely_far():
    with np.errstate(divide="ignore"):
        reference = np.log([1.0, 0.0])
    assert divergence([0.5, 0.5], reference) == np.inf and divergence([1.0, 0.0], reference) == 0
