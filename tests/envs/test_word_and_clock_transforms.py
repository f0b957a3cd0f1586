"""Allowed words and the clock: masks, effects, and optima that a player without a memory can reach."""

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import data_equivalence
from playing import episodes
from sample_tasks import SAMPLES, Echo, Weather

from tokengym.envs import (
    Cell,
    Engine,
    FiniteTask,
    Initial,
    Picture,
    TextTask,
    TokenEnv,
    TokenGymError,
    TokenVectorEnv,
    Transition,
    Vocabulary,
    make_task,
)
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.transforms import AllowedWords, Clock, apply_transforms

SMALL = {"max_position": 2, "max_speed": 1, "num_steps": 4}


def test_allowed_words_mask_the_others():
    finite = apply_transforms(Weather(noise=0.0), [{"name": "allowed_words", "forbidden": ["jump"]}])
    general = AllowedWords(Weather(noise=0.0), words=["stay", "go"])
    for task in (finite, general):
        assert task.has_action_mask
        engine = Engine(task, 5)
        engine.reset(None, np.arange(5))
        assert engine.action_mask().tolist() == [[True, True, False]] * 5
    # With masks the token that ends the episode at −1 is never said; without them nothing has changed.
    left, right = episodes(finite), episodes(Weather(noise=0.0))
    assert left == right
    assert solve(finite).random_return == pytest.approx(solve(Weather(noise=0.0)).random_return, abs=1e-12)
    assert solve(finite, masked=True).random_return > solve(finite).random_return


def test_where_no_allowed_word_is_legal_the_tasks_own_mask_stands():
    for task in (
        apply_transforms(Weather(), [{"name": "allowed_words", "words": ["jump"]}]),
        AllowedWords(Weather(), words=["jump"]),
    ):
        engine = Engine(task, 40)
        engine.reset(None, np.arange(40))
        sun = engine.tokens[:, 1] == task.vocabulary.ids["sun"]
        assert sun.any() and not sun.all()
        expected = np.where(sun[:, None], [True, True, False], [False, False, True])
        assert engine.action_mask().tolist() == expected.tolist()


@pytest.mark.parametrize("effect", ["end", "penalty"])
@pytest.mark.parametrize("name", ["weather", "weather-turn-of-2", "echo", "echo-turn"])
def test_a_forbidden_word_ends_or_costs(effect, name):
    forbidden = {"weather": "go", "weather-turn-of-2": "go", "echo": "1", "echo-turn": "1"}[name]
    plain = SAMPLES[name]()
    token = plain.vocabulary.ids[forbidden]
    rewards, said, ends = episodes(plain, 20)
    task = AllowedWords(SAMPLES[name](), forbidden=[forbidden], effect=effect, penalty=0.75)
    ours, said_now, ends_now = episodes(task, 20)
    for row in range(20):
        if effect == "penalty":
            expected = [reward - 0.75 * (word == token) for reward, word in zip(rewards[row], said[row], strict=True)]
            assert (said_now[row], ends_now[row]) == (said[row], ends[row])
        else:
            place = said[row].index(token) if token in said[row] else len(said[row])
            expected = rewards[row][:place] + [-0.75] * (place < len(said[row]))
            assert said_now[row] == said[row][: place + 1]
            assert ends_now[row] == "terminated"
        np.testing.assert_allclose(ours[row], expected, atol=1e-12)


@pytest.mark.parametrize("effect", ["mask", "end", "penalty"])
@pytest.mark.parametrize("name", ["weather", "weather-turn-of-2"])
def test_a_finite_restriction_is_the_general_one(effect, name):
    def make():
        task = SAMPLES[name]()
        task.noise = 0.0
        return task

    finite = apply_transforms(make(), [{"name": "allowed_words", "words": ["stay"], "effect": effect}])
    assert finite.finite
    general = AllowedWords(make(), ["stay"], effect=effect)
    left, right = episodes(finite, 20), episodes(general, 20)
    for ours, theirs in zip(left[0], right[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert left[1:] == right[1:]


def test_the_price_of_a_word_is_exact():
    # Only words that end the episode at −1 are left: that is what the optimum pays, and random play less often.
    task = apply_transforms(
        Weather(noise=0.0), [{"name": "allowed_words", "words": ["jump"], "effect": "end", "penalty": 3.0}]
    )
    solution = solve(task)
    assert solution.optimal_return == pytest.approx(-1.0)
    assert solution.random_return == pytest.approx((-1.0 - 3.0 - 3.0) / 3)


class Say(TextTask):
    """One turn of free text."""

    def __init__(self):
        super().__init__({"kind": "words", "corpus": ["the sea is salt"]}, max_turn_tokens=3, max_length=8)

    def begin(self, random):
        return None, "the"

    def respond(self, episode, completion):
        return None, 1.0, True


def test_words_of_a_text_task_are_found_through_its_tokenizer_and_the_end_token_may_always_be_said():
    task = apply_transforms(Say(), [{"name": "allowed_words", "words": ["sea", "salt"]}])
    engine = Engine(task, 1)
    engine.reset(None, 0)
    allowed = {task.vocabulary.tokens[token] for token in engine.action_mask()[0].nonzero()[0]}
    eos = task.vocabulary.tokens[task.vocabulary.eos]
    assert {word.strip("Ġ ") for word in allowed} == {"sea", "salt", eos}
    task = apply_transforms(Say(), [{"name": "allowed_words", "forbidden": ["sea"]}])
    engine = Engine(task, 1)
    engine.reset(None, 0)
    assert [word for word in task.vocabulary.tokens if "sea" in word] == [
        task.vocabulary.tokens[token] for token in (~engine.action_mask()[0]).nonzero()[0]
    ]


@pytest.mark.parametrize("base", [None, 2])
@pytest.mark.parametrize("name", ["weather-turn", "weather-turn-of-2"])
def test_the_clock_follows_every_observation_and_changes_nothing_else(base, name):
    finite = apply_transforms(SAMPLES[name](), [{"name": "clock", "base": base}])
    assert finite.finite
    general, plain = Clock(SAMPLES[name](), base), SAMPLES[name]()
    engines = [Engine(task, 8) for task in (finite, general, plain)]
    for engine in engines:
        engine.reset(None, np.arange(8))
    size, turn = plain.vocabulary.size, plain.max_turn_tokens
    for step in range(7):
        first, second, bare = engines
        np.testing.assert_array_equal(first.tokens, second.tokens)
        for row in range(8):
            observation = first.tokens[row, : first.lengths[row]]
            np.testing.assert_array_equal(observation[observation < size], bare.tokens[row, : bare.lengths[row]])
            digits = observation[observation >= size] - size
            assert (digits @ (base or 1) ** np.arange(len(digits))[::-1]) == -(-step // turn) - (step % turn > 0)
        rows = np.flatnonzero(~bare.over)
        if not len(rows):
            break
        results = [engine.step(rows, np.full(len(rows), step % 2)) for engine in engines]
        for left, right in zip(results[0][:4], results[2][:4], strict=True):
            np.testing.assert_array_equal(left, right)
    assert step == 6


class Patience(FiniteTask):
    """Take pays at the third token only, and every observation is the same."""

    vocabulary = Vocabulary.of(["wait", "take"])
    context = "turn"

    def initial(self):
        return [Initial(1.0, 0)]

    def transitions(self, state, action):
        over = action == 1 or state == 2
        return [Transition(1.0, None if over else state + 1, float(action == 1 and state == 2))]


def test_with_a_clock_a_player_that_sees_only_the_newest_observation_attains_the_optimum():
    plain, task = Patience(), apply_transforms(Patience(), [{"name": "clock"}])
    for one in (plain, task):
        assert solve(one).optimal_return == 1.0
        assert solve(one).random_return == 1 / 8
    # Without a clock the player waits, as at the first token, for ever.
    assert evaluate_policy(plain, solve(plain).policy("optimal")).expected_return == 0.0
    assert evaluate_policy(task, solve(task).policy("optimal")).expected_return == 1.0
    lattice = make_task("Lattice", **SMALL)
    timed = solve(apply_transforms(lattice, [{"name": "clock"}]))
    assert timed.optimal_return == pytest.approx(solve(lattice).optimal_return, abs=1e-12)
    assert timed.random_return == pytest.approx(solve(lattice).random_return, abs=1e-12)


def test_times_that_are_many_are_written_in_ten_digits():
    task = make_task("Lattice", num_steps=150, max_position=1, max_speed=1, transforms=[{"name": "clock"}])
    engine = Engine(task, 1)
    engine.reset(None, 0)
    for _ in range(123):
        engine.step(None, [1])
    assert task.render_tokens(engine.tokens[0, : engine.lengths[0]]).endswith("clock1 clock2 clock3")
    assert task.vocabulary.size == make_task("Lattice", max_position=1, max_speed=1).vocabulary.size + 10


class Drawn(Weather):
    """A task with a picture of the weather and of what is shown."""

    def picture_of(self, state, tokens):
        return Picture(((Cell("" if state is None else state[0]),),), self.render_tokens(tokens))


def test_pictures_and_words_about_a_task_pass_through_all_transforms():
    plain = Drawn(context="turn")
    plain.isolates, plain.mirrors = "chance", "the sky"
    chain = [
        {"name": "clock"},
        {"name": "reward_scale", "scale": 2},
        {"name": "reward_delay", "tokens": 2},
        {"name": "reward_noise", "sigma": 1, "at": "turn"},
        {"name": "potential_shaping", "weights": {"go": 0.5}},
        {"name": "redistribute"},
        {"name": "allowed_words", "words": ["go"]},
    ]
    task = apply_transforms(plain, [*chain, {"name": "time_limit", "max_tokens": 3}])
    assert task.unwrapped is plain and not task.finite
    assert (task.isolates, task.mirrors, task.name) == ("chance", "the sky", "Weather")
    engines = [Engine(one, 1) for one in (plain, task)]
    pictures = []
    for engine in engines:
        engine.reset(None, 4)
        engine.step(None, [0])
        tokens = engine.tokens[0, : engine.lengths[0]]
        pictures.append(engine.task.picture(engine._state, 0, tokens))
    assert pictures[0] == pictures[1] is not None


CHAINS = {
    "Lattice": [
        {"name": "clock", "base": 3},
        {"name": "reward_noise", "sigma": 0.5},
        {"name": "reward_scale", "scale": 10, "shift": 0.1},
        {"name": "reward_delay", "tokens": 2},
        {"name": "allowed_words", "forbidden": ["coast"], "effect": "penalty"},
    ],
    "KLTree": [
        {"name": "potential_shaping", "weights": {"t1": 0.5}},
        {"name": "redistribute", "weights": {"t0": 1.0}, "other": 0.5},
        {"name": "reward_scale", "scale": 2},
        {"name": "time_limit", "max_tokens": 6},
    ],
    "CartPole": [
        {"name": "clock"},
        {"name": "reward_delay"},
        {"name": "reward_noise", "sigma": 1, "at": "turn"},
        {"name": "time_limit", "max_tokens": 20},
    ],
    "TextGeneration": [
        {"name": "allowed_words", "forbidden": ["a"], "effect": "end"},
        {"name": "redistribute"},
        {"name": "reward_scale", "scale": 2},
        {"name": "reward_noise", "sigma": 0.5},
    ],
}


def make_chain(name):
    return make_task(name, **(SMALL if name == "Lattice" else {}), transforms=CHAINS[name])


@pytest.mark.parametrize("name", CHAINS)
def test_every_face_of_a_chain_of_transforms_shows_the_same_episodes(name):
    task = make_chain(name)
    env, engine, envs = TokenEnv(task), Engine(task, 1), TokenVectorEnv(1, task)
    again = gymnasium.make(
        EnvSpec.from_json(gymnasium.make(task.spec["id"], **task.spec["kwargs"]).spec.to_json())
    ).unwrapped
    observation, _ = env.reset(seed=3)
    batch, _ = envs.reset(seed=3)
    assert data_equivalence(again.reset(seed=3)[0], observation, exact=True)
    rng = np.random.default_rng(0)
    credited = False
    for _ in range(30):
        for key, value in observation.items():
            np.testing.assert_array_equal(batch[key][0], value)
        action = int(rng.integers(task.vocabulary.num_actions))
        step = env.step(action)
        observation, reward, terminated, truncated, info = step
        assert data_equivalence(again.step(action), step, exact=True)
        batch, rewards, ends, cuts, infos = envs.step(np.array([action]))
        assert (rewards[0], ends[0], cuts[0]) == (reward, terminated, truncated)
        if "token_rewards" in info:
            credited = True
            of_batch = infos["final_info"] if terminated or truncated else infos
            np.testing.assert_array_equal(of_batch["token_rewards"][0], info["token_rewards"])
        if terminated or truncated:
            observation, _ = env.reset()
            again.reset()
    assert credited == (name in ("TextGeneration", "KLTree"))
    assert engine.task is task


@pytest.mark.parametrize("name", CHAINS)
def test_a_row_of_a_chain_of_transforms_is_saved_and_goes_on(name):
    task = make_chain(name)
    rng = np.random.default_rng(1)
    actions = rng.integers(task.vocabulary.num_actions, size=12)
    one, other = Engine(task, 1), Engine(task, 2)
    one.reset(None, 7)
    other.reset(None, [1, 2])
    other.step(None, actions[:2])
    said = 0
    while said < 2 and not one.over[0]:
        one.step(None, actions[said : said + 1])
        said += 1
    other.set_state(1, one.get_state(0))
    while not one.over[0] and said < 12:
        left, right = one.step(None, actions[said : said + 1]), other.step([1], actions[said : said + 1])
        for ours, theirs in zip(left[:4], right[:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(one.tokens[0], other.tokens[1])
        said += 1
    assert other.over[1] == one.over[0]


def test_a_chain_of_transforms_is_solved_as_it_is_simulated():
    task = make_chain("Lattice")
    solution = solve(task)
    plain = solve(make_task("Lattice", **SMALL))
    # Scale, shift on four tokens, and a penalty of 1 on the third of them that are `coast`.
    expected = 10 * plain.random_return + 4 * 0.1 - 4 / 3
    assert solution.random_return == pytest.approx(expected, abs=1e-9)
    returns = np.array([sum(rewards) for rewards in episodes(task, 4000, seed=5)[0]])
    assert abs(returns.mean() - solution.random_return) < 4 * np.sqrt(solution.random_variance / 4000)
    assert returns.var() == pytest.approx(solution.random_variance, rel=0.15)


@pytest.mark.parametrize(
    ("task", "transform", "message"),
    [
        (Weather, {"name": "clock"}, "context 'episode'.*tells the time already"),
        (Echo, {"name": "clock"}, "tells the time already"),
        (Weather, {"name": "allowed_words"}, "give either words"),
        (Weather, {"name": "allowed_words", "words": ["go"], "forbidden": ["go"]}, "give either words"),
        (Weather, {"name": "allowed_words", "words": "go"}, "'go' is no list of words"),
        (Weather, {"name": "allowed_words", "words": ["sun"]}, "the agent cannot say 'sun'"),
        (Weather, {"name": "allowed_words", "words": ["goo"]}, "unknown token 'goo'.*'go'"),
        (Weather, {"name": "allowed_words", "words": []}, "nothing is left"),
        (Weather, {"name": "allowed_words", "forbidden": ["go", "stay", "jump"]}, "nothing is left"),
        (Weather, {"name": "allowed_words", "words": ["go"], "effect": "stop"}, "give 'mask', 'end' or 'penalty'"),
        (Weather, {"name": "allowed_words", "words": ["go"], "penalty": 2}, "a penalty has no effect"),
        (Weather, {"name": "allowed_words", "words": ["go"], "effect": "end", "penalty": -2}, "at least 0"),
        (Say, {"name": "allowed_words", "forbidden": ["sea salt"]}, "'sea salt' is not one token"),
        (lambda: Weather(context="turn"), {"name": "clock", "base": 1}, "base of at least 2"),
    ],
)
def test_a_wrong_restriction_or_clock_is_refused(task, transform, message):
    with pytest.raises(TokenGymError, match=message):
        apply_transforms(task(), [transform])
