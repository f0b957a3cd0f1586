"""The fields of each configuration as keywords, for editors and type checkers: what `**overrides` takes.

A test holds them to be those of the configurations, which say what each is for.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict


class AlgorithmOverrides(TypedDict, total=False):
    """Fields of `AlgorithmConfig`."""

    learning_rate: float | None
    final_learning_rate_fraction: float
    adam_eps: float
    weight_decay: float
    max_grad_norm: float
    micro_batch_tokens: int | None
    gamma: float
    temperature: float
    rollout_tokens: int
    num_rows: int
    group_size: int
    reward_scaling: bool
    missing_eos_penalty: float
    token_rewards: bool
    action_masks: bool
    kl_coef: float
    kl_in: Literal["reward", "loss"]
    kl_estimator: Literal["k1", "k2", "k3"]
    kl_target: float | None
    kl_horizon: int
    kl_reference: Literal["initial", "uniform"]


class OnPolicyOverrides(AlgorithmOverrides, total=False):
    """Fields of `OnPolicyConfig`, beside those of `AlgorithmConfig`."""

    entropy_coef: float
    final_entropy_fraction: float
    whiten_advantages: bool | None
    whiten_rewards: bool
    loss_aggregation: Literal["token", "sequence", "constant"]
    ratio_tolerance: float


class ActorCriticOverrides(OnPolicyOverrides, total=False):
    """Fields of `ActorCriticConfig`, beside those of `OnPolicyConfig`."""

    gae_lambda: float
    value_coef: float
    separate_critic: bool


class PPOOverrides(ActorCriticOverrides, total=False):
    """Fields of `PPOConfig`, beside those of `ActorCriticConfig`."""

    epochs: int
    minibatches: int
    clip: float
    value_clip: float | None
    target_kl: float | None


class A2COverrides(ActorCriticOverrides, total=False):
    """Fields of `A2CConfig`, beside those of `ActorCriticConfig`."""


class OffPolicyOverrides(AlgorithmOverrides, total=False):
    """Fields of `OffPolicyConfig`, beside those of `AlgorithmConfig`."""

    replay_capacity: int
    batch_episodes: int
    updates_per_collection: int
    learning_starts: int
    prioritised: Literal["none", "episode", "token"]
    priority_alpha: float
    priority_beta: float
    epsilon: float
    final_epsilon: float
    epsilon_fraction: float
    exploration: Literal["uniform", "boltzmann"]
    exploration_temperature: float
    target_polyak: float
    target_every: int
    returns: Literal["n_step", "trace"]
    n_step: int
    trace_lambda: float


class DQNOverrides(OffPolicyOverrides, total=False):
    """Fields of `DQNConfig`, beside those of `OffPolicyConfig`."""

    double: bool
    dueling: bool
    huber_delta: float


class SACOverrides(OffPolicyOverrides, total=False):
    """Fields of `SACConfig`, beside those of `OffPolicyConfig`."""

    alpha: float
    initial_alpha: float | None
    alpha_fraction: float
    entropy_target: float | None
    alpha_learning_rate: float
    critics: Literal["min", "mean"]
    q_clip: float | None
    actor: Literal["reverse_kl", "forward_kl"]
    separate_critic: bool


class SB3Overrides(TypedDict, total=False):
    """Fields of `SB3Config`."""

    num_envs: int
    learning_rate: float
    gamma: float
    max_grad_norm: float


class SB3PPOOverrides(TypedDict, total=False):
    """Fields of `SB3PPOConfig`."""

    num_envs: int
    learning_rate: float
    gamma: float
    max_grad_norm: float
    n_steps: int
    gae_lambda: float
    ent_coef: float
    vf_coef: float
    batch_size: int
    n_epochs: int
    clip_range: float


class SB3A2COverrides(TypedDict, total=False):
    """Fields of `SB3A2CConfig`."""

    num_envs: int
    learning_rate: float
    gamma: float
    max_grad_norm: float
    n_steps: int
    gae_lambda: float
    ent_coef: float
    vf_coef: float


class SB3DQNOverrides(SB3Overrides, total=False):
    """Fields of `SB3DQNConfig`, beside those of `SB3Config`."""

    buffer_size: int
    learning_starts: int
    batch_size: int
    train_freq: int
    gradient_steps: int
    tau: float
    target_update_interval: int
    exploration_fraction: float
    exploration_final_eps: float
