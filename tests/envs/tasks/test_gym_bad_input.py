"""`Gym` around what cannot be written in tokens, and around environments that break their own promises."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tokengym.envs import Engine, TokenGymError
from tokengym.envs.continuous.quantise import Grid
from tokengym.envs.tasks.control.gym_task import Gym

TWO = spaces.Discrete(2)


class Stranger(gymnasium.Env):
    """Declares any spaces, and shows and pays anything."""

    def __init__(self, observation_space, action_space=TWO, shown=None, paid=1.0):
        self.observation_space, self.action_space = observation_space, action_space
        self.shown, self.paid = shown, paid

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.shown, {}

    def step(self, action):
        return self.shown, self.paid, False, False, {}


@pytest.fixture
def stranger():
    """Registers the environment and gives the task around it."""
    gymnasium.register("Stranger-v0", entry_point=Stranger, max_episode_steps=5)
    yield lambda env_kwargs, **arguments: Gym("Stranger-v0", env_kwargs, **arguments)
    gymnasium.registry.pop("Stranger-v0", None)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "a grid needs finite ones.*give low and high"),
        (spaces.Box(0, np.inf, (2,)), "a grid needs finite ones"),
        (spaces.Text(5), "cannot be written in tokens"),
        (spaces.Graph(spaces.Box(0, 1), None), "cannot be written in tokens"),
        (spaces.Sequence(TWO), "cannot be written in tokens"),
        (spaces.Dict(a=spaces.Tuple([spaces.Text(4)])), r"at \['a'\]\[0\] cannot be written in tokens"),
        (spaces.Box(0, 255, (210, 160, 3), np.uint8), "takes 201600 tokens.* at most 8192"),
        (spaces.MultiBinary(100_000), "takes 100000 tokens"),
        (spaces.Box(0, 1, (0,)), "is empty"),
        (spaces.Discrete(2**62), "at most 9007199254740992 can be written"),
        (None, "cannot be written in tokens"),
    ],
)
def test_an_observation_space_without_tokens_is_refused(stranger, space, message):
    with pytest.raises(TokenGymError, match=message):
        stranger({"observation_space": space})


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Text(5), "the action space .* cannot be written in tokens"),
        (spaces.Sequence(TWO), "cannot be written in tokens"),
        (spaces.Box(-np.inf, np.inf, (2,)), "no finite bounds.*TransformAction"),
        (None, "cannot be written in tokens"),
    ],
)
def test_an_action_space_without_tokens_is_refused(stranger, space, message):
    with pytest.raises(TokenGymError, match=message):
        stranger({"observation_space": TWO, "action_space": space})


@pytest.mark.parametrize(
    ("space", "shown"),
    [
        (spaces.Box(-1, 1, (2,)), np.zeros(5)),
        (spaces.Box(-1, 1, (2,)), None),
        (TWO, np.zeros(5)),
        (TWO, "left"),
        (spaces.Dict(a=TWO), {}),
        (spaces.Dict(a=TWO), np.zeros(3)),
        (spaces.Tuple([TWO, TWO]), (1,)),
    ],
)
def test_an_observation_of_another_space_is_told_with_both(stranger, space, shown):
    engine = Engine(stranger({"observation_space": space, "shown": shown}), 1)
    with pytest.raises(TokenGymError, match=r"the value .* is not of the space .* that the environment declares"):
        engine.reset(None, [0])


@pytest.mark.parametrize("paid", [float("nan"), float("inf"), None])
def test_a_reward_that_is_no_number_is_not_passed_on(stranger, paid):
    engine = Engine(stranger({"observation_space": TWO, "shown": 1, "paid": paid}), 2)
    engine.reset(None, [0, 1])
    with pytest.raises(TokenGymError, match=f"'Stranger-v0' paid the reward {paid!r}: it must be a finite number"):
        engine.step(None, [0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env_id": "Nowhere-v0"}, "'Nowhere-v0' cannot be made: NameNotFound"),
        ({"env_id": "nowhere_to_be_found:Some-v0"}, "cannot be made: ModuleNotFoundError"),
        ({"env_id": 3}, "cannot be made"),
        ({"env_kwargs": {"map_name": "9x9"}}, r"cannot be made with env_kwargs=\{'map_name': '9x9'\}: KeyError"),
        ({"env_kwargs": [1]}, r"env_kwargs=\[1\]: give a mapping"),
        ({"env_kwargs": ""}, "env_kwargs='': give a mapping"),
        ({"base": 10**9}, "base=1000000000 is too large"),
        ({"digits": 10**9}, "digits=1000000000: a real can have at most"),
        ({"scale": "mu"}, "unknown scale 'mu': did you mean 'mu_law'"),
        ({"scale": []}, "unknown scale"),
        ({"low": -1}, "has no reals, which bounds are for: leave out low and high"),
        ({"action_names": "lurd"}, "action_names='lurd': give a list of 4 names"),
        ({"action_names": 3}, "action_names=3: give a list of 4 names"),
        ({"env_id": "CartPole-v1", "low": "a", "high": 1}, "low='a': give one number, or a list of 4"),
        ({"env_id": "CartPole-v1", "low": [[1], [1, 2]], "high": 1}, "give one number, or a list of 4"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(TokenGymError, match=message):
        Gym(**arguments)


def test_bounds_further_apart_than_a_float_are_refused():
    with pytest.raises(TokenGymError, match="further apart than a float can say"):
        Grid(np.array([-1.7e308]), np.array([1.7e308]), 10)


def test_starts_below_0_are_written_and_read_back(stranger):
    task = stranger({"observation_space": spaces.Discrete(5, start=-3), "action_space": spaces.Discrete(4, start=-2)})
    assert task._observation.encode([-3, 1]).tolist() == [[0], [4]]
    assert task.read_actions(np.array([[0], [3]])) == [-2, 1]
