"""sb3-contrib's algorithms as references: what is particular to each, and what is said where the extra is missing."""

import sys

import numpy as np
import pytest
import torch

from tokengym.algorithms.registry import ALGORITHMS
from tokengym.algorithms.runs.callbacks import Callback
from tokengym.algorithms.sb3.algorithm import SB3PPO
from tokengym.algorithms.sb3.contrib import SB3QRDQN, SB3TRPO, SB3MaskablePPO
from tokengym.algorithms.sb3.env import SB3VecEnv
from tokengym.envs.checking.errors import TokenGymError
from tokengym.experiments.evaluation import evaluate_agent, uses_masks

SMALL = {"n_steps": 8, "batch_size": 32, "n_epochs": 2}


@pytest.mark.parametrize("name", ["sb3-qrdqn", "sb3-maskable-ppo", "sb3-trpo"])
def test_without_the_extra_it_is_said_how_to_get_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    with pytest.raises(TokenGymError, match=rf"'{name}' needs sb3-contrib: pip install 'tokengym\[contrib\]'"):
        ALGORITHMS[name]("TokenBandit")


class _Watched(Callback):
    """Notes, of every token that was said in learning, whether it was legal."""

    def on_start(self, algorithm):
        env = algorithm.model.env
        take = env.step_async
        self.legal = []

        def step_async(actions):
            masks = env.action_masks()
            self.legal += masks[np.arange(len(masks)), actions].tolist()
            take(actions)

        env.step_async = step_async


@pytest.mark.parametrize("masked", [True, False])
def test_masks_hold_in_learning_and_evaluation_where_they_are_asked_for(masked):
    pytest.importorskip("sb3_contrib")
    watched = _Watched()
    ppo = SB3MaskablePPO("TicTacToe", **SMALL, action_masks=masked)
    ppo.learn(400, callback=watched)
    assert len(watched.legal) >= 400 and all(watched.legal) is masked
    assert uses_masks(ppo) is masked
    if masked:
        env = SB3VecEnv(ppo.task, 1)
        env.reset()
        seen, _, _, _ = env.step(np.array([4]))
        masks = env.action_masks()
        assert not masks.all()
        probabilities = ppo.agent.probabilities(seen["tokens"], seen["length"][:, 0], masks)
        assert not probabilities[~masks].any()
        assert evaluate_agent(ppo, ppo.task, episodes=20, exact_limit=0, action_masks=True, deterministic=False)


def test_without_masks_it_learns_what_ppo_learns():
    pytest.importorskip("sb3_contrib")

    def weights(kind, **more):
        algorithm = kind("Copy", seed=3, **SMALL, **more).learn(300)
        return torch.cat([one.flatten() for one in algorithm.model.policy.parameters()])

    torch.testing.assert_close(weights(SB3MaskablePPO, action_masks=False), weights(SB3PPO), rtol=1e-4, atol=1e-6)


def test_the_mean_of_the_quantiles_is_followed():
    pytest.importorskip("sb3_contrib")
    dqn = SB3QRDQN("Copy", learning_starts=64, n_quantiles=7).learn(200)
    seen = SB3VecEnv(dqn.task, 5).reset()
    tensors = {name: torch.from_numpy(value.astype(np.float32)) for name, value in seen.items()}
    with torch.no_grad():
        quantiles = dqn.model.quantile_net(tensors)
    assert quantiles.shape == (5, 7, dqn.task.vocabulary.num_actions)
    chosen = dqn.agent.probabilities(seen["tokens"], seen["length"][:, 0]).argmax(1)
    np.testing.assert_array_equal(chosen, quantiles.mean(1).argmax(1))
    theirs, _ = dqn.model.predict(seen, deterministic=True)
    np.testing.assert_array_equal(chosen, theirs)


def test_no_update_of_trpo_moves_further_than_its_bound():
    pytest.importorskip("sb3_contrib")

    class Moves(Callback):
        moved, held = [], []

        def on_update(self, algorithm, metrics):
            self.moved.append(metrics["policy/kl"])
            self.held.append(metrics["policy/line_search_success"])

    SB3TRPO("Copy", n_steps=16, batch_size=32, target_kl=0.004).learn(1500, callback=(moves := Moves()))
    assert len(moves.moved) > 8 and max(moves.held) == 1
    assert all(0 <= one < 0.004 for one in moves.moved) and max(moves.moved) > 0.001
