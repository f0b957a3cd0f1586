"""The solver: random, optimal and KL-optimal returns, exact Q and V, exact worth of a policy and of its best of n."""

from __future__ import annotations

from .best_of import BestOfNEvaluation, best_of_n
from .solver import PolicyEvaluation, Solution, evaluate_policy, optimal_policy, solve
from .tilting import best_of_draws, divergence, tilted

__all__ = [
    "BestOfNEvaluation",
    "PolicyEvaluation",
    "Solution",
    "best_of_draws",
    "best_of_n",
    "divergence",
    "evaluate_policy",
    "optimal_policy",
    "solve",
    "tilted",
]
