import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.scores import suite_scores
from tokengym.envs.tasks.control.gym_task import Gym
from tokengym.envs.transforms import Clock

POLE = {"low": [-2.4, -3, -0.21, -3], "high": [2.4, 3, 0.21, 3]}


class Recorder(gymnasium.Env):
    """Any two spaces; shows a sample, keeps the actions, and pays the number of the step."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.actions = []
        self.observation_space.seed(seed)
        self.shown = self.observation_space.sample()
        return self.shown, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.actions.append(action)
        self.shown = self.observation_space.sample()
        return self.shown, float(len(self.actions)), False, False, {}


@pytest.fixture
def recorder():
    """Registers an environment with the given spaces and gives the task around it."""

    def make(observation_space, action_space, **arguments):
        gymnasium.register(
            "Recorder-v0",
            entry_point=lambda: Recorder(observation_space, action_space),
            max_episode_steps=5,
        )
        return Gym("Recorder-v0", **arguments)

    yield make
    gymnasium.registry.pop("Recorder-v0", None)


def inner(engine, row=0):
    return engine._state["env"][row].unwrapped


def test_an_episode_is_that_of_the_inner_environment():
    task = Gym("CartPole-v1", digits=3, **POLE)
    engine = Engine(task, 1)
    engine.reset(None, [11])
    other = gymnasium.make("CartPole-v1")
    other.reset()
    other.unwrapped.state = np.array(inner(engine).state)
    while not engine.over[0]:
        action = int(engine.lengths[0] + engine.tokens[0, 3]) % 2
        result = engine.step(None, [action])
        observation, reward, terminated, truncated, _ = other.step(action)
        assert (result.rewards[0], result.terminated[0], result.truncated[0]) == (reward, terminated, truncated)
        seen = task.read_observations(engine.tokens[:, 1:13])[0]
        half_step = np.array(POLE["high"]) / 999
        assert (np.abs(seen - np.clip(observation, POLE["low"], POLE["high"])) <= half_step * (1 + 1e-5)).all()


def test_the_inner_time_limit_is_a_truncation_with_the_final_observation():
    engine = Engine(Gym("FrozenLake-v1", max_episode_steps=3), 1)
    engine.reset(None, [0])
    for step in range(3):
        result = engine.step(None, [0])  # up or left of the start is a wall, down is frozen
        assert bool(result.truncated[0]) == (step == 2) and not result.terminated[0]
    assert engine.lengths[0] == 3 and engine.task.max_episode_tokens == 3


def test_the_inner_end_is_a_termination():
    engine = Engine(Gym("FrozenLake-v1", {"is_slippery": False}), 1)
    engine.reset(None, [0])
    path = [1, 1, 2, 2, 1, 2]  # down, down, right, right, down, right: the goal of the 4x4 map
    results = [engine.step(None, [action]) for action in path]
    assert [result.rewards[0] for result in results] == [0, 0, 0, 0, 0, 1]
    assert results[-1].terminated[0] and engine.task.render_tokens(engine.tokens[0]).startswith("1 5")


def test_the_default_has_the_scores_of_the_solved_frozen_lake_and_no_other_has():
    known = suite_scores()["FrozenLake"]
    assert Gym().random_return == pytest.approx(known.random, abs=1e-7)
    assert Gym(base=4).optimal_return == pytest.approx(known.optimal, abs=1e-7)
    for other in (Gym("CartPole-v1", **POLE), Gym(env_kwargs={"is_slippery": False}), Gym(max_episode_steps=9)):
        assert other.random_return is None and other.optimal_return is None


def test_seeds_come_from_the_start_of_the_row():
    task = Gym("CartPole-v1", digits=4, **POLE)
    engine = Engine(task, 6)
    engine.reset(None, [4, 4, 5, 6, 7, 8])
    np.testing.assert_array_equal(engine.tokens[0], engine.tokens[1])
    assert len(np.unique(engine.tokens, axis=0)) == 5
    before = engine.tokens[3].copy()
    engine.reset([0], [6])
    np.testing.assert_array_equal(engine.tokens[0], before)


def test_box_actions_are_digits_that_observations_share():
    task = Gym("Pendulum-v1", base=5, digits=2)
    assert (task.vocabulary.num_actions, task.max_turn_tokens, task.max_length) == (5, 2, 1 + 6 + 2)
    assert task.vocabulary.tokens[:5] == ("0", "1", "2", "3", "4")
    tokens = np.array([[0, 0], [2, 2], [4, 4], [4, 3]])
    np.testing.assert_allclose(np.ravel(task.read_actions(tokens)), [-2, 0, 2, 2 - 4 / 24], atol=1e-6)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    first = engine.step(None, [2])
    assert not first.turn_ended[0] and first.rewards[0] == 0.0 and engine.lengths[0] == 8
    state = inner(engine).state.copy()
    second = engine.step(None, [2])
    assert second.turn_ended[0] and engine.lengths[0] == 7
    angle, speed = state
    assert second.rewards[0] == pytest.approx(-((((angle + np.pi) % (2 * np.pi)) - np.pi) ** 2 + 0.1 * speed**2))


def test_a_component_of_a_multi_discrete_action_is_a_token_and_masks_know_its_size(recorder):
    task = recorder(spaces.Discrete(3), spaces.MultiDiscrete([2, 4], start=[1, 0]))
    engine = Engine(task, 1)
    engine.reset(None, [0])
    assert task.has_action_mask
    assert engine.action_mask().tolist() == [[True, True, False, False]]
    engine.step(None, [1])
    assert engine.action_mask().tolist() == [[True] * 4]
    engine.step(None, [3])
    engine.append(None, [[3, 0]], [2])  # a token too high counts as the highest
    assert [action.tolist() for action in inner(engine).actions] == [[2, 3], [2, 0]]


@pytest.mark.parametrize(
    ("space", "tokens"),
    [
        (spaces.Discrete(11, start=-3), 2),
        (spaces.Discrete(10), 1),
        (spaces.MultiDiscrete([3, 200]), 4),
        (spaces.MultiBinary(3), 3),
        (spaces.MultiBinary((2, 2)), 4),
    ],
)
def test_integers_are_shown_exactly(recorder, space, tokens):
    task = recorder(space, spaces.Discrete(2))
    engine = Engine(task, 5)
    engine.reset(None, np.arange(5))
    for _ in range(3):
        assert (engine.lengths == 1 + tokens).all()
        read = task.read_observations(engine.tokens[:, 1 : 1 + tokens])
        for row in range(5):
            np.testing.assert_array_equal(read[row], np.ravel(inner(engine, row).shown))
        engine.step(None, np.zeros(5, int))


def test_unbounded_values_are_shown_by_the_mu_law(recorder):
    task = recorder(spaces.Box(-np.inf, np.inf, (2, 2)), spaces.MultiBinary(2), scale="mu_law", base=16, digits=3)
    engine = Engine(task, 3)
    engine.reset(None, np.arange(3))
    read = task.read_observations(engine.tokens[:, 1:13])
    shown = np.array([inner(engine, row).shown.ravel() for row in range(3)])
    np.testing.assert_allclose(read, shown, rtol=0.01, atol=0.01)


def test_action_names_name_the_actions():
    task = Gym("CartPole-v1", action_names=["left", "right"], **POLE)
    assert task.vocabulary.tokens[:3] == ("left", "right", "0")


def test_a_saved_row_goes_on_as_the_original_does():
    engine = Engine(Gym("CartPole-v1", digits=3, **POLE), 2)
    assert engine.task.can_save_state
    engine.reset(None, [0, 1])
    for _ in range(4):
        engine.step(None, [1, 0])
    engine.set_state(1, engine.get_state(0))
    for action in (0, 1, 1):
        engine.step(None, [action, action])
        np.testing.assert_array_equal(engine.tokens[0], engine.tokens[1])
    assert inner(engine, 0) is not inner(engine, 1)


def test_an_environment_that_cannot_be_copied_says_so(recorder):
    class Stubborn(spaces.Discrete):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    task = recorder(Stubborn(3), spaces.Discrete(2))
    assert not task.can_save_state
    engine = Engine(task, 1)
    engine.reset(None, [0])
    with pytest.raises(TokenGymError, match="cannot save"):
        engine.get_state(0)


@pytest.mark.parametrize("kwargs", [{}, {"env_id": "Taxi-v4"}, {"env_id": "Pendulum-v1"}, {"env_id": "Acrobot-v1"}])
def test_wrapped_environments_pass_gymnasiums_check(kwargs):
    check_env(gymnasium.make("tokengym/Gym-v0", **kwargs).unwrapped)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env_id": "NoSuchPole-v1"}, "cannot be made"),
        ({"env_kwargs": {"no_such_argument": 1}}, "cannot be made"),
        ({"env_id": "CartPole-v1", "low": -1, "high": [1, 2]}, "give one bound, or 4"),
        ({"env_id": "CartPole-v1", "low": -np.inf, "high": np.inf}, "finite"),
        ({"env_id": "Blackjack-v1"}, "no time limit"),
        ({"base": 1}, "at least 2"),
        ({"digits": 0}, "digits"),
        ({"action_names": ["up"]}, "1 action_names for 4 actions"),
        ({"env_id": "Pendulum-v1", "action_names": ["up"]}, "leave out action_names"),
        ({"env_id": "Acrobot-v1", "scale": "mulaw"}, "did you mean 'mu_law'"),
    ],
)
def test_bad_arguments_stop_at_the_door(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Gym(**arguments)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Text(5), r"observation space Text\(.*cannot be written.*TransformObservation"),
        (spaces.Dict(a=spaces.Tuple([spaces.Discrete(2), spaces.Text(3)])), r"Text\(.* at \['a'\]\[1\] cannot be"),
        (spaces.Graph(spaces.Discrete(2), None), r"Graph\(.*cannot be written"),
        (spaces.Sequence(spaces.Discrete(2)), r"Sequence\(.*cannot be written"),
        (spaces.Dict(), "Dict.* is empty"),
        (spaces.Box(0, 1, (0,)), "Box.* is empty"),
        (spaces.Discrete(2**60), "number of 1152921504606846976 values"),
        (spaces.Box(0, 255, (64, 64, 3), np.uint8), "takes 24576 tokens, but at most 8192"),
    ],
)
def test_spaces_that_cannot_be_written_are_refused_by_name_and_place(recorder, space, message):
    with pytest.raises(TokenGymError, match=message):
        recorder(space, spaces.Discrete(2), base=16)


def test_actions_that_cannot_be_written_name_the_wrapper_for_actions(recorder):
    with pytest.raises(TokenGymError, match=r"action space Text.*TransformAction"):
        recorder(spaces.Discrete(2), spaces.Text(4))


def test_a_tuple_of_integers_is_shown_exactly():
    """Blackjack shows the player's sum of 32, the dealer's card of 11 and whether there is a usable ace."""
    task = Gym("Blackjack-v1", max_episode_steps=10)
    engine = Engine(task, 20)
    engine.reset(None, np.arange(20))
    hands = np.array([env.unwrapped._get_obs() for env in engine._state["env"]])
    np.testing.assert_array_equal(task.read_observations(engine.tokens[:, 1:6]), hands)


NESTED = spaces.Dict(
    goal=spaces.Box(-1, 1, (2,)),
    parts=spaces.Tuple([spaces.Discrete(300, start=-7), spaces.MultiBinary(2)]),
    pixels=spaces.Box(0, 255, (2, 2), np.uint8),
    count=spaces.Box(np.array([-3], np.int32), np.array([12], np.int32), dtype=np.int32),
)


def test_nested_observations_are_flattened_in_their_own_order(recorder):
    task = recorder(NESTED, spaces.Discrete(2), base=4, digits=4)
    engine = Engine(task, 3)
    engine.reset(None, np.arange(3))
    # Digits of base 4: 16 values (2), two reals (4 each), 300 values (5), two bits, four bytes (4 each).
    width = {"count": 2, "goal": 8, "parts": 5 + 2, "pixels": 16}
    assert engine.lengths.tolist() == [1 + sum(width.values())] * 3
    read = task.read_observations(engine.tokens[:, 1 : engine.lengths[0]])
    for row in range(3):
        at = 0
        for key in NESTED.spaces:
            shown = inner(engine, row).shown[key]
            values = np.concatenate([np.ravel(part) for part in shown]) if key == "parts" else np.ravel(shown)
            precise = 1 / 255 + 1e-6 if key == "goal" else 0
            np.testing.assert_allclose(read[row, at : at + len(values)], values, rtol=0, atol=precise, err_msg=key)
            at += len(values)
        assert at == read.shape[1]


def test_nested_actions_are_spelt_in_digits_where_there_are_reals(recorder):
    space = spaces.Dict(grip=spaces.Discrete(3), push=spaces.Box(-1, 1, (2,)))
    task = recorder(spaces.Discrete(3), space, base=5, digits=1)
    assert (task.vocabulary.num_actions, task.max_turn_tokens) == (5, 3)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    assert engine.action_mask().tolist() == [[True, True, True, False, False]]
    engine.append(None, [[1, 0, 3]], [3])
    engine.append(None, [[4, 2, 4]], [3])  # a grip that is too high counts as the highest
    first, second = inner(engine).actions
    assert first["grip"] == 1 and first["push"].tolist() == [-1.0, 0.5] and first["push"].dtype == np.float32
    assert second["grip"] == 2 and second["push"].tolist() == [0.0, 1.0]


def test_nested_actions_without_reals_are_one_token_a_component(recorder):
    task = recorder(spaces.Discrete(3), spaces.Tuple([spaces.Discrete(2), spaces.MultiDiscrete([3, 4])]))
    assert (task.vocabulary.num_actions, task.max_turn_tokens) == (4, 3)
    engine = Engine(task, 1)
    engine.reset(None, [0])
    engine.append(None, [[1, 2, 3]], [3])
    ((first, second),) = inner(engine).actions
    assert first == 1 and second.tolist() == [2, 3]


def test_an_observation_outside_of_its_space_does_not_spill_over(recorder):
    task = recorder(spaces.MultiDiscrete([5, 5]), spaces.Discrete(2), base=5)
    assert task._observation.encode([np.array([7, -2])]).tolist() == [[4, 0]]


def test_frames_are_the_inner_environments_own_where_it_renders():
    pytest.importorskip("pygame")
    task = Gym("FrozenLake-v1", {"render_mode": "rgb_array"})
    engine = Engine(task, 1)
    engine.reset(None, [0])
    frame = engine.frame(0)
    np.testing.assert_array_equal(frame, inner(engine).render())
    assert frame.dtype == np.uint8 and frame.shape == (256, 256, 3) and frame.std() > 0
    assert (
        Gym().frame({"env": engine._state["env"][:0]} | {"env": np.array([gymnasium.make("Taxi-v4")])}, 0, []) is None
    )


def test_unbounded_actions_are_refused(recorder):
    with pytest.raises(TokenGymError, match="TransformAction"):
        recorder(spaces.Discrete(2), spaces.Box(-np.inf, np.inf, (1,)))


class Parts(gymnasium.Env):
    """Two numbers to see; a choice, then a real to give."""

    observation_space = spaces.Dict({"real": spaces.Box(-1.0, 1.0, (1,)), "whole": spaces.Discrete(120)})
    action_space = spaces.Tuple((spaces.Discrete(12), spaces.Box(-2.0, 2.0, (1,))))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"real": np.array([0.5], np.float32), "whole": 117}, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


def test_the_legend_gives_the_numbers_that_were_written_and_what_comes_next():
    gymnasium.register("tokengym-test/Parts-v0", Parts, max_episode_steps=5)
    try:
        engine = Engine(Gym("tokengym-test/Parts-v0"), 1)
        engine.reset(None, [1])
        told = []
        for token in (0, 0, 0, 0):
            told.append(engine.task.legend(engine.tokens[0, : engine.lengths[0]]))
            engine.step(None, [token])
    finally:
        del gymnasium.registry["tokengym-test/Parts-v0"]
    # The grid of two digits has no point at .5: 74 of 0 … 99 is the nearest.
    assert {seen for seen, _ in told} == {f"seen: {-1 + 2 * 74 / 99:.3g}, 117"}
    assert [asked for _, asked in told] == [
        "next: number 1 of 2, digit 1 of 2; 0 0 … 1 1 stand for 0 … 11",
        "next: number 1 of 2, digit 2 of 2; 0 0 … 1 1 stand for 0 … 11",
        "next: number 2 of 2, digit 1 of 2; 0 0 … 9 9 stand for -2 … 2",
        "next: number 2 of 2, digit 2 of 2; 0 0 … 9 9 stand for -2 … 2",
    ]


def test_the_legend_leaves_out_what_names_tell_and_what_is_too_much():
    lake = Engine(Gym(), 1)
    lake.reset(None, [1])
    lake.step(None, [1])
    assert lake.task.legend(lake.tokens[0, : lake.lengths[0]]) == [f"seen: {lake._state['env'][0].unwrapped.s}"]
    pendulum = Gym("Pendulum-v1")
    tokens = np.array([pendulum.vocabulary.bos, 0, 0, 9, 9, 0, 0])
    assert pendulum.legend(tokens) == ["seen: -1, 1, -8", "next: digit 1 of 2; 0 0 … 9 9 stand for -2 … 2"]


def test_a_clock_around_a_task_is_left_out_of_its_legend():
    inner = Gym("Pendulum-v1")
    engine = Engine(Clock(inner), 1)
    engine.reset(None, [1])
    alone = Engine(inner, 1)
    alone.reset(None, [1])
    tokens = engine.tokens[0, : engine.lengths[0]]
    assert len(tokens) > alone.lengths[0]
    assert engine.task.legend(tokens) == inner.legend(alone.tokens[0, : alone.lengths[0]])
