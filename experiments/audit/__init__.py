"""What a loss really optimises: gradients, optima and fixed points by enumeration, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...envs.lazy import lazy_names

if TYPE_CHECKING:
    from .calling import GIVEN
    from .enumeration import all_episodes, drawn
    from .estimators import Estimator, kl_estimators
    from .fixed_points import fixed_point, regret
    from .gradients import ExpectedGradient, expected_gradient
    from .groups import Groups, all_groups
    from .listing import Listing
    from .losses import Sampled, expected
    from .methods import audit, listable
    from .objectives import Objective
    from .pages import row_of
    from .tables import optimum, table_agent
    from .trees import LeafTree
    from .verdicts import LossAudit, audit_loss

__all__ = [
    "Estimator",
    "ExpectedGradient",
    "GIVEN",
    "Groups",
    "LeafTree",
    "Listing",
    "LossAudit",
    "Objective",
    "Sampled",
    "all_episodes",
    "all_groups",
    "audit",
    "audit_loss",
    "drawn",
    "expected",
    "expected_gradient",
    "fixed_point",
    "kl_estimators",
    "listable",
    "optimum",
    "regret",
    "row_of",
    "table_agent",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Estimator": "estimators",
        "ExpectedGradient": "gradients",
        "GIVEN": "calling",
        "Groups": "groups",
        "LeafTree": "trees",
        "Listing": "listing",
        "LossAudit": "verdicts",
        "Objective": "objectives",
        "Sampled": "losses",
        "all_episodes": "enumeration",
        "all_groups": "groups",
        "audit": "methods",
        "audit_loss": "verdicts",
        "drawn": "enumeration",
        "expected": "losses",
        "expected_gradient": "gradients",
        "fixed_point": "fixed_points",
        "kl_estimators": "estimators",
        "listable": "methods",
        "optimum": "tables",
        "regret": "fixed_points",
        "row_of": "pages",
        "table_agent": "tables",
    },
)
