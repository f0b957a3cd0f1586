"""The fields of each configuration as keywords, for editors and type checkers: what `**overrides` takes.

Written by `write_overrides` from the configurations, which say what each is for.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from .schedule import Schedule

# fmt: off

class OptimiserOverrides(TypedDict, total=False):
    """Fields of `OptimiserConfig`."""
    learning_rate: float | Schedule | None
    final_learning_rate_fraction: float
    adam_eps: float
    weight_decay: float
    max_grad_norm: float
    micro_batch_tokens: int | None
    gradient_checkpointing: bool
    linear_kernel: Literal["blas", "onednn"]

class LoRAOverrides(TypedDict, total=False):
    """Fields of `LoRAConfig`."""
    lora_rank: int | None
    lora_alpha: float
    lora_targets: Literal["all", "attention"]

class PolicyOverrides(TypedDict, total=False):
    """Fields of `PolicyConfig`."""
    temperature: float
    action_masks: bool

class LearningOverrides(PolicyOverrides, LoRAOverrides, OptimiserOverrides, total=False):
    """Fields of `LearningConfig`."""

class RolloutOverrides(TypedDict, total=False):
    """Fields of `RolloutConfig`."""
    rollout_tokens: int
    num_rows: int
    group_size: int
    token_rewards: bool

class OnlineOverrides(RolloutOverrides, LearningOverrides, total=False):
    """Fields of `OnlineConfig`."""

class RewardOverrides(TypedDict, total=False):
    """Fields of `RewardConfig`."""
    gamma: float
    reward_clip: float | None
    reward_scaling: bool
    missing_eos_penalty: float
    length_penalty: float
    length_free: int
    count_bonus: float | Schedule
    potentials: str | None

class KLOverrides(TypedDict, total=False):
    """Fields of `KLConfig`."""
    kl_coef: float | Schedule
    kl_reference: Literal["initial", "uniform"]

class AlgorithmOverrides(KLOverrides, RewardOverrides, OnlineOverrides, total=False):
    """Fields of `AlgorithmConfig`."""

class AdaptiveKLOverrides(KLOverrides, total=False):
    """Fields of `AdaptiveKLConfig`."""
    kl_target: float | None
    kl_horizon: int
    kl_budget: float | None

class SampledKLOverrides(AdaptiveKLOverrides, total=False):
    """Fields of `SampledKLConfig`."""
    kl_in: Literal["reward", "loss", "both"]
    kl_estimator: Literal["k1", "k2", "k3", "exact"]
    kl_level: Literal["token", "sequence"]

class OnPolicyOverrides(SampledKLOverrides, AlgorithmOverrides, total=False):
    """Fields of `OnPolicyConfig`."""
    entropy_coef: float | Schedule
    final_entropy_fraction: float
    whiten_advantages: bool | None
    whiten_rewards: bool
    loss_aggregation: Literal["token", "sequence", "constant", "sum"] | None
    importance: Literal["none", "truncate", "mask"]
    importance_level: Literal["token", "sequence"]
    importance_cap: float
    importance_floor: float
    sync_every: int
    replay_capacity: int
    updates_per_collection: int
    ratio_tolerance: float | None

class ActorCriticOverrides(OnPolicyOverrides, total=False):
    """Fields of `ActorCriticConfig`."""
    gae_lambda: float
    value_coef: float | Schedule
    separate_critic: bool
    critic_warmup: int

class EntropyControlOverrides(TypedDict, total=False):
    """Fields of `EntropyControlConfig`."""
    entropy_control: Literal["none", "kl-cov", "clip-cov"]
    covariance_share: float
    covariance_kl: float
    covariance_low: float
    covariance_high: float

class PPOOverrides(EntropyControlOverrides, ActorCriticOverrides, total=False):
    """Fields of `PPOConfig`."""
    epochs: int
    minibatches: int
    clip: float | Schedule
    value_clip: float | None
    target_kl: float | None

class A2COverrides(ActorCriticOverrides, total=False):
    """Fields of `A2CConfig`."""

class PolicyGradientOverrides(OnPolicyOverrides, total=False):
    """Fields of `PolicyGradientConfig`."""

class ReinforceOverrides(PolicyGradientOverrides, total=False):
    """Fields of `ReinforceConfig`."""
    baseline: Literal["none", "mean", "leave_one_out", "optimal", "value"]
    credit: Literal["to_go", "turn", "episode"]
    absent: Literal["left_out", "zero"]
    value_coef: float | Schedule
    separate_critic: bool

class RLOOOverrides(PolicyGradientOverrides, total=False):
    """Fields of `RLOOConfig`."""

class RepeatedOverrides(EntropyControlOverrides, PolicyGradientOverrides, total=False):
    """Fields of `RepeatedConfig`."""
    epochs: int
    minibatches: int
    target_kl: float | None

class ReinforcePPOverrides(RepeatedOverrides, total=False):
    """Fields of `ReinforcePPConfig`."""
    clip: float | Schedule

class GRPOOverrides(RepeatedOverrides, total=False):
    """Fields of `GRPOConfig`."""
    preset: Literal["grpo", "dr-grpo", "dapo", "gspo", "cispo", "max-rl", "pass-at-k", "gmpo", "opo", "rloo", "dppo"]
    baseline: Literal["mean", "leave_one_out", "length", "second_best"] | None
    scale: Literal["none", "std", "mean"] | None
    ratio: Literal["token", "sequence", "geometric"] | None
    surrogate: Literal["clipped", "detached", "divergence"] | None
    clip_low: float | None
    clip_high: float | None
    ratio_cap: float | None
    drop_tied: bool | None

class OffsetOverrides(PolicyGradientOverrides, total=False):
    """Fields of `OffsetConfig`."""
    baseline: Literal["none", "mean", "leave_one_out"]
    offset: float

class TOPROverrides(OffsetOverrides, total=False):
    """Fields of `TOPRConfig`."""

class AsymREOverrides(OffsetOverrides, total=False):
    """Fields of `AsymREConfig`."""

class VTraceOverrides(ActorCriticOverrides, total=False):
    """Fields of `VTraceConfig`."""
    rho_cap: float
    trace_cap: float

class NLPOOverrides(PPOOverrides, total=False):
    """Fields of `NLPOConfig`."""
    top_p: float
    refresh_every: int

class GiGPOOverrides(GRPOOverrides, total=False):
    """Fields of `GiGPOConfig`."""
    step_weight: float

class DistillOverrides(OnlineOverrides, total=False):
    """Fields of `DistillConfig`."""
    teacher: str
    teacher_beta: float
    estimator: Literal["sampled", "exact"]
    credit: Literal["token", "to_go"]
    loss_aggregation: Literal["token", "sequence", "constant", "sum"]

class VinePPOOverrides(RepeatedOverrides, total=False):
    """Fields of `VinePPOConfig`."""
    branches: int
    branch_at: Literal["token", "turn"]
    branch_every: int
    clip: float | Schedule

class SelectionOverrides(OnlineOverrides, total=False):
    """Fields of `SelectionConfig`."""
    best_share: float
    best_within: Literal["group", "collection"]
    loss_aggregation: Literal["token", "sequence"]

class RAFTOverrides(SelectionOverrides, total=False):
    """Fields of `RAFTConfig`."""
    epochs: int
    minibatches: int

class ExpertIterationOverrides(SelectionOverrides, total=False):
    """Fields of `ExpertIterationConfig`."""
    memory_episodes: int
    batch_episodes: int
    updates_per_collection: int
    least_return: float | None

class OffPolicyOverrides(AlgorithmOverrides, total=False):
    """Fields of `OffPolicyConfig`."""
    replay_capacity: int
    data: str | None
    batch_episodes: int
    updates_per_collection: int
    learning_starts: int
    prioritised: Literal["none", "episode", "token"]
    priority_alpha: float
    priority_beta: float | Schedule
    epsilon: float | Schedule
    final_epsilon: float
    epsilon_fraction: float
    exploration: Literal["uniform", "boltzmann", "reference"]
    exploration_temperature: float
    top_p: float
    untried_first: bool
    target_polyak: float
    target_every: int
    returns: Literal["n_step", "trace"]
    n_step: int
    trace_lambda: float
    huber_delta: float

class DQNOverrides(OffPolicyOverrides, total=False):
    """Fields of `DQNConfig`."""
    double: bool
    dueling: bool
    tau: float
    munchausen: float
    munchausen_clip: float | None
    head_free: bool

class SACOverrides(AdaptiveKLOverrides, OffPolicyOverrides, total=False):
    """Fields of `SACConfig`."""
    alpha: float | Schedule
    initial_alpha: float | None
    alpha_fraction: float
    entropy_target: float | None
    alpha_learning_rate: float
    critics: Literal["min", "mean"]
    q_clip: float | None
    actor: Literal["reverse_kl", "forward_kl"]
    separate_critic: bool
    head_free: bool

class PathOverrides(AlgorithmOverrides, total=False):
    """Fields of `PathConfig`."""
    updates_per_collection: int
    epsilon: float | Schedule

class ReplayedPathOverrides(PathOverrides, total=False):
    """Fields of `ReplayedPathConfig`."""
    replay_share: float
    replay_capacity: int

class TrajectoryBalanceOverrides(ReplayedPathOverrides, total=False):
    """Fields of `TrajectoryBalanceConfig`."""
    preset: Literal["vargrad", "gvpo"]

class PathConsistencyOverrides(ReplayedPathOverrides, total=False):
    """Fields of `PathConsistencyConfig`."""
    paths: Literal["suffixes", "whole"]
    path_length: int | None
    values: Literal["logits", "head"]
    separate_critic: bool
    bootstrap: Literal["own", "target"]
    target_polyak: float

class TBRMOverrides(ReplayedPathOverrides, total=False):
    """Fields of `TBRMConfig`."""

class SampledReferenceOverrides(PathOverrides, total=False):
    """Fields of `SampledReferenceConfig`."""
    reference_samples: int

class APOOverrides(SampledReferenceOverrides, total=False):
    """Fields of `APOConfig`."""
    value_beta: float | None

class QRPOOverrides(SampledReferenceOverrides, total=False):
    """Fields of `QRPOConfig`."""
    partition: Literal["continuous", "sampled"]

class OfflineOverrides(LearningOverrides, total=False):
    """Fields of `OfflineConfig`."""
    data: str | None

class EpisodesOverrides(OfflineOverrides, total=False):
    """Fields of `EpisodesConfig`."""
    player: str
    demonstrations: int
    batch_episodes: int
    overlong: Literal["refuse", "drop"]

class CloningOverrides(EpisodesOverrides, total=False):
    """Fields of `CloningConfig`."""
    loss_aggregation: Literal["token", "sequence"]
    held_out: float
    held_out_every: int

class SFTOverrides(CloningOverrides, total=False):
    """Fields of `SFTConfig`."""

class BCOverrides(CloningOverrides, total=False):
    """Fields of `BCConfig`."""

class FilteredBCOverrides(CloningOverrides, total=False):
    """Fields of `FilteredBCConfig`."""
    best_share: float
    least_return: float | None

class RewardedEpisodesOverrides(EpisodesOverrides, total=False):
    """Fields of `RewardedEpisodesConfig`."""
    gamma: float
    reward_clip: float | None

class OfflineQRPOOverrides(KLOverrides, RewardedEpisodesOverrides, total=False):
    """Fields of `OfflineQRPOConfig`."""
    partition: Literal["continuous", "sampled"]
    reference_samples: int

class ValuesOverrides(RewardedEpisodesOverrides, total=False):
    """Fields of `ValuesConfig`."""
    reward_scaling: bool

class QSharpOverrides(ValuesOverrides, total=False):
    """Fields of `QSharpConfig`."""
    eta: float
    cloning_coef: float

class DecodedOverrides(ValuesOverrides, total=False):
    """Fields of `DecodedConfig`."""
    beta: float
    cloning_coef: float

class MCReturnsOverrides(DecodedOverrides, total=False):
    """Fields of `MCReturnsConfig`."""
    decoding: Literal["weighted", "greedy"]
    cql_coef: float

class ILQLOverrides(DecodedOverrides, total=False):
    """Fields of `ILQLConfig`."""
    expectile: float
    cql_coef: float
    target_polyak: float
    separate_critic: bool

class CQLOverrides(ValuesOverrides, total=False):
    """Fields of `CQLConfig`."""
    cql_coef: float
    double: bool
    dueling: bool
    returns: Literal["n_step", "trace"]
    n_step: int
    trace_lambda: float
    huber_delta: float
    target_polyak: float
    target_every: int

class LabellerOverrides(TypedDict, total=False):
    """Fields of `LabellerConfig`."""
    label_temperature: float
    label_flips: float
    length_preference: float

class LabelOverrides(LabellerOverrides, total=False):
    """Fields of `LabelConfig`."""
    labels: int

class PreferencesOverrides(LabelOverrides, OfflineOverrides, total=False):
    """Fields of `PreferencesConfig`."""
    overlong: Literal["refuse", "drop"]

class PairLossOverrides(PolicyOverrides, total=False):
    """Fields of `PairLossConfig`."""
    loss: Literal["dpo", "cdpo", "ipo", "simpo", "kto", "orpo"]
    beta: float | None
    label_smoothing: float
    target_margin: float
    better_weight: float
    worse_weight: float
    kl_reference: Literal["initial", "uniform"]

class DPOOverrides(PairLossOverrides, PreferencesOverrides, total=False):
    """Fields of `DPOConfig`."""
    batch_pairs: int

class RRHFOverrides(PreferencesOverrides, total=False):
    """Fields of `RRHFConfig`."""
    batch_rankings: int
    ranking_size: int
    nll_coef: float

class OnlineDPOOverrides(PairLossOverrides, LabellerOverrides, OnlineOverrides, total=False):
    """Fields of `OnlineDPOConfig`."""
    labels: int | None

class SB3Overrides(TypedDict, total=False):
    """Fields of `SB3Config`."""
    num_envs: int
    learning_rate: float
    gamma: float

class SB3CollectingOverrides(SB3Overrides, total=False):
    """Fields of `SB3CollectingConfig`."""
    n_steps: int
    gae_lambda: float

class SB3OnPolicyOverrides(SB3CollectingOverrides, total=False):
    """Fields of `SB3OnPolicyConfig`."""
    ent_coef: float
    vf_coef: float
    max_grad_norm: float

class SB3PPOOverrides(SB3OnPolicyOverrides, total=False):
    """Fields of `SB3PPOConfig`."""
    batch_size: int
    n_epochs: int
    clip_range: float

class SB3A2COverrides(SB3OnPolicyOverrides, total=False):
    """Fields of `SB3A2CConfig`."""

class SB3DQNOverrides(SB3Overrides, total=False):
    """Fields of `SB3DQNConfig`."""
    max_grad_norm: float
    buffer_size: int
    learning_starts: int
    batch_size: int
    train_freq: int
    gradient_steps: int
    tau: float
    target_update_interval: int
    exploration_fraction: float
    exploration_final_eps: float

class SB3QRDQNOverrides(SB3DQNOverrides, total=False):
    """Fields of `SB3QRDQNConfig`."""
    n_quantiles: int

class SB3MaskablePPOOverrides(SB3PPOOverrides, total=False):
    """Fields of `SB3MaskablePPOConfig`."""
    action_masks: bool

class SB3TRPOOverrides(SB3CollectingOverrides, total=False):
    """Fields of `SB3TRPOConfig`."""
    batch_size: int
    target_kl: float
    cg_max_steps: int
    cg_damping: float
    line_search_shrinking_factor: float
    line_search_max_iter: int
    n_critic_updates: int
