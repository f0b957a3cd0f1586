import gymnasium as gym
import numpy as np
import pytest

import tokengym  # noqa: F401
from tokengym.agents import ExpertPlayer, HumanPlayer, OptimalPlayer, RandomPlayer
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.engine import Engine
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.registration import make_task
from tokengym.envs.vocabulary import Vocabulary


def test_the_random_player_has_the_random_return():
    task = make_task("tokengym/Copy-v0", k=2, num_tokens=3)
    player = RandomPlayer(task.vocabulary)
    assert evaluate_policy(task, player.probabilities).expected_return == pytest.approx(solve(task).random_return)


def test_the_random_player_draws_uniformly_and_only_what_is_legal():
    player = RandomPlayer(Vocabulary.of("abcd"), seed=1)
    observation = {"tokens": np.full((4000, 3), 4), "length": np.ones((4000, 1))}
    actions, state = player.predict(observation)
    assert state is None and np.allclose(np.bincount(actions, minlength=4) / 4000, 0.25, atol=0.03)
    masks = np.zeros((4000, 4), bool)
    masks[:, [1, 3]] = True
    assert set(player.predict(observation, action_masks=masks)[0]) == {1, 3}


def test_the_optimal_player_attains_the_optimum_by_playing():
    env = gym.make("tokengym/Copy-v0")
    player = OptimalPlayer(env.unwrapped.task)
    total, over = 0.0, False
    observation, _ = env.reset(seed=0)
    while not over:
        action, _ = player.predict(observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
    assert total == pytest.approx(1.0)


def test_the_expert_refuses_observations_of_another_environment():
    task = make_task("tokengym/Copy-v0")
    ours, other = Engine(task, 2), Engine(task, 2)
    ours.reset(None, np.array([1, 2], np.uint64))
    other.reset(None, np.array([3, 4], np.uint64))
    with pytest.raises(TokenGymError, match="another environment"):
        ExpertPlayer(ours).predict({"tokens": other.tokens, "length": other.lengths[:, None]})


def test_the_expert_says_what_the_task_says(monkeypatch):
    engine = Engine(make_task("tokengym/Copy-v0"), 3)
    engine.reset(None, np.arange(3, dtype=np.uint64))
    shown = {"tokens": engine.tokens, "length": engine.lengths[:, None]}
    monkeypatch.setattr(type(engine.task), "expert", lambda self, state, rows: np.array([2, 0, 1]))
    assert ExpertPlayer(engine).predict(shown)[0].tolist() == [2, 0, 1]
    monkeypatch.setattr(type(engine.task), "expert", lambda self, state, rows: None)
    with pytest.raises(TokenGymError, match="no expert"):
        ExpertPlayer(engine).predict(shown)


def test_a_person_is_asked_until_the_token_can_be_said():
    answers, shown = iter(["hello", "<pad>", "b", "c"]), []
    player = HumanPlayer(Vocabulary.of("abc"), ask=lambda prompt: next(answers), show=shown.append)
    action, _ = player.predict(
        {"tokens": np.array([3, 0, 4]), "length": np.array([2])}, action_masks=np.array([1, 0, 1])
    )
    assert action == 2
    assert shown[0] == "a" and "unknown token 'hello'" in shown[1] and len(shown) == 4
    with pytest.raises(TokenGymError, match="one environment at a time"):
        player.predict({"tokens": np.array([[3], [3]]), "length": np.array([[1], [1]])})
