"""Transforms: time limits truncate, shaping telescopes, and both nest, save and come from JSON."""

import numpy as np
import pytest
from playing import episodes
from sample_tasks import SAMPLES, Echo, Weather

from tokengym.envs import Engine, PotentialShaping, TimeLimit, TokenGymError, make_task
from tokengym.envs.exact.solver import solve
from tokengym.envs.transforms import apply_transforms


@pytest.mark.parametrize("name", SAMPLES)
def test_a_time_limit_truncates_what_has_not_ended_and_changes_nothing_else(name):
    plain, plain_said, plain_ends = episodes(SAMPLES[name]())
    task = TimeLimit(SAMPLES[name](), 3)
    rewards, _, ends = episodes(task)
    assert task.max_episode_tokens == 3
    for row in range(len(plain)):
        assert rewards[row] == plain[row][:3]
        assert ends[row] == (plain_ends[row] if len(plain_said[row]) <= 3 and plain_ends[row] else "truncated")


WEIGHTS = {"weather": {"go": 0.5, "jump": -0.25}, "weather-turns-of-3": {"stay": 1.5}, "echo": {"2": 2.0, "stop": -1.0}}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_shaping_adds_the_discounted_difference_of_potentials(name, gamma):
    weights = WEIGHTS[name]
    inner = SAMPLES[name]()
    plain, said, ends = episodes(inner)
    rewards, said_again, ends_again = episodes(PotentialShaping(SAMPLES[name](), weights, gamma))
    assert (said, ends) == (said_again, ends_again)
    for row in range(len(plain)):
        potential = 0.0
        for step, token in enumerate(said[row]):
            last = step + 1 == len(said[row]) and ends[row] == "terminated"
            after = 0.0 if last else potential + weights.get(inner.vocabulary.tokens[token], 0.0)
            assert rewards[row][step] == pytest.approx(plain[row][step] + gamma * after - potential, abs=1e-12)
            potential = after
        discount = gamma ** np.arange(len(plain[row]))
        if ends[row] == "terminated":
            assert discount @ rewards[row] == pytest.approx(discount @ plain[row], abs=1e-12)


@pytest.mark.parametrize("context", ["episode", "turn"])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_shaping_a_finite_task_gives_a_finite_task_with_the_same_episodes(context, gamma):
    weights = {"go": 0.5, "jump": -0.25}
    finite = apply_transforms(
        Weather(context=context), [{"name": "potential_shaping", "weights": weights, "gamma": gamma}]
    )
    assert finite.finite
    general = PotentialShaping(Weather(context=context), weights, gamma)
    assert not general.finite
    left, right = episodes(finite, 20), episodes(general, 20)
    for ours, theirs in zip(left[0], right[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert left[1:] == right[1:]
    assert (finite.max_length, finite.max_episode_tokens) == (general.max_length, general.max_episode_tokens)


def test_undiscounted_shaping_leaves_the_exact_returns_as_they_are():
    plain = solve(Weather(steps=3, noise=0.0))
    shaped = Weather(steps=3, noise=0.0)
    shaped = apply_transforms(shaped, [{"name": "potential_shaping", "weights": {"go": 3.0, "stay": -1.0}}])
    solution = solve(shaped)
    assert solution.random_return == pytest.approx(plain.random_return, abs=1e-12)
    assert solution.optimal_return == pytest.approx(plain.optimal_return, abs=1e-12)


def test_the_reward_range_covers_the_shaped_rewards():
    for task in (Weather(noise=0.0), SAMPLES["weather-turn-of-2"]()):
        shaped = PotentialShaping(task, {"go": 0.5, "jump": -0.25}, 0.9)
        for rewards in episodes(shaped, 30)[0]:
            assert min(rewards) >= shaped.reward_range[0] and max(rewards) <= shaped.reward_range[1]


def test_transforms_nest_and_their_rows_can_be_saved():
    def make():
        limited = TimeLimit(Echo(), 5)
        return TimeLimit(PotentialShaping(limited, {"1": 1.0}), 4)

    assert episodes(make())[2].count(None) == 0
    assert all(len(rewards) <= 4 for rewards in episodes(make())[0])
    task = make()
    engine = Engine(task, 2)
    engine.reset(None, [1, 2])
    engine.step(None, [1, 1])
    engine.step(None, [0, 1])
    saved = engine.get_state(1)
    engine.step(None, [0, 0])
    engine.set_state(0, saved)
    left = engine.step([0], [1])
    assert not left.truncated[0]
    right = engine.step([0], [1])
    assert right.truncated[0] or right.terminated[0]


def test_masks_experts_and_text_are_those_of_the_task_inside():
    plain = make_task("KeywordCover")
    transforms = [{"name": "potential_shaping", "weights": {plain.vocabulary.tokens[0]: 1.0}}]
    for task in (make_task("KeywordCover", transforms=transforms), TimeLimit(plain, 3)):
        engine, inner = Engine(task, 4), Engine(plain, 4)
        for one in (engine, inner):
            one.reset(None, np.arange(4))
            one.step(None, np.zeros(4, int))
        np.testing.assert_array_equal(engine.action_mask(), inner.action_mask())
        expected = inner.expert()
        if expected is not None:
            np.testing.assert_array_equal(engine.expert(), expected)
        assert task.render_tokens(engine.tokens[0]) == plain.render_tokens(inner.tokens[0])


def test_returns_are_handed_on_only_where_they_stay_true():
    task = make_task("TokenBandit")
    assert TimeLimit(task, 1).optimal_return == task.optimal_return
    assert TimeLimit(make_task("Copy"), 1).optimal_return is None
    assert PotentialShaping(task, {}, 0.5).optimal_return is None
    assert PotentialShaping(task, {}, 1.0).optimal_return == task.optimal_return


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"name": "time_limit", "max_tokens": 0}, "max_tokens=0 is too small"),
        ({"name": "potential_shaping", "weights": {"gone": 1.0}}, "unknown token 'gone'"),
        ({"name": "potential_shaping", "weights": {"sun": 1.0}}, "the agent cannot say 'sun'"),
        ({"name": "potential_shaping", "weights": {"go": float("inf")}}, "give a finite number"),
        ({"name": "potential_shaping", "weights": {}, "gamma": 0}, r"gamma=0 must be in \(0, 1\]"),
        ({"name": "potential_shaping", "weight": {}}, "did you mean 'weights'"),
    ],
)
def test_a_wrong_transform_is_refused(transform, message):
    with pytest.raises(TokenGymError, match=message):
        apply_transforms(Weather(), [transform])
