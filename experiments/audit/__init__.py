"""What a loss really optimises: gradients, optima and fixed points by enumeration, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .enumeration import all_episodes, drawn
    from .estimators import Estimator, kl_estimators
    from .fixed_points import fixed_point, regret
    from .gradients import ExpectedGradient, expected_gradient
    from .tables import optimum, table_agent

__all__ = [
    "Estimator",
    "ExpectedGradient",
    "all_episodes",
    "drawn",
    "expected_gradient",
    "fixed_point",
    "kl_estimators",
    "optimum",
    "regret",
    "table_agent",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Estimator": "estimators",
        "ExpectedGradient": "gradients",
        "all_episodes": "enumeration",
        "drawn": "enumeration",
        "expected_gradient": "gradients",
        "fixed_point": "fixed_points",
        "kl_estimators": "estimators",
        "optimum": "tables",
        "regret": "fixed_points",
        "table_agent": "tables",
    },
)
