"""Both Gymnasium faces: compliance, and the engine's very trajectories."""

import json
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sample_tasks import INSTALLED, MAKERS, Echo, Weather, each, shared_task

from tokengym.envs import Engine, TokenEnv, TokenGymError, TokenVectorEnv, derive_start, make_task, registration


@pytest.fixture(params=each(INSTALLED))
def env_id(request, monkeypatch):
    """An id whose environments share one compiled task: what is tested here are the faces."""
    make, made = registration.make_task, {}

    def shared(name, **arguments):
        key = json.dumps(arguments, sort_keys=True)
        if key not in made:
            made[key] = make(name, **arguments) if arguments else shared_task(name)
        return made[key]

    monkeypatch.setattr(registration, "make_task", shared)
    return f"tokengym/{request.param}-v0"


@pytest.fixture(params=each(MAKERS))
def task(request):
    return shared_task(request.param)


def same(left, right):
    return data_equivalence(left, right, exact=True)


@pytest.mark.parametrize("arguments", [{}, {"action_masks": True, "render_mode": "ansi"}], ids=["plain", "masks"])
def test_every_environment_passes_the_checker_of_gymnasium(env_id, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(env_id, **arguments).unwrapped)


def test_a_specification_survives_json(env_id):
    given = {"action_masks": True, "transforms": [{"name": "time_limit", "max_tokens": 5}]}
    env = gymnasium.make(env_id, max_episode_steps=3, **given)
    assert env.spec is not None
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec == env.spec
    assert same(again.reset(seed=5), env.reset(seed=5))
    action = int(env.action_space.n) - 1  # type: ignore[attr-defined]
    assert same(again.step(action), env.step(action))


@pytest.mark.parametrize("mode", [None, "sync"])
def test_make_vec_makes_a_batch(env_id, mode):
    envs = gymnasium.make_vec(env_id, num_envs=3, vectorization_mode=mode, max_episode_steps=2)
    assert isinstance(envs, TokenVectorEnv if mode is None else SyncVectorEnv)
    observations, _ = envs.reset(seed=1)
    assert observations in envs.observation_space
    envs.action_space.seed(1)
    for _ in range(4):
        observations, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert observations in envs.observation_space
        assert rewards.dtype == np.float64 and terminated.dtype == truncated.dtype == np.bool_
    envs.close()


def test_the_single_face_is_the_engine(task):
    env, engine = TokenEnv(task, action_masks=True), Engine(task, 1)
    rng = np.random.default_rng(0)
    for episode in range(3):
        observation, info = env.reset(seed=11 if episode == 0 else None)
        engine.reset(None, derive_start(11, episode))
        over, steps = False, 0
        while not over and steps < 40:
            assert observation in env.observation_space
            np.testing.assert_array_equal(observation["tokens"], engine.tokens[0])
            np.testing.assert_array_equal(observation["length"], engine.lengths)
            np.testing.assert_array_equal(info["action_mask"], engine.action_mask()[0])
            assert info["action_mask"].dtype == np.int8
            action = rng.integers(task.vocabulary.num_actions)
            observation, reward, terminated, truncated, info = env.step(action)
            result = engine.step(None, [action])
            assert (reward, terminated, truncated) == (result.rewards[0], result.terminated[0], result.truncated[0])
            assert type(reward) is float and type(terminated) is type(truncated) is bool
            over, steps = terminated or truncated, steps + 1


def play(env, seed, actions):
    yield env.reset(seed=seed)
    for action in actions:
        step = env.step(action)
        yield step
        if step[2] or step[3]:
            yield env.reset()


def test_twin_rollouts_match(task):
    actions = np.random.default_rng(1).integers(task.vocabulary.num_actions, size=40)
    twins = TokenEnv(task), TokenEnv(task)
    for left, right in zip(*(play(env, 3, actions) for env in twins), strict=True):
        assert same(left, right)


def sync(task, num_envs, limit=None, **arguments):
    def make():
        env = TokenEnv(task, **arguments)
        return env if limit is None else gymnasium.wrappers.TimeLimit(env, limit)

    return SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("masks", [False, True])
def test_the_vector_face_is_gymnasiums_own_in_everything(task, limit, masks):
    """Observations, rewards, ends and infos, with the final ones, equal SyncVectorEnv's in SAME_STEP mode."""
    ours = TokenVectorEnv(4, task, action_masks=masks, max_episode_steps=limit)
    theirs = sync(task, 4, limit, action_masks=masks)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert same(ours.reset(seed=21), theirs.reset(seed=21))
    rng = np.random.default_rng(2)
    for time in range(25):
        actions = rng.integers(task.vocabulary.num_actions, size=4)
        for left, right in zip(ours.step(actions), theirs.step(actions), strict=True):
            assert same(left, right)
        if time == 12:
            assert same(ours.reset(), theirs.reset())
        if time == 18:
            seeds, mask = [5, None, 7, 8], np.array([True, True, False, False])
            options = {"reset_mask": mask}
            assert same(ours.reset(seed=seeds, options=dict(options)), theirs.reset(seed=seeds, options=dict(options)))


def test_what_the_faces_return_is_never_overwritten(task):
    env, envs = TokenEnv(task, action_masks=True), TokenVectorEnv(3, task, action_masks=True)
    seen = [env.reset(seed=0), envs.reset(seed=0)]
    copies = [repr(seen[0]), repr(seen[1])]
    for _ in range(3):
        step, steps = env.step(0), envs.step(np.zeros(3, np.int64))
        seen += [step, steps]
        copies += [repr(step), repr(steps)]
        if step[2] or step[3]:
            env.reset()
    assert [repr(one) for one in seen] == copies


def test_token_rewards_come_with_the_turn_that_they_belong_to():
    env = TokenEnv(Echo())
    env.reset(seed=0)
    assert "token_rewards" not in env.step(1)[4]
    _, reward, _, _, info = env.step(3)
    np.testing.assert_array_equal(info["token_rewards"], [1.0, 3.0, 0.0])
    assert reward == info["token_rewards"].sum()


def test_a_saved_environment_goes_on_as_it_would_have():
    env = TokenEnv(Weather())
    env.reset(seed=4)
    env.step(0)
    saved = env.get_state()
    first = list(play_on(env))
    observation, _ = env.set_state(saved)
    assert observation in env.observation_space
    assert list(map(repr, play_on(env))) == list(map(repr, first))


def play_on(env):
    for _ in range(12):
        step = env.step(1)
        yield step
        if step[2]:
            yield env.reset()


def test_an_unseeded_environment_differs_from_another_but_then_follows_its_seed():
    first, second = (TokenEnv(make_task("Lattice")) for _ in range(2))
    for env in (first, second):
        env.reset()
    prompts = [[env.reset()[0]["tokens"].tolist() for _ in range(20)] for env in (first, second)]
    assert prompts[0] != prompts[1]
    assert same(first.reset(seed=3), second.reset(seed=3))
    assert same(first.reset(), second.reset())


def test_rendering_shows_the_text_and_the_reward(capsys):
    env = TokenEnv(Echo(), render_mode="ansi")
    env.reset(seed=0)
    prompt = env.render()
    assert prompt and "<bos>" not in prompt and "<pad>" not in prompt
    env.step(2)
    assert env.render() == f"{prompt} 2\n[reward 0]"
    assert capsys.readouterr().out == ""
    human = TokenEnv(Echo(), render_mode="human")
    human.reset(seed=0)
    assert human.render() is None
    human.step(2)
    assert capsys.readouterr().out == f"{prompt}\n{prompt} 2\n[reward 0]\n"
    envs = TokenVectorEnv(2, Echo(), render_mode="ansi")
    envs.reset(seed=0)
    texts = envs.render()
    assert texts is not None and texts[0] == prompt and len(texts) == 2
    theirs = sync(Echo(), 2, render_mode="ansi")
    theirs.reset(seed=0)
    for _ in range(8):
        envs.step(np.array([1, 3]))
        theirs.step(np.array([1, 3]))
        assert envs.render() == theirs.render()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TokenEnv(Echo(), render_mode="depth_array"), "give one of 'ansi', 'human', 'rgb_array', or None"),
        (lambda: TokenVectorEnv(2, Echo(), render_mode="human"), "give one of 'ansi', 'rgb_array', or None"),
        (lambda: TokenVectorEnv(0, Echo()), "num_envs=0 is too small"),
        (lambda: TokenVectorEnv(2, Echo(), max_episode_steps=0), "max_episode_steps=0 is too small"),
        (lambda: TokenVectorEnv(2, Echo()).reset(seed=[1]), "1 seeds for 2 environments"),
        (lambda: TokenVectorEnv(2, Echo()).reset(seed=[1, -1]), "seed=-1: seeds must be at least 0"),
        (lambda: TokenVectorEnv(2, Echo()).reset(options={"reset_mask": [True, False]}), "give a bool array"),
        (lambda: TokenVectorEnv(2, Echo()).step(np.zeros(2, np.int64)), "reset it before its next token"),
        (lambda: TokenEnv(Echo()).step(0), "reset it before its next token"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(TokenGymError, match=message):
        call()


@pytest.mark.parametrize("action", [4, -1, 0.5, "0", None, [0], [0, 1]])
def test_an_action_outside_of_the_space_is_refused(action):
    env = TokenEnv(Echo())
    env.reset(seed=0)
    with pytest.raises(TokenGymError, match="token"):
        env.step(action)


@pytest.mark.parametrize("asked", [False, True])
def test_action_masks_is_a_method_as_maskable_algorithms_expect(asked):
    env = gymnasium.make("tokengym/TicTacToe-v0", action_masks=asked)
    env.reset(seed=0)
    env.step(4)
    masks = env.get_wrapper_attr("action_masks")()
    inner = env.unwrapped
    assert isinstance(inner, TokenEnv) and inner.shows_action_masks is asked
    assert masks.dtype == np.bool_ and masks.shape == (inner.vocabulary.num_actions,) and not masks.all()
    np.testing.assert_array_equal(masks, inner.engine.action_mask()[0])
    envs = TokenVectorEnv(3, inner.task, action_masks=asked)
    envs.reset(seed=0)
    assert envs.shows_action_masks is asked
    np.testing.assert_array_equal(envs.action_masks(), envs.engine.action_mask())


def test_maskable_ppo_learns_from_outside_and_says_what_is_legal():
    contrib = pytest.importorskip("sb3_contrib")
    env = gymnasium.make("tokengym/TicTacToe-v0")
    ppo = contrib.MaskablePPO("MultiInputPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0)
    ppo.learn(64)
    env.reset(seed=0)
    observation = env.step(4)[0]
    masks = env.get_wrapper_attr("action_masks")()
    assert all(masks[ppo.predict(observation, action_masks=masks)[0]] for _ in range(20))
