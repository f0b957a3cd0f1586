"""The solver: random, optimal and KL-optimal returns, exact Q and V, exact evaluation of a policy."""

from __future__ import annotations

from .solver import PolicyEvaluation, Solution, evaluate_policy, optimal_policy, solve

__all__ = [
    "PolicyEvaluation",
    "Solution",
    "evaluate_policy",
    "optimal_policy",
    "solve",
]
