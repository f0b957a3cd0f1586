"""What each field of every configuration is tried with; a field that has no case here fails the battery."""

from dataclasses import dataclass, field
from typing import Any

QUICK = {
    "rollout_tokens": 16,
    "num_rows": 4,
    "epochs": 1,
    "minibatches": 2,
    "updates_per_collection": 1,
    "group_size": 2,
    "learning_starts": 8,
    "demonstrations": 16,
    "labels": 16,
    "reference_samples": 2,
    "learning_rate": 1e-2,
    "branches": 1,
    "branch_every": 4,
}
"""Small sizes for whatever has them."""

SMALL = {"kind": "gpt2", "hidden_size": 16, "num_layers": 1, "num_heads": 2}


@dataclass(frozen=True)
class Case:
    """A value of a field, what it needs beside it, and whether it is meant to change what is learnt."""

    value: Any
    beside: dict[str, Any] = field(default_factory=dict)
    env: str = "LengthBias"
    agent: Any = "mlp-tiny"
    changes: bool = True


KL = {"kl_coef": 0.5}
BOLTZMANN = {"exploration": "boltzmann", "final_epsilon": 0.9}
STALE = {"sync_every": 3, "learning_rate": 0.3}
BY_ERRORS = {"prioritised": "token"}
KL_COV = {"entropy_control": "kl-cov", "epochs": 2}
CLIP_COV = {"entropy_control": "clip-cov", "covariance_share": 1.0}

ANY = {
    "learning_rate": Case("linear(1e-2, 1e-4)"),
    "final_learning_rate_fraction": Case(0.5),
    "adam_eps": Case(1e-2),
    "weight_decay": Case(0.5),
    "max_grad_norm": Case(1e-4),
    "micro_batch_tokens": Case(40, agent=SMALL, changes=False),
    "gradient_checkpointing": Case(True, agent=SMALL, changes=False),
    "linear_kernel": Case("onednn", agent=SMALL, changes=False),
    "temperature": Case(2.0),
    "action_masks": Case(True, env="Countdown"),
    "rollout_tokens": Case(40),
    "num_rows": Case(2),
    "group_size": Case(4),
    "token_rewards": Case(False, env="credited"),
    "gamma": Case(0.5),
    "reward_clip": Case(0.01),
    "reward_scaling": Case(False),
    "missing_eos_penalty": Case(1.0, env="TextGeneration"),
    "length_penalty": Case(0.5),
    "length_free": Case(2, {"length_penalty": 0.5}),
    "potentials": Case("optimal"),
    "kl_coef": Case(0.5),
    "kl_reference": Case("uniform", KL),
    "kl_target": Case(1e-3, KL),
    "kl_horizon": Case(4, {**KL, "kl_target": 1e-3}),
    "kl_budget": Case(1e-9),
    "kl_in": Case("loss", {**KL, "kl_estimator": "k2"}),
    "kl_estimator": Case("k3", KL),
    "kl_level": Case("sequence", {**KL, "kl_estimator": "k2"}),
    "entropy_coef": Case(0.5),
    "final_entropy_fraction": Case(1.0, {"entropy_coef": 0.5}),
    "whiten_advantages": Case(False),
    "whiten_rewards": Case(True),
    "loss_aggregation": Case("sequence", {"player": "random"}),
    "ratio_tolerance": Case(0.1, changes=False),
    "gae_lambda": Case(0.3),
    "value_coef": Case(2.0),
    "separate_critic": Case(True),
    "critic_warmup": Case(36),
    "epochs": Case(2),
    "minibatches": Case(1),
    "clip": Case(1e-3),
    "value_clip": Case(1e-4),
    "target_kl": Case(1e-9, {"epochs": 3}),
    "replay_capacity": Case(2, {"batch_episodes": 2}),
    "batch_episodes": Case(5),
    "updates_per_collection": Case(2, {"replay_capacity": 32}),
    "sync_every": Case(3),
    "learning_starts": Case(40),
    "prioritised": Case("episode"),
    "priority_alpha": Case(2.0, BY_ERRORS),
    "priority_beta": Case(1.0, BY_ERRORS),
    "epsilon": Case(0.2, {"epsilon_fraction": 1.0}),
    "final_epsilon": Case(0.9),
    "epsilon_fraction": Case(1.0),
    "exploration": Case("boltzmann", {"final_epsilon": 0.9}),
    "exploration_temperature": Case(0.05, BOLTZMANN),
    "top_p": Case(0.5, BOLTZMANN),
    "target_polyak": Case(1.0),
    "target_every": Case(3),
    "returns": Case("trace"),
    "n_step": Case(1, {"returns": "n_step"}),
    "trace_lambda": Case(0.0, {"returns": "trace"}),
    "huber_delta": Case(0.01),
    "double": Case(False),
    "dueling": Case(True),
    "tau": Case(0.3),
    "munchausen": Case(0.9, {"tau": 0.3}),
    "munchausen_clip": Case(-1e-3, {"tau": 0.3, "munchausen": 0.9}),
    "head_free": Case(True, {"tau": 0.3}),
    "alpha": Case(0.3),
    "initial_alpha": Case(50.0),
    "alpha_fraction": Case(1.0, {"initial_alpha": 1.0}),
    "entropy_target": Case(0.5),
    "alpha_learning_rate": Case(0.5, {"entropy_target": 0.5}),
    "critics": Case("mean"),
    "q_clip": Case(1e-3),
    "actor": Case("forward_kl"),
    "player": Case("random"),
    "demonstrations": Case(9),
    "overlong": Case("drop", {"data": "file"}, changes=False),
    "held_out": Case(0.4, env="Copy"),
    "held_out_every": Case(2, {"held_out": 0.4}, env="Copy", changes=False),
    "best_share": Case(1.0),
    "best_within": Case("collection", {"rollout_tokens": 40}),
    "least_return": Case(-1e5),
    "memory_episodes": Case(1),
    "labels": Case(9),
    "label_temperature": Case(0.0),
    "label_flips": Case(0.5, {"label_temperature": 0.0}),
    "length_preference": Case(-5.0),
    "loss": Case("ipo"),
    "beta": Case(3.0),
    "label_smoothing": Case(0.4, {"loss": "cdpo"}),
    "target_margin": Case(0.1, {"loss": "simpo"}),
    "better_weight": Case(3.0, {"loss": "kto"}),
    "worse_weight": Case(3.0, {"loss": "kto"}),
    "batch_pairs": Case(5),
    "batch_rankings": Case(2),
    "ranking_size": Case(3),
    "nll_coef": Case(0.0),
    "data": Case("file"),
    "count_bonus": Case(0.5),
    "untried_first": Case(True, {"count_bonus": 0.5}),
    "importance": Case("truncate", changes=False),  # what drew the tokens is the policy itself
    "importance_level": Case("sequence", {"importance": "truncate"}, changes=False),
    "importance_cap": Case(3.0, {"importance": "truncate"}, changes=False),
    "importance_floor": Case(0.1, {"importance": "mask"}, changes=False),
    "baseline": Case("mean"),
    "credit": Case("episode"),
    "preset": Case("dr-grpo"),
    "scale": Case("none"),
    "ratio": Case("sequence"),
    "surrogate": Case("detached"),
    "clip_low": Case(1e-4),
    "clip_high": Case(1e-4),
    "drop_tied": Case(True, env="Copy", changes=False),
    "teacher": Case("optimal", changes=False),  # test_distill learns from a saved one
    "teacher_beta": Case(5.0),
    "estimator": Case("exact"),
    "refresh_every": Case(1, {"top_p": 0.4}),
    "step_weight": Case(0.0),
    "branches": Case(3),
    "branch_at": Case("turn", env="credited"),
    "branch_every": Case(1),
    "absent": Case("zero", {"group_size": 4}),
    "entropy_control": Case("kl-cov", {"epochs": 2}),
    "covariance_share": Case(0.5, KL_COV),
    "covariance_kl": Case(50.0, KL_COV),
    "covariance_low": Case(0.0, {**CLIP_COV, "whiten_advantages": True}),
    "covariance_high": Case(1e-3, {**CLIP_COV, "covariance_low": 0.0}),
    "ratio_cap": Case(1e-3, {"preset": "dppo"}),
    "offset": Case(0.7),
    "rho_cap": Case(1.5, STALE),
    "trace_cap": Case(0.1, STALE),
    "replay_share": Case(0.8),
    "paths": Case("whole"),
    "path_length": Case(1),
    "values": Case("head"),
    "bootstrap": Case("target", {"path_length": 2}),
    "reference_samples": Case(3),
    "value_beta": Case(2.0),
    "expectile": Case(0.95),
    "cloning_coef": Case(0.1),
    "cql_coef": Case(0.5),
    "decoding": Case("greedy"),
}
"""By field, for every algorithm that has it."""

OF = {
    "sac": {"head_free": Case(True)},
    "vine-ppo": {"whiten_advantages": Case(True)},
    "dqn": {"temperature": Case(2.0, KL), "returns": Case("n_step")},
    "mc-returns": {"player": Case("optimal"), "beta": Case(3.0, changes=False)},  # β is how the values are said
    "offline-qrpo": {
        "partition": Case("continuous"),
        "gamma": Case(0.0, env="Copy"),  # only ranks count: what is to change them must be paid along the way
    },
    "q-sharp": {"player": Case("optimal"), "eta": Case(1.0)},
    "ilql": {"player": Case("optimal"), "beta": Case(3.0, changes=False)},
    "cql": {"player": Case("optimal"), "returns": Case("n_step"), "temperature": Case(2.0, changes=False)},
    "filtered-bc": {"player": Case("optimal"), "best_share": Case(1.0)},
    "rrhf": {"labels": Case(24)},
    "online-dpo": {"labels": Case(2)},
    "topr": {"whiten_advantages": Case(True), "length_free": Case(6, {"length_penalty": 0.5})},
    "asymre": {
        "baseline": Case("none"),
        "whiten_advantages": Case(True, {"offset": 0.0}),
        "length_free": Case(6, {"length_penalty": 0.5}),
    },
    "reinforce": {
        "length_free": Case(6, {"length_penalty": 0.5}),
        "whiten_advantages": Case(True),
        "value_coef": Case(2.0, {"baseline": "value"}),
        "separate_critic": Case(True, {"baseline": "value"}),
    },
    "trajectory-balance": {
        "preset": Case("gvpo"),
        "reward_scaling": Case(True, {"preset": "gvpo"}),
        "potentials": Case("optimal", changes=False),  # adds up to the same in all episodes of a group
        "token_rewards": Case(False, {"gamma": 0.9}, env="credited"),
    },
    "path-consistency": {
        "reward_scaling": Case(True),
        "separate_critic": Case(True, {"values": "head"}),
        "target_polyak": Case(1.0, {"bootstrap": "target", "path_length": 2}),
    },
    "tbrm": {
        "reward_scaling": Case(True),
        "replay_share": Case(0.5),
        "updates_per_collection": Case(2),
        "replay_capacity": Case(2, {"replay_share": 0.5}),
        "token_rewards": Case(False, {"gamma": 0.9}, env="credited"),
    },
    "qrpo": {
        "reward_scaling": Case(True),
        # Only ranks count: what is to change them must be paid along the way.
        "gamma": Case(0.0, env="Copy"),
        "count_bonus": Case(2.0, env="Copy"),
        "partition": Case("sampled"),
        "potentials": Case("optimal", changes=False),  # is taken off what the reference earns from the start, too
        "token_rewards": Case(False, {"gamma": 0.9}, env="credited"),
    },
    "apo": {
        "reward_scaling": Case(True),
        "potentials": Case("optimal", changes=False),  # is taken off the value of the start, too
        "token_rewards": Case(False, {"gamma": 0.9}, env="credited"),
    },
    "rloo": {"whiten_advantages": Case(True), "length_free": Case(6, {"length_penalty": 0.5})},
    "grpo": {
        "potentials": Case("optimal", changes=False),  # adds up to the same in all episodes of a group
        "whiten_advantages": Case(True),
        "length_free": Case(6, {"length_penalty": 0.5}),
        # Of two episodes divided by their spread it matters only which is better.
        "gamma": Case(0.5, {"preset": "dr-grpo"}),
        "token_rewards": Case(False, {"preset": "dr-grpo", "gamma": 0.9}, env="credited"),
        "count_bonus": Case(0.5, {"preset": "dr-grpo"}),
        "whiten_rewards": Case(True, {"preset": "dr-grpo"}),
        "reward_scaling": Case(True, {"preset": "dr-grpo"}),
        "baseline": Case("second_best"),
        "loss_aggregation": Case("token"),
        "kl_in": Case("reward", KL),
        "kl_estimator": Case("k2", KL),
    },
}
OF["distill"] = {"loss_aggregation": Case("sequence"), "credit": Case("to_go")}
OF["gigpo"] = {**OF["grpo"], "baseline": Case("leave_one_out")}
"""What is another for one algorithm."""

WEIGHED = {"importance", "importance_level", "importance_cap", "importance_floor"}
IDLE = {
    "qrpo": {"reward_scaling"},
    "topr": WEIGHED,
    "v-trace": WEIGHED,
    "vine-ppo": {"whiten_rewards"},
    "distill": {"token_rewards"},
    "nlpo": {"sync_every", "replay_capacity", "updates_per_collection"},
    "raft": {"token_rewards"},
    "expert-iteration": {"token_rewards"},
    "online-dpo": {"token_rewards"},
}
"""Fields that do nothing for an algorithm, and are refused."""

ELSEWHERE = {"lora_rank", "lora_alpha", "lora_targets"}
"""Fields that need a transformer and peft: test_adapters runs them with every algorithm."""
