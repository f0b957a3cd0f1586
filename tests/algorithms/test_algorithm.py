import dataclasses

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import EveryNTimesteps, StopTrainingOnMaxEpisodes

import tokengym.algorithms as package
from tokengym.agents.build import build_agent
from tokengym.algorithms.configs import AlgorithmConfig, PPOConfig, linear
from tokengym.algorithms.on_policy.a2c import A2C
from tokengym.algorithms.on_policy.ppo import PPO
from tokengym.algorithms.parts.rewards.running_std import RunningStd
from tokengym.algorithms.registry import ALGORITHMS
from tokengym.algorithms.requirements import check_task
from tokengym.algorithms.runs.callbacks import Callback, StopAfter
from tokengym.envs.checking.errors import TokenGymError
from tokengym.envs.registration import make_task

SMALL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}


class Watch(Callback):
    def __init__(self):
        self.calls = []

    def on_start(self, algorithm):
        self.calls.append("start")

    def on_episodes(self, algorithm, episodes):
        self.calls.append(episodes.num_tokens)

    def on_update(self, algorithm, metrics):
        self.calls.append(metrics)

    def on_end(self, algorithm):
        self.calls.append("end")


def test_callbacks_see_every_collection_and_update_and_timesteps_count_agent_tokens():
    watch = Watch()
    algorithm = PPO("tokengym/Copy-v0", SMALL, seed=0, rollout_tokens=60).learn(150, callback=watch)
    assert watch.calls[0] == "start" and watch.calls[-1] == "end"
    tokens = watch.calls[1:-1:2]
    assert algorithm.num_timesteps == sum(tokens) >= 150 > sum(tokens[:-1])
    assert algorithm.num_updates == len(tokens)


def test_a_callback_that_returns_false_stops():
    algorithm = PPO("tokengym/Copy-v0", SMALL, seed=0, rollout_tokens=60)
    algorithm.learn(10_000, callback=[StopAfter(100), Watch()])
    assert 100 <= algorithm.num_timesteps < 200


@pytest.mark.parametrize("callback", [StopTrainingOnMaxEpisodes(1), EveryNTimesteps(1, StopTrainingOnMaxEpisodes(1))])
def test_a_callback_of_stable_baselines3_is_refused_with_what_to_use(callback):
    with pytest.raises(TokenGymError, match=r"Stable-Baselines3.*on_update"):
        PPO("tokengym/Copy-v0", SMALL).learn(10, callback=callback)


@pytest.mark.parametrize("total", [0, -5, 1.5, "many", None, float("inf")])
def test_a_bad_total_is_refused(total):
    with pytest.raises(TokenGymError, match=r"total_timesteps is .*; expected a whole number of at least 1"):
        PPO("tokengym/Copy-v0", SMALL).learn(total)


@pytest.mark.parametrize("seed", [-1, 0.5, "x", None])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(TokenGymError, match=r"seed is .*at least 0"):
        PPO("tokengym/Copy-v0", SMALL, seed=seed)


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(TokenGymError, match="learning_rate"):
        PPO("tokengym/Copy-v0", SMALL, learning_rat=1e-3)


def test_an_unknown_algorithm_names_the_nearest():
    with pytest.raises(TokenGymError, match="ppo"):
        ALGORITHMS["pppo"]
    assert "ppo" in ALGORITHMS and "pppo" not in ALGORITHMS


def test_an_unknown_environment_names_the_nearest():
    with pytest.raises(TokenGymError, match="Copy"):
        PPO("tokengym/Cpy-v0")


BAD = [("learning_rate", 0.0), ("gamma", 1.1), ("rollout_tokens", 0), ("num_rows", -1), ("group_size", 0)]
BAD += [
    ("kl_in", "all"),
    ("kl_estimator", "k4"),
    ("kl_target", 0.0),
    ("clip", 0.0),
    ("epochs", 0),
    ("minibatches", 0),
]
BAD += [("gae_lambda", 2.0), ("loss_aggregation", "mean"), ("temperature", 0.0), ("learning_rate", "1e-3")]
BAD += [("missing_eos_penalty", -1.0)]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(TokenGymError, match=name):
        PPOConfig().replace(**{name: value})


def test_every_field_of_every_configuration_is_documented():
    import ast
    import inspect
    from pathlib import Path

    for kind in (PPO.Config, A2C.Config):
        for base in kind.__mro__:
            if not dataclasses.is_dataclass(base):
                continue
            path = inspect.getsourcefile(base)
            assert path is not None
            tree = ast.parse(Path(path).read_text())
            body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == base.__name__).body
            for i, node in enumerate(body):
                if isinstance(node, ast.AnnAssign):
                    following = body[i + 1] if i + 1 < len(body) else None
                    documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                    assert documented, f"{base.__name__}.{ast.unparse(node.target)} has no docstring"


def test_requirements_are_checked_at_the_door():
    noisy = make_task("WordleMini")
    noisy.deterministic = False
    with pytest.raises(TokenGymError, match="dpo requires deterministic transitions"):
        check_task("dpo", ("deterministic",), noisy, AlgorithmConfig())
    with pytest.raises(TokenGymError, match="whole completions"):
        check_task("rrhf", ("whole_completions",), make_task("CartPole"), AlgorithmConfig())


def test_an_agent_without_the_heads_or_the_vocabulary_is_refused():
    task = make_task("Copy")
    with pytest.raises(TokenGymError, match="needs the heads"):
        PPO(task, build_agent(SMALL, task.vocabulary, task.max_length, heads=("policy",)))
    other = make_task("TokenBandit")
    with pytest.raises(TokenGymError, match="vocabulary of the task"):
        PPO(task, build_agent(SMALL, other.vocabulary, task.max_length, heads=("policy", "value")))


def test_environments_come_as_ids_faces_and_tasks():
    vector = gymnasium.make_vec("tokengym/Copy-v0", num_envs=2, k=2)
    for env in ("tokengym/Copy-v0", gymnasium.make("tokengym/Copy-v0"), vector, make_task("Copy")):
        assert PPO(env, SMALL).task.name == "Copy"
    assert PPO(vector, SMALL).env_spec == {"id": "tokengym/Copy-v0", "kwargs": PPO(vector, SMALL).task.spec["kwargs"]}
    assert PPO(vector, SMALL).task.max_episode_tokens == 2


def test_a_time_limit_given_to_gymnasium_is_kept_and_saved(tmp_path):
    env = gymnasium.make("tokengym/Lattice-v0", max_episode_steps=6)
    algorithm = PPO(env, SMALL, rollout_tokens=30)
    assert algorithm.collect().flat.terminated.sum() == 0
    algorithm.save(tmp_path / "saved")
    assert (
        PPO.load(tmp_path / "saved").collect().episode_lengths.tolist() == algorithm.collect().episode_lengths.tolist()
    )


@pytest.mark.parametrize("name", ["ppo", "dqn", "sac", "tbrm", "distill", "dpo"])
def test_a_reference_without_a_policy_over_the_tasks_tokens_is_refused(name):
    task, other, longer = (make_task("KLTree", **given) for given in ({}, {"num_tokens": 3}, {"depth": 5}))
    kind = ALGORITHMS[name]
    of_q = build_agent(SMALL, task.vocabulary, task.max_length, heads=("q",))
    with pytest.raises(TokenGymError, match="reference has no policy, but the heads q; expected"):
        kind(task, "table", reference=of_q)
    with pytest.raises(TokenGymError, match=r"reference is an agent of 5 tokens, 3 of them sayable; 'KLTree' has 6"):
        kind(task, "table", reference=build_agent(SMALL, other.vocabulary, task.max_length))
    with pytest.raises(TokenGymError, match=r"reference reads 5 tokens, and 'KLTree' shows up to 6"):
        kind(longer, "table", reference=build_agent(SMALL, longer.vocabulary, task.max_length))


def test_wrappers_that_learning_would_not_see_are_refused():
    env = gymnasium.wrappers.TransformReward(gymnasium.make("tokengym/Copy-v0"), lambda reward: 2 * reward)
    with pytest.raises(TokenGymError, match="TransformReward"):
        PPO(env, SMALL)
    with pytest.raises(TokenGymError, match="expected an environment id"):
        PPO(gymnasium.make("CartPole-v1"), SMALL)


def test_the_learning_rate_and_entropy_bonus_fall_linearly():
    seen = []

    class Rates(Callback):
        def on_update(self, algorithm, metrics):
            seen.append((algorithm.progress, metrics["optim/learning_rate"], metrics["optim/entropy_coef"]))

    PPO("tokengym/Copy-v0", SMALL, seed=0, rollout_tokens=60, learning_rate=1e-2).learn(600, callback=Rates())
    for progress, rate, entropy_coef in seen:
        assert rate == pytest.approx(1e-2 * (1 - 0.95 * progress))
        assert entropy_coef == pytest.approx(0.01 * (1 - progress))
    assert linear(1.0, 0.0, 0.5, duration=0.25) == 0.0


def test_the_scale_of_returns_is_the_standard_deviation_of_everything_seen():
    values = np.random.default_rng(0).normal(5.0, 3.0, size=1000)
    running = RunningStd()
    for part in np.split(values, [1, 10, 400]):
        running.update(part)
    assert running.std == pytest.approx(values.std())
    assert RunningStd().scale == 1.0
    constant = RunningStd()
    constant.update(np.full(100, 0.1))
    assert constant.scale == 1.0


def test_scaled_rewards_make_the_gradient_independent_of_the_units_of_reward():
    gradients = []
    for scale in (1.0, 1000.0):
        task = make_task("TokenBandit", reward_scale=scale)
        algorithm = A2C(task, SMALL, seed=0, entropy_coef=0.0)
        algorithm.update(algorithm.collect())
        gradients.append([p.grad.clone() for p in algorithm.agent.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"separate_critic": True},
        {"whiten_advantages": True, "whiten_rewards": True},
        {"kl_coef": 0.1, "kl_in": "loss", "kl_estimator": "k2"},
        {"kl_coef": 0.1, "kl_in": "loss", "kl_estimator": "k2", "kl_level": "sequence"},
        {"kl_coef": 0.1, "kl_in": "both", "kl_estimator": "exact", "micro_batch_tokens": 16},
        {"kl_budget": 50.0, "kl_reference": "uniform", "length_penalty": 0.1, "length_free": 2},
        {"temperature": 2.0, "gamma": 0.9},
        {"weight_decay": 0.1, "group_size": 4},
        {"loss_aggregation": "constant", "action_masks": True},
    ],
)
@pytest.mark.parametrize("kind", [PPO, A2C])
def test_every_option_learns_a_step(kind, options):
    algorithm = kind("tokengym/Copy-v0", SMALL, seed=0, rollout_tokens=40, **options).learn(80)
    assert algorithm.num_updates == 2


def test_ppo_clips_values_where_asked():
    algorithm = PPO("tokengym/Copy-v0", SMALL, seed=0, rollout_tokens=40, value_clip=1e-4, learning_rate=1e-2)
    assert algorithm.update(algorithm.collect())["value/clip_fraction"] > 0


def test_a_progress_bar_shows_the_numbers_that_matter(capsys):
    PPO("tokengym/Copy-v0", SMALL, seed=0, rollout_tokens=40).learn(80, progress_bar=True)
    shown = capsys.readouterr().out
    assert "ppo" in shown and "/80" in shown and "return" in shown


def test_the_package_gives_the_names_that_it_lists():
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert package.PPO is package.ALGORITHMS["ppo"]
    assert not hasattr(package, "Nothing")
