"""Stable-Baselines3's algorithms on token tasks: the vector environment, the policies and the references."""

import importlib.util
import json
import random
import tempfile

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy as sb3_evaluate_policy
from stable_baselines3.common.monitor import Monitor
from transformers import GPT2Config, GPT2LMHeadModel

from tokengym.algorithms.registry import ALGORITHMS, load_algorithm
from tokengym.algorithms.runs.callbacks import Callback, StopAfter
from tokengym.algorithms.sb3.algorithm import SB3A2C, SB3DQN, SB3PPO
from tokengym.algorithms.sb3.contrib import SB3QRDQN, SB3TRPO, SB3MaskablePPO
from tokengym.algorithms.sb3.env import SB3VecEnv
from tokengym.algorithms.sb3.policy import TokenExtractor, ids_and_lengths
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.exact.solver import evaluate_policy, solve
from tokengym.envs.registration import make_task
from tokengym.envs.vector_env import TokenVectorEnv

WITHOUT_EXTRA = pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="needs the extra contrib")
REFERENCES = (
    *(SB3PPO, SB3A2C, SB3DQN),
    *(pytest.param(kind, marks=WITHOUT_EXTRA) for kind in (SB3QRDQN, SB3MaskablePPO, SB3TRPO)),
)
# Small enough to update several times within a few hundred tokens.
SMALL = {
    "sb3-ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 2},
    "sb3-a2c": {"n_steps": 8, "num_envs": 8},
    "sb3-dqn": {"learning_starts": 64, "gradient_steps": 1},
    "sb3-qrdqn": {"learning_starts": 64, "gradient_steps": 1},
    "sb3-maskable-ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 2},
    "sb3-trpo": {"n_steps": 8, "batch_size": 32, "n_critic_updates": 2},
}
TINY = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}


def small(kind, env="TokenBandit", **overrides):
    return kind(env, **{**SMALL[kind.name], **overrides})


@pytest.mark.parametrize("name", ["Copy", "Lattice", "WordleMini"])
def test_trajectories_are_those_of_the_gymnasium_vector_environment(name):
    task = make_task(name, transforms=[{"name": "time_limit", "max_tokens": 7}])
    ours, theirs = SB3VecEnv(task, 5), TokenVectorEnv(5, task)
    ours.seed(11)
    observation, (expected, _) = ours.reset(), theirs.reset(seed=11)
    generator = np.random.default_rng(0)
    ends = 0
    for _ in range(60):
        for key in expected:
            np.testing.assert_array_equal(observation[key], expected[key])
        actions = generator.integers(task.vocabulary.num_actions, size=5)
        observation, rewards, dones, infos = ours.step(actions)
        expected, expected_rewards, terminated, truncated, vector_infos = theirs.step(actions)
        np.testing.assert_array_equal(rewards, expected_rewards.astype(np.float32))
        np.testing.assert_array_equal(dones, terminated | truncated)
        for row, info in enumerate(infos):
            assert ("terminal_observation" in info) == dones[row]
            if dones[row]:
                ends += 1
                assert info["TimeLimit.truncated"] == truncated[row]
                for key, last in vector_infos["final_obs"][row].items():
                    np.testing.assert_array_equal(info["terminal_observation"][key], last)
    assert ends > 5


def test_the_info_of_an_ended_row_holds_its_return_and_length():
    env = SB3VecEnv(make_task("Copy"), 1)
    env.reset()
    total, length = 0.0, 0
    for _ in range(30):
        _, rewards, dones, infos = env.step(np.zeros(1, int))
        total, length = total + rewards[0], length + 1
        if dones[0]:
            assert infos[0]["episode"]["l"] == length
            assert infos[0]["episode"]["r"] == pytest.approx(total)
            total, length = 0.0, 0
    assert length < 30


def test_observations_are_copies_since_they_are_stored_after_the_next_step():
    env = SB3VecEnv(make_task("Copy"), 3)
    before = env.reset()
    kept = {key: value.copy() for key, value in before.items()}
    env.step(np.zeros(3, int))
    for key, value in kept.items():
        np.testing.assert_array_equal(before[key], value)


def test_the_vector_environment_answers_what_stable_baselines3_asks():
    env = SB3VecEnv(make_task("WordleMini"), 3)
    env.reset()
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit, indices=0) == [False]
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("max_length", indices=[0, 2]) == [env.task.max_length] * 2
    assert env.has_attr("action_masks") and not env.has_attr("nonsense")
    masks = env.env_method("action_masks")
    assert len(masks) == 3 and masks[0].shape == (env.task.vocabulary.num_actions,)
    with pytest.raises(AttributeError, match="only 'action_masks'"):
        env.env_method("reset")
    with pytest.raises(TokenGymError, match="share one task"):
        env.set_attr("max_length", 3)


def test_padding_cannot_matter_to_the_small_network():
    space = SB3VecEnv(make_task("Copy"), 1).observation_space
    extractor = TokenExtractor(space)  # type: ignore[arg-type]
    length = space["tokens"].shape[0]  # type: ignore[index]
    tokens = torch.zeros(2, length)
    tokens[1, 3:] = 1.0
    lengths = torch.tensor([[3.0], [3.0]])
    alone = extractor({"tokens": tokens, "length": lengths})
    torch.testing.assert_close(alone[0], alone[1])
    beside_a_longer_row = extractor(
        {"tokens": torch.cat([tokens, tokens[:1]]), "length": torch.tensor([[3.0], [3.0], [length]])}
    )
    torch.testing.assert_close(alone[0], beside_a_longer_row[0])


def test_ids_survive_the_cast_to_float():
    ids = torch.tensor([[50_256, 1, 0]])
    back, lengths = ids_and_lengths({"tokens": ids.float(), "length": torch.tensor([[2.0]])})
    assert back.tolist() == [[50_256, 1]] and lengths.tolist() == [2]


@pytest.mark.parametrize("kind", REFERENCES)
def test_the_global_generators_are_left_as_they_were(kind):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    algorithm = small(kind)
    algorithm.learn(200)
    assert states() == before


@pytest.mark.parametrize("kind", REFERENCES)
def test_the_same_seed_gives_the_same_bits_whatever_the_global_generators_do(kind):
    def weights(seed):
        algorithm = small(kind, seed=seed)
        np.random.rand(3)
        torch.rand(3)
        algorithm.learn(300)
        return torch.cat([p.flatten() for p in algorithm.model.policy.parameters()])

    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", REFERENCES)
def test_learning_in_slices_counts_on_to_the_total(kind):
    algorithm = small(kind)
    algorithm.learn(600, callback=StopAfter(100))
    stopped = algorithm.num_timesteps
    assert 100 <= stopped < 600
    algorithm.learn(600)
    assert 600 <= algorithm.num_timesteps < 600 + 8 * 8
    with pytest.warns(RuntimeWarning, match="the budget of 600 tokens was spent before"):
        algorithm.learn(600)
    assert algorithm.num_timesteps < 600 + 8 * 8


@pytest.mark.parametrize("kind", REFERENCES)
def test_callbacks_of_both_kinds_are_called_and_metrics_written(kind, tmp_path):
    class Ours(Callback):
        tokens: list[int]

        def on_start(self, algorithm):
            self.tokens = [algorithm.num_timesteps]

        def on_update(self, algorithm, metrics):
            self.tokens.append(algorithm.num_timesteps)
            self.last = metrics

    class Theirs(BaseCallback):
        def _on_step(self):
            return True

    ours, theirs = Ours(), Theirs()
    algorithm = small(kind).learn(1200, callback=[ours, theirs], log_dir=tmp_path)
    assert ours.tokens[0] == 0 and ours.tokens[-1] == algorithm.num_timesteps >= 1200
    assert ours.tokens == sorted(set(ours.tokens)) and len(ours.tokens) > 2
    assert theirs.n_calls * 8 == algorithm.num_timesteps
    assert 0 <= ours.last["episode/return"] <= 1 and ours.last["episode/length"] == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["tokens"] for line in lines] == ours.tokens[1:]


@pytest.mark.parametrize("kind", REFERENCES)
def test_they_learn_the_bandit(kind):
    task = make_task("TokenBandit")
    algorithm = kind(task, seed=5)
    algorithm.learn(3000)

    def greedy(tokens, lengths):
        return np.eye(task.vocabulary.num_actions)[algorithm.agent.probabilities(tokens, lengths).argmax(axis=1)]

    optimal = solve(task).optimal_return
    assert evaluate_policy(task, greedy).expected_return == pytest.approx(optimal)
    assert evaluate_policy(task, algorithm.agent.probabilities).expected_return > 0.8 * optimal


def test_the_exact_value_of_the_policy_is_what_stable_baselines3_itself_measures():
    algorithm = small(SB3PPO, "Copy")
    algorithm.learn(100)
    exact = evaluate_policy(algorithm.task, algorithm.agent.probabilities)
    torch.manual_seed(0)
    mean, _ = sb3_evaluate_policy(
        algorithm.model, SB3VecEnv(algorithm.task, 50, seed=9), n_eval_episodes=1000, deterministic=False
    )
    error = np.sqrt(exact.variance / 1000)
    assert abs(float(np.mean(mean)) - exact.expected_return) < 4 * error


@pytest.mark.parametrize("kind", REFERENCES)
def test_predict_draws_from_the_probabilities_of_a_whole_batch(kind):
    algorithm = small(kind, "Copy")
    algorithm.learn(100)
    env = SB3VecEnv(algorithm.task, 2000)
    env.seed(0)
    observation = env.reset()
    same = {key: np.repeat(value[:1], 2000, axis=0) for key, value in observation.items()}
    probabilities = algorithm.agent.probabilities(same["tokens"][:1], same["length"][:1, 0])[0]
    actions, state = algorithm.predict(same)
    assert state is None and actions.shape == (2000,)
    frequencies = np.bincount(actions, minlength=len(probabilities)) / 2000
    np.testing.assert_allclose(frequencies, probabilities, atol=0.06)
    single, _ = algorithm.predict({key: value[0] for key, value in same.items()}, deterministic=True)
    assert single == probabilities.argmax() and np.ndim(single) == 0


@pytest.mark.parametrize("kind", REFERENCES)
def test_masked_tokens_are_never_said(kind):
    algorithm = small(kind, "Copy")
    algorithm.learn(100)
    observation = SB3VecEnv(algorithm.task, 4).reset()
    masks = np.zeros((4, algorithm.task.vocabulary.num_actions), bool)
    masks[:, [0, 2]] = True
    probabilities = algorithm.agent.probabilities(observation["tokens"], observation["length"][:, 0], masks)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert not probabilities[~masks].any()


@pytest.mark.parametrize("kind", REFERENCES)
def test_the_transformer_reads_the_tokens_where_asked(kind):
    algorithm = small(kind, "Copy", agent=TINY)
    algorithm.learn(200)
    trunks = [module for module in algorithm.model.policy.modules() if type(module).__name__ == "TransformerTrunk"]
    assert len(trunks) == (1 if kind in (SB3PPO, SB3A2C, SB3MaskablePPO) else 2)
    observation = SB3VecEnv(algorithm.task, 3).reset()
    probabilities = algorithm.agent.probabilities(observation["tokens"], observation["length"][:, 0])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_a_table_has_no_features_for_them():
    with pytest.raises(TokenGymError, match="agent='mlp'"):
        small(SB3PPO, agent="table")


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_checkpoint_predicts_the_same_and_does_not_go_on_learning(kind, tmp_path):
    algorithm = small(kind, "tokengym/Copy-v0")
    algorithm.learn(200)
    algorithm.save(tmp_path / "checkpoint")
    loaded = load_algorithm(tmp_path / "checkpoint")
    assert type(loaded) is kind and loaded.num_timesteps == algorithm.num_timesteps
    observation = SB3VecEnv(algorithm.task, 6).reset()
    arguments = observation["tokens"], observation["length"][:, 0]
    np.testing.assert_array_equal(loaded.agent.probabilities(*arguments), algorithm.agent.probabilities(*arguments))
    with pytest.raises(TokenGymError, match="Train a new one"):
        loaded.learn(10_000)


def test_a_model_object_is_saved_by_its_shapes(tmp_path):
    model = GPT2LMHeadModel(
        GPT2Config(bos_token_id=None, eos_token_id=None, vocab_size=16, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    )
    algorithm = small(SB3A2C, "tokengym/Copy-v0", agent=model)
    algorithm.save(tmp_path / "checkpoint")
    observation = SB3VecEnv(algorithm.task, 2).reset()
    arguments = observation["tokens"], observation["length"][:, 0]
    loaded = load_algorithm(tmp_path / "checkpoint")
    np.testing.assert_array_equal(loaded.agent.probabilities(*arguments), algorithm.agent.probabilities(*arguments))


def test_unknown_fields_and_bad_values_stop_at_the_door():
    with pytest.raises(TokenGymError, match="n_epochs"):
        SB3PPO("TokenBandit", n_epoch=3)
    with pytest.raises(TokenGymError, match="divisor"):
        SB3PPO("TokenBandit", batch_size=100)
    with pytest.raises(TokenGymError, match="num_envs is 0"):
        SB3DQN("TokenBandit", num_envs=0)
    with pytest.raises(TokenGymError, match="total_timesteps"):
        small(SB3A2C).learn(0)


def test_they_are_in_the_registry_with_the_extra_and_without():
    kinds = [SB3PPO, SB3A2C, SB3DQN, SB3QRDQN, SB3MaskablePPO, SB3TRPO]
    assert [ALGORITHMS[kind.name] for kind in kinds] == kinds


def test_a_misspelt_network_gets_the_nearest_names():
    with pytest.raises(TokenGymError, match="unknown agent 'mlpp': did you mean 'mlp'"):
        SB3PPO("tokengym/TokenBandit-v0", "mlpp")


def test_learning_leaves_nothing_among_the_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ALGORITHMS["sb3-a2c"]("Copy", seed=0, n_steps=4).learn(128)
    assert not list(tmp_path.iterdir())
