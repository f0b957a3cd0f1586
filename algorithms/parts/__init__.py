"""The pure mathematics that updates are made of, each part tested against a closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .advantages import NEGLIGIBLE, gae, returns_to_go, whiten
    from .collisions import collision_probabilities, squared_scores
    from .exponentials import bounded_exp, exp_excess
    from .group_baselines import StepBaseline, group_advantages, group_numbers, step_baselines, tied
    from .kl import AgentReference, KLBudget, KLController, Reference, UniformReference, kl_estimate, kl_of_tokens
    from .likelihood import Weighed, best_episodes, negative_log_likelihood, weigh
    from .losses import clipped_surrogate, ratio_metrics, token_weights, value_errors
    from .master_weights import MasterWeights
    from .nonfinite import DivergedError, first_nonfinite
    from .novelty import VisitCounts
    from .potentials import checked_potentials
    from .preference_losses import PAIR_LOSSES, Completions, PairLossOptions, ranking_hinges
    from .running_std import RunningStd
    from .seeds import derive_seed
    from .shaping import length_penalties, missing_end_penalties, potential_shaping
    from .stepping import Loss, Step, accumulate
    from .surrogates import Ratio, importance_weights, surrogate
    from .targets import (
        EpisodeGrid,
        at_actions,
        cut_traces,
        dueling_q,
        greedy_actions,
        mask_illegal,
        n_step_targets,
        retrace_traces,
        soft_optimal_log_probs,
        soft_optimal_values,
        soft_values,
        trace_targets,
    )

__all__ = [
    "AgentReference",
    "Completions",
    "DivergedError",
    "EpisodeGrid",
    "KLBudget",
    "KLController",
    "Loss",
    "MasterWeights",
    "NEGLIGIBLE",
    "PAIR_LOSSES",
    "PairLossOptions",
    "Ratio",
    "Reference",
    "RunningStd",
    "Step",
    "StepBaseline",
    "UniformReference",
    "VisitCounts",
    "Weighed",
    "accumulate",
    "at_actions",
    "best_episodes",
    "bounded_exp",
    "checked_potentials",
    "clipped_surrogate",
    "collision_probabilities",
    "cut_traces",
    "derive_seed",
    "dueling_q",
    "exp_excess",
    "first_nonfinite",
    "gae",
    "greedy_actions",
    "group_advantages",
    "group_numbers",
    "importance_weights",
    "kl_estimate",
    "kl_of_tokens",
    "length_penalties",
    "mask_illegal",
    "missing_end_penalties",
    "n_step_targets",
    "negative_log_likelihood",
    "potential_shaping",
    "ranking_hinges",
    "ratio_metrics",
    "retrace_traces",
    "returns_to_go",
    "soft_optimal_log_probs",
    "soft_optimal_values",
    "soft_values",
    "squared_scores",
    "step_baselines",
    "surrogate",
    "tied",
    "token_weights",
    "trace_targets",
    "value_errors",
    "weigh",
    "whiten",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AgentReference": "kl",
        "Completions": "preference_losses",
        "DivergedError": "nonfinite",
        "EpisodeGrid": "targets",
        "KLBudget": "kl",
        "KLController": "kl",
        "Loss": "stepping",
        "MasterWeights": "master_weights",
        "NEGLIGIBLE": "advantages",
        "PAIR_LOSSES": "preference_losses",
        "PairLossOptions": "preference_losses",
        "Ratio": "surrogates",
        "Reference": "kl",
        "RunningStd": "running_std",
        "Step": "stepping",
        "StepBaseline": "group_baselines",
        "UniformReference": "kl",
        "VisitCounts": "novelty",
        "Weighed": "likelihood",
        "accumulate": "stepping",
        "at_actions": "targets",
        "best_episodes": "likelihood",
        "bounded_exp": "exponentials",
        "checked_potentials": "potentials",
        "clipped_surrogate": "losses",
        "collision_probabilities": "collisions",
        "cut_traces": "targets",
        "derive_seed": "seeds",
        "dueling_q": "targets",
        "exp_excess": "exponentials",
        "first_nonfinite": "nonfinite",
        "gae": "advantages",
        "greedy_actions": "targets",
        "group_advantages": "group_baselines",
        "group_numbers": "group_baselines",
        "importance_weights": "surrogates",
        "kl_estimate": "kl",
        "kl_of_tokens": "kl",
        "length_penalties": "shaping",
        "mask_illegal": "targets",
        "missing_end_penalties": "shaping",
        "n_step_targets": "targets",
        "negative_log_likelihood": "likelihood",
        "potential_shaping": "shaping",
        "ranking_hinges": "preference_losses",
        "ratio_metrics": "losses",
        "retrace_traces": "targets",
        "returns_to_go": "advantages",
        "soft_optimal_log_probs": "targets",
        "soft_optimal_values": "targets",
        "soft_values": "targets",
        "squared_scores": "collisions",
        "step_baselines": "group_baselines",
        "surrogate": "surrogates",
        "tied": "group_baselines",
        "token_weights": "losses",
        "trace_targets": "targets",
        "value_errors": "losses",
        "weigh": "likelihood",
        "whiten": "advantages",
    },
)
