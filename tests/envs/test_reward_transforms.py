"""Transforms of rewards: scale, noise, delay and credit, in numbers that are known."""

import numpy as np
import pytest
from playing import episodes
from sample_tasks import SAMPLES, Echo, Weather

from tokengym.envs import Engine, TextTask, TokenGymError, derive_start, make_task
from tokengym.envs.exact.solver import solve
from tokengym.envs.finite.compiler import compile_task
from tokengym.envs.transforms import Redistribution, RewardDelay, RewardNoise, RewardScale, TimeLimit, apply_transforms


def transformed(task, *transforms):
    return apply_transforms(task, [dict(transform) for transform in transforms])


def test_a_scale_multiplies_returns_and_a_shift_pays_for_every_token():
    plain = solve(Weather(steps=3))
    scaled = solve(transformed(Weather(steps=3), {"name": "reward_scale", "scale": 2.5}))
    assert scaled.random_return == pytest.approx(2.5 * plain.random_return, abs=1e-12)
    assert scaled.random_variance == pytest.approx(2.5**2 * plain.random_variance, abs=1e-12)
    assert scaled.optimal_return == pytest.approx(2.5 * plain.optimal_return, abs=1e-12)
    # The tree has four tokens in every episode, so that a shift moves all returns alike.
    tree = make_task("KLTree")
    shifted = solve(transformed(tree, {"name": "reward_scale", "shift": -0.25}))
    assert shifted.optimal_return == pytest.approx(solve(tree).optimal_return - 4 * 0.25, abs=1e-12)


@pytest.mark.parametrize("scale", [2.0, -0.5])
def test_a_finite_scale_pays_what_the_general_one_pays(scale):
    finite = transformed(Weather(noise=0.0), {"name": "reward_scale", "scale": scale, "shift": 0.1})
    general = RewardScale(Weather(noise=0.0), scale, 0.1)
    assert finite.finite and not general.finite
    left, right = episodes(finite, 20), episodes(general, 20)
    for ours, theirs in zip(left[0], right[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert left[1:] == right[1:]
    assert finite.reward_range == pytest.approx(general.reward_range)


def test_a_scale_hands_on_only_what_stays_true():
    task = Weather()
    task.random_return, task.optimal_return = 1.5, 4.0
    for make in (
        lambda scale: transformed(task, {"name": "reward_scale", "scale": scale}),
        lambda s: RewardScale(task, s),
    ):
        assert (make(3).random_return, make(3).optimal_return) == (4.5, 12.0)
        assert (make(-3).random_return, make(-3).optimal_return) == (None, None)
    tree = make_task("KLTree")
    assert transformed(tree, {"name": "reward_scale", "scale": 2}).expert_action((0, 0)) == tree.expert_action((0, 0))
    assert transformed(tree, {"name": "reward_scale", "scale": -1}).expert_action((0, 0)) is None


@pytest.mark.parametrize(("at", "draws"), [("token", 6), ("turn", 2)])
def test_noise_adds_its_variance_and_leaves_the_mean(at, draws):
    def make():
        # No token that ends the episode early: six tokens, in two turns of three.
        return transformed(
            Weather(turn_tokens=3, noise=0.0), {"name": "allowed_words", "words": ["stay", "go"], "effect": "mask"}
        )

    plain = solve(make(), masked=True)
    noisy = solve(transformed(make(), {"name": "reward_noise", "sigma": 0.7, "at": at}), masked=True)
    assert noisy.random_return == pytest.approx(plain.random_return, abs=1e-12)
    assert noisy.optimal_return == pytest.approx(plain.optimal_return, abs=1e-12)
    assert noisy.random_variance == pytest.approx(plain.random_variance + draws * 0.7**2, abs=1e-12)


@pytest.mark.parametrize("at", ["token", "turn"])
def test_noise_of_a_general_task_has_its_standard_deviation_and_its_place(at):
    plain, said, _ = episodes(SAMPLES["echo"](), 400)
    noisy, said_again, _ = episodes(RewardNoise(SAMPLES["echo"](), 0.5, at), 400)
    assert said == said_again
    difference = np.concatenate(noisy) - np.concatenate(plain)
    if at == "turn":
        # Turns end with `stop` or with their third token: elsewhere nothing is added.
        ends = np.concatenate([turn_ends(tokens) for tokens in said])
        assert not difference[~ends].any()
        difference = difference[ends]
    count = len(difference)
    assert count > 1000
    assert abs(difference.mean()) < 4 * 0.5 / np.sqrt(count)
    assert difference.std() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2 * count))


def turn_ends(tokens):
    ends, length = [], 0
    for token in tokens:
        length += 1
        ends.append(token == 3 or length == 3)
        length = 0 if ends[-1] else length
    return np.array(ends)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("tokens", [1, 2, 5, None])
def test_a_delay_pays_the_same_return_later(name, tokens):
    plain, said, ends = episodes(SAMPLES[name]())
    later, said_again, ends_again = episodes(RewardDelay(SAMPLES[name](), tokens))
    assert (said, ends) == (said_again, ends_again)
    assert None not in ends
    for ours, theirs in zip(later, plain, strict=True):
        k = len(theirs) if tokens is None else tokens
        expected = ([0.0] * k + theirs)[: len(theirs)]
        np.testing.assert_allclose(ours[:-1], expected[:-1], atol=1e-12)
        assert sum(ours) == pytest.approx(sum(theirs), abs=1e-12)


@pytest.mark.parametrize("tokens", [1, 3, None])
@pytest.mark.parametrize("context", ["episode", "turn"])
def test_a_finite_delay_is_the_general_one_with_the_same_exact_scores(tokens, context):
    finite = transformed(Weather(noise=0.0, context=context), {"name": "reward_delay", "tokens": tokens})
    assert finite.finite
    left, right = episodes(finite, 20), episodes(RewardDelay(Weather(noise=0.0, context=context), tokens), 20)
    for ours, theirs in zip(left[0], right[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert left[1:] == right[1:]
    plain = solve(Weather(steps=4, noise=0.5))
    later = solve(transformed(Weather(steps=4, noise=0.5), {"name": "reward_delay", "tokens": tokens}))
    for score in ("random_return", "random_variance", "optimal_return", "optimal_variance"):
        assert getattr(later, score) == pytest.approx(getattr(plain, score), abs=1e-10)


def test_a_delay_with_too_many_outstanding_amounts_is_no_longer_finite_but_knows_its_returns(monkeypatch):
    monkeypatch.setattr("tokengym.envs.transforms.delay._MOST_STATES", 20)
    task = transformed(Weather(), {"name": "reward_delay"})
    assert isinstance(task, RewardDelay) and not task.finite
    plain = solve(Weather())
    assert task.random_return == pytest.approx(plain.random_return) == pytest.approx(task.random_return)
    assert task.optimal_return == pytest.approx(plain.optimal_return)
    around = transformed(task, {"name": "reward_noise", "sigma": 1}, {"name": "reward_scale", "scale": 3})
    assert around.optimal_return == pytest.approx(3 * plain.optimal_return)


def test_a_time_limit_inside_pays_what_is_outstanding_and_one_outside_cuts_it():
    plain = [sum(rewards[:2]) for rewards in episodes(Weather(noise=0.0))[0]]
    inside = episodes(RewardDelay(TimeLimit(Weather(noise=0.0), 2)))[0]
    outside = episodes(TimeLimit(RewardDelay(Weather(noise=0.0)), 2))
    assert [sum(rewards) for rewards in inside] == pytest.approx(plain)
    for rewards, end, whole in zip(outside[0], outside[2], plain, strict=True):
        assert sum(rewards) == pytest.approx(whole if end == "terminated" else 0.0)


def credits(task, actions, starts=0):
    """Steps one row through actions, and returns its rewards and the credit of each turn."""
    engine = Engine(task, 1)
    engine.reset(None, starts)
    rewards, credited = [], []
    for action in actions:
        result = engine.step(None, [action])
        rewards.append(float(result.rewards[0]))
        if result.turn_ended[0]:
            assert result.token_rewards is not None
            credited.append(None if result.token_rewards[0] is None else result.token_rewards[0].tolist())
    return rewards, credited


def test_a_turns_reward_is_shared_alike_or_by_weights_and_its_sum_stays():
    tree = make_task("KLTree")
    reward = float(tree.leaf_rewards[0 * 64 + 1 * 16 + 1 * 4 + 2])
    rewards, (parts,) = credits(transformed(tree, {"name": "redistribute"}), [0, 1, 1, 2])
    assert rewards == [0, 0, 0, reward]
    assert parts == pytest.approx([reward / 4] * 4)
    weighted = {"name": "redistribute", "weights": {"t1": 3.0, "t2": 1.0}}
    assert credits(transformed(tree, weighted), [0, 1, 1, 2])[1][0] == pytest.approx(
        [0, 3 / 7 * reward, 3 / 7 * reward, 1 / 7 * reward]
    )
    # None of the weighted tokens was said: all share alike.
    reward = float(tree.leaf_rewards[0])
    assert credits(transformed(tree, weighted), [0, 0, 0, 0])[1][0] == pytest.approx([reward / 4] * 4)
    assert credits(transformed(tree, {**weighted, "other": 1.0}), [0, 0, 0, 0])[1][0] == pytest.approx([reward / 4] * 4)


@pytest.mark.parametrize("weights", [None, {"go": 2.0, "jump": 1.0}])
@pytest.mark.parametrize("turn_tokens", [1, 3])
def test_a_finite_credit_is_the_general_one(weights, turn_tokens):
    inner = Weather(noise=0.0, turn_tokens=turn_tokens)
    finite = transformed(inner, {"name": "redistribute", "weights": weights})
    assert finite.finite and finite.arrays is inner.arrays
    general = Redistribution(Weather(noise=0.0, turn_tokens=turn_tokens), weights)
    for start in range(5):
        actions = [1, 0, 1, 0, 0, 1]
        ours, theirs = credits(finite, actions, start), credits(general, actions, start)
        np.testing.assert_allclose(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1], theirs[1])
        assert np.sum(ours[1]) == pytest.approx(np.sum(ours[0]))


class Say(TextTask):
    """One turn; every character pays a tenth."""

    def __init__(self):
        super().__init__({"kind": "chars", "corpus": ["sea salt, sand "]}, max_turn_tokens=12, max_length=20)

    def begin(self, random):
        return None, "sea"

    def respond(self, episode, completion):
        return None, len(completion) / 10, True


def test_keywords_of_a_text_are_credited_where_they_stand_as_whole_words():
    task = transformed(Say(), {"name": "redistribute", "weights": {"sea": 1.0, "a": 3.0}})
    text = "a sea, seas"
    ids = [*task.unwrapped.encode(text), task.vocabulary.eos]
    rewards, (parts,) = credits(task, ids)
    assert rewards[-1] == pytest.approx(1.1)
    # `a` alone weighs 3, the three characters of `sea` 1 each; `seas` is another word, and the a in it no word at all.
    expected = np.zeros(12)
    expected[0], expected[2:5] = 3, 1
    assert parts == pytest.approx(expected / 6 * 1.1)


def test_credits_of_the_task_itself_follow_the_rewards_that_transforms_change():
    actions = [1, 2, 3, 2, 2, 2]
    plain = credits(Echo(), actions)
    assert plain[1] == [[1, 2, 3], [2, 2, 2]]
    scaled = credits(RewardScale(Echo(), 2.0, 0.5), actions)
    assert scaled[1] == [[2.5, 4.5, 6.5], [4.5, 4.5, 4.5]]
    shaped = transformed(Echo(), {"name": "potential_shaping", "weights": {"2": 1.0}, "gamma": 0.5})
    rewards, parts = credits(shaped, actions)
    # γΦ(s′) − Φ(s) by token, with Φ the number of 2s.
    added = [0, 0.5, 0.5 - 1, 1 - 1, 1.5 - 2, 2 - 3]
    np.testing.assert_allclose(parts, [np.add([1, 2, 3], added[:3]), np.add([2, 2, 2], added[3:])])
    assert np.sum(parts) == pytest.approx(sum(rewards))
    assert credits(RewardNoise(Echo(), 0.0), actions)[1] == plain[1]


def test_a_delay_hands_no_credit_on():
    engine = Engine(RewardDelay(Echo(), 2), 1)
    engine.reset(None, 0)
    assert engine.append(None, [[1, 2, 3]], [3]).token_rewards is None
    credited = transformed(make_task("KLTree"), {"name": "redistribute"}, {"name": "reward_delay"})
    assert credited.credit_weights is None


def test_random_draws_of_a_row_do_not_depend_on_its_neighbours():
    task = RewardNoise(Echo(), 1.0, "turn")
    alone, together = Engine(task, 1), Engine(task, 3)
    alone.reset(None, derive_start(0, 2))
    together.reset(None, derive_start(0, np.arange(3)))
    for said in ([1, 3, 0], [3, 1, 0], [2, 2, 2]):
        whole = together.step(None, said)
        assert alone.step(None, [said[2]]).rewards[0] == whole.rewards[2]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"name": "reward_scale", "scale": 0}, "scale=0 would leave no reward"),
        ({"name": "reward_scale", "scale": "much"}, "scale='much': give a finite number"),
        ({"name": "reward_scale", "shift": float("nan")}, "shift=nan: give a finite number"),
        ({"name": "reward_noise"}, "sigma"),
        ({"name": "reward_noise", "sigma": -1}, "at least 0"),
        ({"name": "reward_noise", "sigma": 1, "at": "end"}, "give 'token' or 'turn'"),
        ({"name": "reward_delay", "tokens": 0}, "tokens=0 is too small"),
        ({"name": "redistribute", "weights": {"gone": 1}}, "unknown token 'gone'"),
        ({"name": "redistribute", "weights": {"go": -1}}, "weight of 'go' is -1: give at least 0"),
        ({"name": "redistribute", "weights": ["go"]}, "give a mapping"),
        ({"name": "redistribute", "weights": {}, "other": -1}, "weight of 'other' is -1"),
    ],
)
def test_a_wrong_transform_of_rewards_is_refused(transform, message):
    with pytest.raises(TokenGymError, match=message):
        apply_transforms(Weather(), [transform])


def test_an_empty_keyword_is_refused():
    with pytest.raises(TokenGymError, match="keyword ' ' is empty"):
        transformed(Say(), {"name": "redistribute", "weights": {" ": 1.0}})


@pytest.mark.parametrize(
    "transform",
    [
        {"name": "reward_noise", "sigma": 1.2},
        {"name": "reward_noise", "sigma": 1.2, "at": "turn"},
        {"name": "reward_scale", "scale": -2.0, "shift": 0.5},
    ],
)
def test_arrays_that_are_taken_from_the_inner_task_are_those_that_compiling_gives(transform):
    task = transformed(Weather(), transform)
    for left, right in zip(vars(task.arrays).items(), vars(compile_task(task)).items(), strict=True):
        assert left[0] == right[0]
        if left[0] != "states":
            np.testing.assert_array_equal(left[1], right[1])
    assert task.arrays.states == Weather().arrays.states
    assert task.arrays.noise.any()
