"""Schedules: every shape against its closed form, written and read again, and followed by what they steer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengym.algorithms import A2C, DQN, PPO, SAC, Callback, Schedule, check_config
from tokengym.algorithms.configs import linear
from tokengym.envs.checking.errors import TokenGymError

SHARES = st.floats(0, 1)
ENDS = st.floats(1e-6, 1e3)


@pytest.mark.parametrize(
    ("schedule", "half_way", "at_the_end"),
    [
        (Schedule("constant", 3.0), 3.0, 3.0),
        (Schedule("linear", 1.0, 0.0), 0.5, 0.0),
        (Schedule("linear", 1.0, 0.0, until=0.5), 0.0, 0.0),
        (Schedule("cosine", 1.0, 0.0), 0.5, 0.0),
        (Schedule("cosine", 1.0, 0.2, until=0.75), 0.2 + 0.8 * (1 + math.cos(math.pi * 2 / 3)) / 2, 0.2),
        (Schedule("geometric", 1.0, 0.01), 0.1, 0.01),
        (Schedule("linear", 2.0, 0.0, warmup=0.5), 2.0, 0.0),
        (Schedule("constant", 2.0, warmup=0.75), 2.0 * 2 / 3, 2.0),
        (Schedule("linear", 1.0, 0.25, until=0.0), 0.25, 0.25),
    ],
)
def test_a_schedule_follows_its_closed_form(schedule, half_way, at_the_end):
    assert schedule.at(0.5) == pytest.approx(half_way)
    assert schedule.at(1.0) == pytest.approx(at_the_end)
    assert schedule.at(0.0) == (0.0 if schedule.warmup else schedule.end if schedule.until == 0 else schedule.start)


@given(ENDS, ENDS, st.floats(0.001, 1), SHARES, SHARES, st.sampled_from(["linear", "cosine", "geometric"]))
def test_a_schedule_stays_between_its_ends_and_comes_back_from_its_text(start, end, until, warmup, progress, shape):
    schedule = Schedule(shape, start, end, until=until, warmup=warmup * until * 0.9)
    assert Schedule.read(str(schedule)) == schedule
    low = 0.0 if progress < schedule.warmup else min(start, end)
    rounding = 1e-12 * max(start, end)  # a way from 257 to 1e-5 ends where doubles near 257 can stand
    assert low * (1 - 1e-9) - rounding <= schedule.at(progress) <= max(start, end) * (1 + 1e-9)


@given(st.floats(0, 10), SHARES, SHARES)
def test_the_fields_of_a_fall_are_the_linear_schedule_to_the_last_bit(rate, fraction, progress):
    config = check_config("ppo", {"learning_rate": rate + 1e-6, "final_learning_rate_fraction": fraction})
    rate = rate + 1e-6
    falling = Schedule("linear", rate, rate * fraction)
    assert config.learning_rate_at(progress, 7.0) == falling.at(progress) == linear(rate, rate * fraction, progress)


@pytest.mark.parametrize(
    "given_as",
    [
        Schedule("cosine", 1e-3, 1e-5, warmup=0.05),
        "cosine(1e-3, 1e-5, warmup=0.05)",
        "  cosine( 0.001,0.00001 , warmup = .05 ) ",
        {"shape": "cosine", "start": 1e-3, "end": 1e-5, "warmup": 0.05},
    ],
)
def test_a_schedule_is_an_object_a_text_or_a_mapping(given_as):
    config = check_config("ppo", {"learning_rate": given_as})
    assert config.learning_rate == Schedule("cosine", 1e-3, 1e-5, warmup=0.05)
    assert config.to_dict()["learning_rate"] == "cosine(0.001, 1e-05, warmup=0.05)"
    assert check_config("ppo", config.to_dict()) == config


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("learning_rate", "cosine(1)", "expected an end with 'cosine'"),
        ("learning_rate", "constant(1, 2)", "expected no end with 'constant'"),
        ("learning_rate", "linear(1, 2, 3)", "a third number"),
        ("learning_rate", "linear(1, x)", "end is 'x'; expected a number"),
        ("learning_rate", "linear(1, 2, start=3)", "says start twice"),
        ("learning_rate", "linear(1, 2, to=3)", "unknown key of schedule 'to'"),
        ("learning_rate", "quadratic(1, 2)", "expected 'constant', 'linear'"),
        ("learning_rate", {"start": 1}, "lacks the key 'shape'"),
        ("learning_rate", "linear(1e-3, -1e-3)", "ends that are each a number above 0"),
        ("epsilon", "linear(2, 0)", "ends that are each a number within 0 … 1"),
        ("alpha", "geometric(1, 0)", "goes through 0"),
        ("epsilon", "linear(1, 0, until=0.2, warmup=0.2)", "expected less than until"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_what_to_change(field, value, says):
    with pytest.raises(TokenGymError, match=f"^{field} is .*{says}"):
        check_config("sac" if field in ("epsilon", "alpha") else "ppo", {field: value})


class Watch(Callback):
    """Notes what is seen after each update, beside the share of the budget that is spent."""

    def __init__(self, read):
        self.read, self.seen = read, []

    def on_update(self, algorithm, metrics):
        self.seen.append((algorithm.progress, self.read(algorithm, metrics)))


FOLLOWED = [
    (PPO, "learning_rate", lambda a, m: m["optim/learning_rate"]),
    (PPO, "entropy_coef", lambda a, m: m["optim/entropy_coef"]),
    (A2C, "value_coef", lambda a, m: a.value_coef),
    (A2C, "kl_coef", lambda a, m: m["objective/kl_coef"]),
    (DQN, "epsilon", lambda a, m: m["explore/epsilon"]),
    (SAC, "alpha", lambda a, m: m["policy/alpha"]),
    (SAC, "kl_coef", lambda a, m: m["objective/kl_coef"]),
]


@pytest.mark.parametrize(("kind", "field", "read"), FOLLOWED)
def test_what_a_schedule_steers_follows_it(kind, field, read):
    schedule, watch = Schedule("cosine", 0.2, 0.1, warmup=0.3), Watch(read)
    off_policy = {} if kind in (PPO, A2C) else {"learning_starts": 0, "batch_episodes": 4}
    kind("Copy", "table", rollout_tokens=20, num_rows=4, **off_policy, **{field: schedule}).learn(100, watch)
    assert len(watch.seen) >= 3
    for progress, value in watch.seen:
        assert value == pytest.approx(schedule.at(progress))


def test_the_clip_of_ppo_follows_its_schedule():
    fractions = {}
    for name, clip in (("narrow", Schedule("linear", 1e-6, 1e-6)), ("fixed", 1e-6), ("wide", Schedule("linear", 9, 9))):
        watch = Watch(lambda a, m: m["policy/clip_fraction"])
        PPO("Copy", "table", learning_rate=0.1, rollout_tokens=40, clip=clip).learn(40, watch)
        fractions[name] = watch.seen[0][1]
    assert fractions["narrow"] == fractions["fixed"] > 0.5 and fractions["wide"] == 0
