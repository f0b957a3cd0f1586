"""Rewards that are not finite, in the midst of learning: named with the update, and never let into what is kept."""

from typing import ClassVar

import numpy as np
import pytest

from tokengym.algorithms import ALGORITHMS, DQN, Callback, load_algorithm
from tokengym.algorithms.parts import DivergedError, RewardError
from tokengym.algorithms.sb3.algorithm import SB3PPO
from tokengym.envs import TokenGymError, TokenTask, TurnResult, Vocabulary
from tokengym.experiments.evaluation import evaluate_agent


class Sums(TokenTask):
    """Say two digits of a sum that is shown; from one turn on, the first of those who are answered is paid badly."""

    name = "Sums"
    vocabulary = Vocabulary.of([*"0123456789"], shown=[f"={total}" for total in range(19)])
    max_turns, max_turn_tokens, max_length = 1, 2, 4
    fields: ClassVar = {"total": np.int64}

    def __init__(self, bad=np.nan, after=np.inf):
        self.bad, self.after, self.answered = bad, after, 0

    def begin(self, state, rows, random):
        state["total"][rows] = random.integers(rows, 19)[:, 0]
        return 10 + state["total"][rows, None]

    def respond(self, state, rows, turn_tokens, counts, random):
        self.answered += len(rows)
        rewards = 1.0 * (turn_tokens.sum(axis=1) == state["total"][rows])
        if self.answered > self.after:
            rewards[0] = self.bad
        return TurnResult(None, rewards)


class Saves(Callback):
    """Saves after each update."""

    def __init__(self, folder):
        self.folder = folder

    def on_update(self, algorithm, metrics):
        algorithm.save(self.folder)


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e39])
@pytest.mark.parametrize("name", ["ppo", "grpo", "raft", "expert-iteration", "vine-ppo", "dqn"])
@pytest.mark.filterwarnings("ignore:overflow")
def test_the_rewards_are_named_with_the_update_before_anything_is_learnt_from_them(name, bad, tmp_path):
    algorithm = ALGORITHMS[name](Sums(bad, after=900), seed=0)
    with pytest.raises(DivergedError, match=r"rewards is not finite.*Task 'Sums' paid (nan|-?inf)") as error:
        algorithm.learn(5_000, callback=Saves(tmp_path / "last"))
    assert error.value.name == "rewards" and error.value.num_updates == algorithm.num_updates
    if algorithm.num_updates:  # the last that was saved goes on
        algorithm.task.after = np.inf
        resumed = load_algorithm(tmp_path / "last", Sums())
        assert resumed.learn(resumed.spent + 200).num_updates > algorithm.num_updates


def test_a_replay_does_not_hold_them():
    algorithm = DQN(Sums(after=900), seed=0)
    with pytest.raises(DivergedError):
        algorithm.learn(5_000)
    assert np.isfinite(algorithm.replay.sample(512).episodes.rewards).all()


def test_demonstrations_are_refused():
    with pytest.raises(RewardError, match=r"Sums.*paid nan.*mend the task"):
        ALGORITHMS["filtered-bc"](Sums(after=9), demonstrations=64)


def test_stable_baselines_does_not_learn_from_them_and_a_lost_weight_is_named():
    with pytest.raises(DivergedError, match=r"rewards is not finite.*paid nan"):
        SB3PPO(Sums(after=100), seed=0).learn(2_000)
    lost = SB3PPO(Sums(), seed=0)
    next(lost.model.policy.action_net.parameters()).data.fill_(np.nan)
    with pytest.raises(DivergedError, match=r"action_net\.weight is not finite. The library has"):
        lost.learn(2_000)


def test_nothing_is_worth_what_is_no_number():
    player = DQN(Sums(), seed=0)
    with pytest.raises(TokenGymError, match=r"'Sums' cannot be evaluated.*came to nan"):
        evaluate_agent(player, Sums(after=3), episodes=8)
